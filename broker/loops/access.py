"""End what somebody has no permission for any more: places in line, desktops in use, and open displays (R146)."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from broker import access, config, jobs
from broker.errors import Refused
from broker.models import ConsoleSession, ConsoleTicket, DesktopRequest, DirectoryEntry, Pool, VirtualMachine
from broker.operations import console_sessions, consoles, desktops
from broker.states import LIVE, ConsoleEnd, PoolType

log = logging.getLogger(__name__)

BATCH = 500


def enforce() -> None:
    """Look at every pool that somebody has or wants a desktop of: one statement each, however many they are."""
    _each(_strange_consoles(), lambda session: console_sessions.end(session, ConsoleEnd.REVOKED))
    wanted = DesktopRequest.objects.filter(pool=OuterRef("pk"), state__in=LIVE)
    for pool in Pool.objects.filter(Exists(wanted)).select_related("cluster__data_center"):
        live = DesktopRequest.objects.filter(pool=pool, state__in=LIVE)
        # Asked of these people alone, and not of everybody there is.
        allowed = access.who_can("use_pool", pool).filter(pk__in=live.values("user")).values("pk")
        lost = live.exclude(user__in=allowed)
        spared = lost.filter(user__in=_lost_lately(), vm__isnull=False)
        if pool.type == PoolType.MANUAL:
            DesktopRequest.objects.kept_from_their_users().filter(pool=pool, user__in=allowed).update(revoked_at=None)
        if pool.type == PoolType.MANUAL or spared.exists():
            displays = ConsoleTicket.objects.of_this_run().filter(vm__pool=pool, user__in=lost.values("user"))
            _each(displays, lambda ticket: consoles.revoke(ticket=ticket))
        ending = lost.filter(revoked_at=None).exclude(pk__in=spared.values("pk"))
        _each(ending, lambda wish: desktops.end_unpermitted(request_id=wish.pk))
    opened = ConsoleTicket.objects.of_administrators().filter(vm=OuterRef("pk"))
    for vm in VirtualMachine.objects.filter(Exists(opened)).select_related("pool", "cluster__data_center"):
        allowed = access.who_can("operate_vm", vm).values("pk")
        strange = ConsoleTicket.objects.of_administrators().filter(vm=vm).exclude(user__in=allowed)
        _each(strange, lambda ticket: consoles.revoke(ticket=ticket))
    for ticket_id in ConsoleTicket.objects.to_close().values_list("pk", flat=True)[:BATCH]:
        jobs.send("broker.close_display", ticket_id)


def _lost_lately() -> QuerySet[Any, Any]:
    """Whom the directory lost a moment ago: it may have been a mistake, so their desktops wait for a while."""
    since = timezone.now() - timedelta(minutes=config.get("DirectoryGraceMinutes"))
    return DirectoryEntry.objects.filter(lost_at__gt=since).values("user")


def _strange_consoles() -> list[ConsoleSession]:
    """Consoles in browsers whose users may not have them any more: those first, for people look at them."""
    sessions = ConsoleSession.objects.in_force().select_related("vm__pool", "user", "request__pool")
    return [session for session in sessions if not _may_have(session)]


def _may_have(session: ConsoleSession) -> bool:
    if session.request is None or session.is_watching:
        action = "watch_desktops" if session.is_watching else "operate_vm"
        return access.can(session.user, action, session.vm)
    return session.request.pool is None or access.can(session.user, "use_pool", session.request.pool)


def _each(rows: QuerySet[Any] | list[Any], end: Callable[[Any], None]) -> None:
    """One that cannot be ended now keeps none of the others from it: the sweep asks again."""
    for row in rows[:BATCH]:
        try:
            end(row)
        except (Refused, ObjectDoesNotExist, DatabaseError):
            log.exception("%s could not be ended", row)
