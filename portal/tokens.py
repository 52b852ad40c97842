"""The tokens of programs: made, believed and revoked, whatever the way they are asked for."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import config, events
from broker.errors import Invalid, NotFound
from broker.operations import console_sessions
from broker.operations.edits import name_problem
from broker.states import Scope
from portal.models import ApiToken

MAX_NAME = 100
USE_SECONDS = 60  # between two notes of when a token was last used


@transaction.atomic
def make(
    *,
    user: Any,
    name: str = "",
    scopes: Collection[str] = (Scope.EVERYTHING,),
    expires: datetime | None = None,
    by: Any = None,
) -> tuple[ApiToken, str]:
    """A token and its secret, which is said here once and kept nowhere.

    Invalid for a moment that has passed, or lies beyond what administrators allow, and for scopes there are none of.
    """
    now = timezone.now()
    latest = now + timedelta(days=config.get("ApiTokenDays"))
    expires = expires or min(latest, now + timedelta(hours=settings.API_TOKEN_HOURS))
    _check(name, scopes, expires, now, latest)
    user.api_tokens.filter(expires_at__lte=now).delete()
    secret = ApiToken.draw()
    digest = ApiToken.digest_of(secret)
    token = user.api_tokens.create(digest=digest, name=name, scopes=sorted(set(scopes)), expires_at=expires)
    _record("made", token, by=by, scopes=", ".join(token.scopes), until=expires.isoformat(timespec="minutes"))
    return token, secret


def _check(name: str, scopes: Collection[str], expires: datetime, now: datetime, latest: datetime) -> None:
    """Invalid with everything that is wrong."""
    found = []
    problem = name_problem(name, MAX_NAME) if name else None
    if problem:
        found.append(("name", problem))
    if not scopes or not set(scopes) <= set(Scope.values):
        text = _("Choose at least one of: %(names)s.")
        found.append(("scopes", text % {"names": ", ".join(Scope.values)}))
    if expires <= now:
        found.append(("expires", _("This moment has passed already.")))
    elif expires > latest + timedelta(seconds=USE_SECONDS):  # chosen by the clock of whoever asks
        text = _("A token may be valid for %(days)s days at most.")
        found.append(("expires", text % {"days": config.get("ApiTokenDays")}))
    if found:
        raise Invalid.fields(found)


def find(secret: str) -> ApiToken | None:
    """The token, with its user; null when it is unknown, has ended, or its user may not sign in."""
    valid = ApiToken.objects.filter(expires_at__gt=timezone.now(), user__is_active=True)
    return valid.select_related("user").filter(digest=ApiToken.digest_of(secret)).first()


def valid(user: Any) -> QuerySet[ApiToken]:
    """All of a user's that can be used now."""
    return user.api_tokens.filter(expires_at__gt=timezone.now())


def note_use(token: ApiToken) -> None:
    """Write down that it is used: once a minute, however often it is."""
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - timedelta(seconds=USE_SECONDS):
        ApiToken.objects.filter(pk=token.pk, last_used_at=token.last_used_at).update(last_used_at=now)


def of_user(user: Any, token_id: int) -> ApiToken:
    """One of this user's; NotFound for those of others, as if there were none (I6)."""
    token = user.api_tokens.filter(pk=token_id).first() if token_id < 2**63 else None
    if token is None:
        raise NotFound(_("There is no such token."))
    return token


@transaction.atomic
def revoke(*, token: ApiToken, by: Any = None) -> None:
    """It is worthless from now on, and so are the consoles that were opened with it."""
    console_sessions.end_login(login=token.digest)
    token.delete()
    _record("revoked", token, by=by)


def _record(happened: str, token: ApiToken, *, by: Any, **facts: Any) -> None:
    about = {"keys": {"subject_id": token.user_id}, "owner": token.user, "name": token.name or "–"}
    events.record(f"token.{happened}", actor=by, **about, **facts)
