"""Who must prove more than a password: a setting asks it of administrators, and codes come with tokens too."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from allauth.mfa.base.forms import AuthenticateForm
from django.core.cache import caches
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from broker import access, config
from broker.errors import Denied, TooMany
from portal import accounts
from portal.logins import API

SECONDS = 2  # for which a web process does not ask for the setting again
# Where one sets a factor up, and what must work meanwhile.
OPEN = (
    *("mfa_index", "mfa_activate_totp", "mfa_add_webauthn", "mfa_list_webauthn", "mfa_edit_webauthn"),
    *("mfa_view_recovery_codes", "mfa_download_recovery_codes"),
    *("account_reauthenticate", "mfa_reauthenticate", "mfa_reauthenticate_webauthn"),
    *("sign-in", "account_login", "sign-out", "account_logout", "set_language", "help", "about"),
    *("offline", "service-worker", "healthz"),
)


class SecondFactorMissing(Denied):
    """An administrator without a second factor, where one is required."""

    code = "SECOND_FACTOR_REQUIRED"

    def __init__(self) -> None:
        text = _(
            "Administrators of this site need a second factor. Sign in with a browser and set one up at %(address)s."
        )
        super().__init__(text % {"address": reverse("mfa_index")})


def is_missing(user: Any) -> bool:
    """Whether this person must set up a second factor before anything else."""
    wanted = caches["glimpses"].get_or_set("RequireSecondFactor", lambda: config.get("RequireSecondFactor"), SECONDS)
    return wanted == "administrators" and access.has_more_than_use(user) and not accounts.has_factor(user)


def require(user: Any) -> None:
    """SecondFactorMissing where it is required and not there."""
    if is_missing(user):
        raise SecondFactorMissing


def check_code(user: Any, code: str) -> bool:
    """Whether a code of the app, or a recovery code, is right; it is used up with that. TooMany after a few wrong."""
    form = AuthenticateForm(user=user, data={"code": code})
    if form.is_valid():
        form.authenticator.record_usage()
        return True
    if form.has_error("code", "too_many_login_attempts"):
        raise TooMany(_("Too many wrong codes. Please try again in a few minutes."), retry_after=60)
    return False


def required(get_response: Callable[[HttpRequest], HttpResponse]) -> "Required":
    return Required(get_response)


class Required:
    """On pages whoever lacks a factor is led to set one up, and gets nowhere else. The API asks with its tokens."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        with suppress(OperationalError, InterfaceError):  # The view says what is to be said of the database.
            if not request.path.startswith(API) and request.user.is_authenticated and is_missing(request.user):
                return self._led(request)
        return None

    def _led(self, request: HttpRequest) -> HttpResponse | None:
        request.factor_required = True  # type: ignore[attr-defined]  # the page of factors says so
        name = request.resolver_match.url_name if request.resolver_match else None
        return None if name in OPEN else redirect("mfa_index")
