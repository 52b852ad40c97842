"""How often may a password be tried: of one name from one address, and of all names from one address?

A name is locked out by axes, in rows that all web processes share and administrators see; whoever guesses at many
names from one address is counted in memory. A refused try says nothing about the account.
"""

import math
import unicodedata
from ipaddress import ip_address
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import ngettext

from broker.errors import TooMany
from broker.operations.lock_outs import UNKNOWN
from portal import limits


def try_sign_in(request: HttpRequest, username: str) -> None:
    """To be asked before a password is looked at; TooMany when there were too many failures.

    Of the address one more is counted at once: many tries at the same time are no more than one after the other.
    """
    failed = _failures(request, username).first()
    if failed is not None and failed.failures_since_start >= settings.AXES_FAILURE_LIMIT:
        raise _too_many((failed.attempt_time + settings.AXES_COOLOFF_TIME - timezone.now()).total_seconds())
    # What is refused for the name alone does not shut out the others at this address.
    seconds = settings.FAILED_SIGN_IN_SECONDS
    if limits.count("sign-ins", limits.address(request), seconds=seconds) > settings.FAILED_SIGN_INS_PER_ADDRESS:
        raise _too_many(limits.left(seconds))


def signed_in(request: HttpRequest, username: str) -> None:
    """The sign-in that was just tried did not fail: forget it, and those of this name that did."""
    _failures(request, username).delete()
    limits.uncount("sign-ins", limits.address(request))


def _failures(request: HttpRequest, username: str) -> Any:
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    who = {"username": name_of(request, {"username": username}), "ip_address": address_of(request)}
    return AccessAttempt.objects.filter(**who, attempt_time__gte=since)


def _too_many(seconds: float) -> TooMany:
    minutes = max(1, math.ceil(seconds / 60))
    text = ngettext(
        "Too many sign-ins failed. Please try again in %(minutes)s minute.",
        "Too many sign-ins failed. Please try again in %(minutes)s minutes.",
        minutes,
    )
    return TooMany(text % {"minutes": minutes}, retry_after=max(1, math.ceil(seconds)))


# -- what axes keeps -------------------------------------------------------------------------------


def name_of(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """Whose password was tried, as the page reads a name: other spellings of it are no further tries.

    What is no name may have been a password: nobody can read it from what is kept instead.
    """
    name = unicodedata.normalize("NFKC", str((credentials or {}).get("username") or "")).strip()
    if get_user_model().objects.filter(username=name).exists():
        return name
    return UNKNOWN + salted_hmac("portal.failed_sign_ins", name.encode(errors="surrogatepass")).hexdigest()


def address_of(request: HttpRequest) -> str | None:
    """Where a caller is, as a column of addresses takes it: of IPv6 the network's first; null for sockets without."""
    first = limits.address(request).partition("/")[0]
    try:
        return str(ip_address(first))
    except ValueError:
        return None


class Handler(AxesDatabaseHandler):
    """What axes does, shown nothing of a request but whose and whence it is: one row for each name and address."""

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> None:
        if request is None:
            return
        plain: Any = HttpRequest()
        for name, value in vars(request).items():
            if name.startswith("axes_"):
                setattr(plain, name, value)
        plain.axes_user_agent = plain.axes_path_info = plain.axes_http_accept = ""
        super().user_login_failed(sender, credentials, plain, **kwargs)
