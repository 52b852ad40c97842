"""Where somebody is signed in: browsers by their sessions, programs by their tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events, live
from broker.errors import NotFound
from broker.operations import console_sessions
from broker.operations.users import require_covered
from portal import logins, tokens
from portal.models import ApiToken, User

# What browsers call themselves and the system they run on; the first that fits, for most claim to be others as well.
BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
SYSTEMS = {
    "Windows": "Windows",
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "CrOS": "ChromeOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


@dataclass(frozen=True)
class SignIn:
    """A browser or a program that is somebody's. Its `id` opens nothing."""

    id: str
    name: str
    since: datetime
    until: datetime
    used: datetime | None
    address: str
    session_key: str = ""
    token: ApiToken | None = None


def of_user(user: Any) -> list[SignIn]:
    """All that are valid, browsers first."""
    return [*browsers(user), *_programs(user)]


def browsers(user: Any) -> Iterator[SignIn]:
    """The newest first. Those of a former password open nothing, and are none."""
    noted = {one.session_key: one for one in UserSession.objects.filter(user=user)}
    rows = Session.objects.filter(session_key__in=noted, expire_date__gt=timezone.now())
    for row in rows.order_by("-expire_date"):
        held, one = row.get_decoded(), noted[row.session_key]
        if held.get(SESSION_KEY) != str(user.pk) or held.get(HASH_SESSION_KEY) != user.get_session_auth_hash():
            continue
        yield SignIn(
            id=logins.of_session(row.session_key),
            name=called(one.user_agent),
            since=one.created_at,
            until=row.expire_date,
            used=None,
            address=one.ip,
            session_key=row.session_key,
        )


def called(agent: str) -> str:
    """A browser in words that its user knows; what it says of itself, where that is nothing known."""
    browser = next((name for mark, name in BROWSERS.items() if mark in agent), "")
    system = next((name for mark, name in SYSTEMS.items() if mark in agent), "")
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return agent or _("A browser")


def _programs(user: User) -> Iterator[SignIn]:
    for token in tokens.valid(user).order_by("-created_at", "-pk"):
        yield SignIn(
            id=str(token.pk),
            name=token.name or _("Sign-in of a program"),
            since=token.created_at,
            until=token.expires_at,
            used=token.last_used_at,
            address="",
            token=token,
        )


@transaction.atomic
def end(*, user: User, sign_in: str, by: Any) -> None:
    """End one, with the consoles it opened; NotFound when it has ended already.

    Denied for somebody who may do more than whoever ends it.
    """
    require_covered(by, user)
    found = next((one for one in of_user(user) if one.id == sign_in), None)
    if found is None:
        raise NotFound(_("This has ended already."))
    _end(user, found, by)


@transaction.atomic
def end_others(*, user: User, but: str) -> int:
    """All browsers of somebody's but one, who is in doubt about them; how many there were."""
    others = [one for one in browsers(user) if one.id != but]
    for one in others:
        _end(user, one, by=user)
    return len(others)


@transaction.atomic
def end_all(*, user: User, by: Any) -> None:
    """Sign somebody out everywhere, at once; nobody who has ended meanwhile is missed."""
    require_covered(by, user)
    for one in of_user(user):
        _end(user, one, by)


def _end(user: User, sign_in: SignIn, by: Any) -> None:
    if sign_in.token is not None:
        tokens.revoke(token=sign_in.token, by=by)
        return
    console_sessions.end_login(login=sign_in.id)
    import_module(settings.SESSION_ENGINE).SessionStore(sign_in.session_key).delete()
    UserSession.objects.filter(session_key=sign_in.session_key).delete()
    events.record("session.ended", actor=by, keys={"subject_id": user.pk}, owner=user, name=sign_in.name)
    live.person_changed(user.pk)
