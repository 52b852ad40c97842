"""Consoles in browsers: while they are open, and when they end. How they are opened stands in console_doors."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events, jobs, live
from broker.errors import NotFound
from broker.models import ConsoleSession, ConsoleTicket, DesktopRequest, Event, VirtualMachine
from broker.rules.console_sessions import Holder
from broker.states import ConsoleEnd, ConsoleKind, RequestState

MOST = 500


def holder(vm: VirtualMachine, kind: str, *, now_gone: UUID | None = None) -> Holder | None:
    """Who has the console of a VM whose row is locked; `now_gone` is a session that its own page left just now."""
    session = vm.console_sessions.seen().filter(kind=kind).select_related("user").order_by("-created_at").first()
    if session is not None:
        return Holder(session.user_id, session.user.display_name, session.pk)
    if kind == ConsoleKind.TEXT or now_gone is not None or vm.console_sessions.just_left().filter(kind=kind).exists():
        return None
    # A viewer that is no page of ours is known by what the host says of the desktop.
    looked_at = DesktopRequest.objects.filter(vm=vm, state=RequestState.READY, connected_at__isnull=False)
    wish = looked_at.filter(viewer_left_at=None).select_related("user").first()
    return None if wish is None else Holder(wish.user_id, wish.user.display_name, None)


def of_user(user: Any, session_id: UUID) -> ConsoleSession:
    """A session of this user; NotFound for those of others, as if there were none (I6)."""
    sessions = ConsoleSession.objects.select_related(
        "vm__host", "vm__cluster", "vm__template_version", "request", "ended_by"
    )
    session = sessions.filter(user=user, pk=session_id).first()
    if session is None:
        raise NotFound(_("There is no such console."))
    return session


def keep(session_ids: Collection[UUID], *, seen: bool) -> set[UUID]:
    """Those of the sessions whose sockets may stay; `seen` writes down that they have some. One look for all."""
    rows = ConsoleSession.objects.in_force().filter(pk__in=session_ids)
    kept = set(rows.values_list("pk", flat=True))
    if seen and kept:
        ConsoleSession.objects.filter(pk__in=kept).update(seen_at=timezone.now())
    return kept


@transaction.atomic
def close(*, user: Any, session_id: UUID) -> None:
    """Its page is done with it; again changes nothing."""
    end(of_user(user, session_id), ConsoleEnd.CLOSED)


@transaction.atomic
def end_login(*, login: str) -> None:
    """Whoever signed out looks at nothing any more."""
    end_all(ConsoleSession.objects.filter(login=login), ConsoleEnd.SIGNED_OUT)


def end_all(sessions: Any, reason: str) -> None:
    """The same for many: for callers in a transaction of their own."""
    for session in sessions.not_ended().select_related("vm", "user", "request")[:MOST]:
        end(session, reason)


def expire() -> None:
    """End those whose run is over, or whose browser is gone; the sweep calls it."""
    due = ConsoleSession.objects.to_end().select_related("vm", "user", "request")
    for session in due.order_by("created_at", "pk")[:MOST]:
        with transaction.atomic():
            end(session, ConsoleEnd.OVER if session.run_number != session.vm.run_number else ConsoleEnd.LOST)


def end(session: ConsoleSession, reason: str, *, by: Any = None) -> None:
    """End one, by compare-and-set; its sockets are closed by the web processes that have them, within a second."""
    now = timezone.now()
    rows = ConsoleSession.objects.filter(pk=session.pk).not_ended()
    if not rows.update(ended_at=now, reason=reason, ended_by=by):
        return
    about = {"request": session.request, "vm": session.vm, "pool": session.vm.pool}
    events.record("console.closed", actor=session.user, reason=ConsoleEnd(reason).value, **about)
    if session.is_watching and reason not in (ConsoleEnd.TAKEN_OVER, ConsoleEnd.REOPENED):
        # The password is still good for a viewer of their own, which nobody would be shown.
        ConsoleTicket.objects.filter(console_session=session, revoked_at=None).update(revoked_at=now)
        jobs.check_access()
    if session.request is not None:
        live.request_changed(session.request.pk)


def replaced(session: ConsoleSession, *, by: Any, anew: bool) -> None:
    """Somebody has the console now: the same page `anew`, or somebody else, or the same person elsewhere."""
    if not anew:
        about = {"request": session.request, "vm": session.vm, "pool": session.vm.pool, "holder": session.user}
        events.record("console.taken_over", actor=by, severity=Event.Severity.WARNING, **about)
    end(session, ConsoleEnd.REOPENED if anew else ConsoleEnd.TAKEN_OVER, by=by)
