"""Who asked, from where, and what was refused: what the record says of every request."""

import ipaddress
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from allauth.mfa import signals as factor_signals
from django.conf import settings
from django.contrib.auth import get_user_model, signals
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse

from broker import events, orders
from broker.models import Event
from broker.operations import console_sessions
from portal import accounts, limits, logins

log = logging.getLogger(__name__)

NOT_FOUND, TOO_MANY = 404, 429
REFUSALS = (401, 403, NOT_FOUND, TOO_MANY)
ID_HEADER = "X-Request-ID"
MOST_A_MINUTE = 30  # of one source; whoever guesses ids must not fill the record
MOST_TEXT = 200
COLUMNS = {"pools": "pool_id", "vms": "vm_id", "hosts": "host_id"}


class Record:
    """Lets every event know its request, and writes down what was refused."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        address = address_of(request.META.get("REMOTE_ADDR"))
        origin = orders.Origin(address, lambda: person(request), _given_id(request) or uuid4())
        token = orders.origin.set(origin)
        try:
            response = self.get_response(request)
            if response.status_code in REFUSALS:
                _write(request, response.status_code)
            response[ID_HEADER] = str(origin.order_id)
            return response
        finally:
            orders.origin.reset(token)


def _given_id(request: HttpRequest) -> UUID | None:
    """What the proxy in front calls this request; of anybody else no name is taken."""
    return _uuid(request.headers.get(ID_HEADER)) if settings.BEHIND_TLS else None


def address_of(text: str | None) -> str | None:
    """An address that the record can keep; null for sockets without one."""
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return None


def person(request: HttpRequest) -> Any:
    """Whoever is signed in; null for nobody."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def _write(request: HttpRequest, status: int) -> None:
    """The answer stands, whether or not it can be written down."""
    address = request.META.get("REMOTE_ADDR", "")
    if status == TOO_MANY and limits.count("refused often", limits.network(address), seconds=60) > 1:
        return  # once a minute says it all, and costs nothing more
    try:
        who = person(request)
        # Addresses that nothing is at are no secret; what a view says is absent may be there for others (I6).
        if status == NOT_FOUND and (request.resolver_match is None or who is None):
            return
        count = limits.count("refused", _source(who, address), seconds=60)
        if count <= MOST_A_MINUTE:
            _record(request, who, status, often=count == MOST_A_MINUTE)
    except DatabaseError as error:
        log.warning("a refusal of %s could not be recorded: %s", request.path, error)


def _source(who: Any, address: str) -> str:
    return str(who.pk) if who else limits.network(address)


def _record(request: HttpRequest, who: Any, status: int, *, often: bool) -> None:
    kind = "access.refused_often" if often and who else "access.refused" if who else "access.refused_stranger"
    what = {"method": (request.method or "")[:10], "path": request.path[:MOST_TEXT], "status": status}
    _refused(kind, who, keys=_keys(request), **what)


def _refused(kind: str, who: Any, **about: Any) -> None:
    events.record(kind, actor=who, severity=Event.Severity.WARNING, outcome=Event.Outcome.REFUSED, **about)


def refused_socket(scope: Any, *, who: Any, status: int) -> None:
    """A websocket that was refused, and what it was to watch."""
    address = (scope.get("client") or ("",))[0]
    if limits.count("refused", _source(who, address), seconds=60) > MOST_A_MINUTE:
        return
    token = orders.origin.set(orders.Origin(address_of(address), lambda: who))
    try:
        wish = next(filter(None, map(_uuid, scope["path"].split("/"))), None)
        column = "request_id" if scope["path"].startswith("/live/") else "subject_id"
        about = {"keys": {column: wish} if wish else {}, "status": status}
        kind = "access.refused" if who else "access.refused_stranger"
        _refused(kind, who, method="WEBSOCKET", path=scope["path"][:MOST_TEXT], **about)
    finally:
        orders.origin.reset(token)


def _keys(request: HttpRequest) -> dict[str, UUID]:
    """Which rows the address, or the form, names."""
    given = dict(request.resolver_match.kwargs) if request.resolver_match else {}
    column = COLUMNS.get(str(given.pop("kind", "")), "subject_id")
    chosen = request.POST.get("id", "") if request.method == "POST" else ""
    found = {column: _uuid(given.pop("key", "") or chosen)}
    for name, value in given.items():
        named = name if name in ("pool_id", "vm_id", "host_id", "request_id") else "subject_id"
        found[named] = found.get(named) or _uuid(value)
    return {name: key for name, key in found.items() if key is not None}


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


# -- signing in and out, whatever the way ---------------------------------------------------------------


def watch() -> None:
    """Begin to write down who signs in and out; once, when the apps are loaded."""
    signals.user_logged_in.connect(_signed_in, dispatch_uid="portal.record")
    signals.user_logged_out.connect(_signed_out, dispatch_uid="portal.record")
    signals.user_login_failed.connect(_not_signed_in, dispatch_uid="portal.record")
    factor_signals.authenticator_added.connect(_factor_added, dispatch_uid="portal.record")
    factor_signals.authenticator_removed.connect(_factor_removed, dispatch_uid="portal.record")
    factor_signals.authenticator_reset.connect(_factor_renewed, dispatch_uid="portal.record")
    factor_signals.authentication_failed.connect(_factor_refused, dispatch_uid="portal.record")


def _signed_in(user: Any, **_rest: Any) -> None:
    events.record("session.opened", actor=user, keys={"subject_id": user.pk}, way="browser")


def _signed_out(user: Any, request: HttpRequest, **_rest: Any) -> None:
    if user is not None:
        console_sessions.end_login(login=logins.of_session(request.session.session_key))
        events.record("session.closed", actor=user, keys={"subject_id": user.pk}, way="browser")


def _not_signed_in(credentials: dict[str, Any], **_rest: Any) -> None:
    """What was typed as a name is kept only where it is one: it may have been the password."""
    name = str(credentials.get("username", ""))[:MOST_TEXT]
    account = get_user_model()._default_manager.filter(username=name).first()
    events.record(
        "session.refused" if account else "session.unknown",
        severity=Event.Severity.WARNING,
        outcome=Event.Outcome.REFUSED,
        keys={"subject_id": account.pk} if account else {},
        **({"name": account} if account else {}),
    )


def _factor_added(user: Any, authenticator: Any, **_rest: Any) -> None:
    _factor("factor.added", user, authenticator)


def _factor_removed(user: Any, authenticator: Any, **_rest: Any) -> None:
    _factor("factor.removed", user, authenticator, severity=Event.Severity.WARNING)


def _factor_renewed(user: Any, authenticator: Any, **_rest: Any) -> None:
    _factor("factor.renewed", user, authenticator)


def _factor(kind: str, user: Any, authenticator: Any, **about: Any) -> None:
    events.record(kind, actor=user, keys={"subject_id": user.pk}, factor=accounts.factor_name(authenticator), **about)


def _factor_refused(user: Any, authenticator: Any, **_rest: Any) -> None:
    about = {"name": user, "factor": accounts.factor_name(authenticator)}
    refused = {"severity": Event.Severity.WARNING, "outcome": Event.Outcome.REFUSED}
    events.record("factor.refused", keys={"subject_id": user.pk}, **refused, **about)
