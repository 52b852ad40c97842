"""Check in to a shift and out of it, hand over, stay longer; and what time does to whoever is there."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from broker import access, events, jobs, live, locks
from broker.errors import Conflict, Invalid
from broker.models import (
    DesktopRequest,
    HandoverPoint,
    ShiftAttendance,
    ShiftHandover,
    ShiftOccurrence,
    ShiftPlan,
)
from broker.operations import deadlines, desktops, rosters
from broker.rules import shifts as rules
from broker.states import LIVE, NOT_READY, AtShiftEnd, RequestState

LAST_NOTICE = timedelta(minutes=5)  # between saying that a place in line is given up, and that
MOST_DUE = 500
NOTHING_SAID: dict[str, Any] = {"reminded_minutes": None, "place_goes_told_at": None}


@transaction.atomic
def check_in(*, plan: ShiftPlan, user: Any) -> tuple[ShiftAttendance, bool]:
    """Record that somebody has come, and ask for a desktop at the end of the pool's line (R017).

    The attendance, and whether it is new: again changes nothing. A desktop of the pool that they have already
    becomes that of the shift.
    Conflict outside of their shifts, and whatever speaks against taking a desktop.
    """
    if not access.can(user, "use_pool", plan.pool):
        text = _("To check in you must be allowed to use the pool %(name)s.") % {"name": plan.pool}
        raise access.denied(user, "use_pool", plan.pool, text)
    locks.line(plan.pool_id)
    now = timezone.now()
    present = _of(plan, user).present().first()
    if present is not None and present.leaves_at > now:
        return present, False
    occurrence = rosters.open_for(plan, user, now)
    if present is not None:
        if occurrence is not None and occurrence.pk != present.occurrence_id:
            _go_on(present, occurrence, now)
        return present, False
    if occurrence is None:
        raise Conflict(_closed(plan, user, now), code="NO_SHIFT_NOW")
    attendance = ShiftAttendance(
        plan=plan,
        user=user,
        request=_held(plan, user) or desktops.take(user=user, pool=plan.pool)[0],
        occurrence=occurrence,
        came_at=now,
        until=occurrence.ends_at,
    )
    attendance.save(force_insert=True)
    _keep_time(attendance, now)
    _record("shift.checked_in", attendance)
    return attendance, True


def _go_on(attendance: ShiftAttendance, occurrence: ShiftOccurrence, now: datetime) -> None:
    """Somebody never checked out of the shift before, and is there for this one with the same desktop."""
    _write(attendance, occurrence=occurrence, until=occurrence.ends_at, stay_until=None, **NOTHING_SAID)
    _keep_time(attendance, now)
    _record("shift.checked_in", attendance)


def _held(plan: ShiftPlan, user: Any) -> DesktopRequest | None:
    """A desktop, or a place in line, that somebody took before they checked in."""
    mine = DesktopRequest.objects.filter(pool=plan.pool_id, user=user, state__in=LIVE, return_asked_at=None)
    return mine.filter(attendance=None).in_order().first()


def _closed(plan: ShiftPlan, user: Any, now: datetime) -> str:
    opens = rosters.next_for(plan, user, now)
    if opens is None:
        return _("You are on no shift of %(plan)s that one can check in to.") % {"plan": plan}
    with timezone.override(plan.time_zone):
        words = {"plan": plan, "time": f"{timezone.localtime(opens):%Y-%m-%d %H:%M %Z}"}
    return _("None of your shifts of %(plan)s is open now. You can check in to the next from %(time)s on.") % words


@transaction.atomic
def check_out(
    *, plan: ShiftPlan, user: Any, note: str = "", points: Sequence[str] = ()
) -> tuple[ShiftAttendance, ShiftHandover | None]:
    """Return the desktop, or leave the line, and hand over what there is to hand over (R018); again changes nothing.

    Conflict for somebody who never checked in.
    """
    locks.line(plan.pool_id)
    attendance = _of(plan, user).present().first() or _of(plan, user).first()
    if attendance is None:
        raise Conflict(_("You have not checked in to a shift of %(plan)s.") % {"plan": plan}, code="NOT_CHECKED_IN")
    handover = _hand_over(attendance, note.strip(), [point.strip() for point in points if point.strip()])
    if attendance.is_present:
        _leave(attendance)
        attendance.request.refresh_from_db()
        _record("shift.checked_out", attendance)
    return attendance, handover


def _leave(attendance: ShiftAttendance) -> None:
    try:
        desktops.give_back(request=attendance.request)
    except Conflict as refusal:
        if refusal.code != "ENDED":  # its guest was shut down this moment
            raise


def _hand_over(attendance: ShiftAttendance, note: str, points: list[str]) -> ShiftHandover | None:
    """What the next shift is to know; the same words again are the same click again."""
    if not note and not points:
        return None
    problems = []
    if len(note) > rules.MOST_NOTE:
        problems.append(("note", _("Say it in at most %(most)s characters.") % {"most": rules.MOST_NOTE}))
    if len(points) > rules.MOST_POINTS or any(len(point) > rules.MOST_POINT for point in points):
        text = _("Give at most %(count)s open points of at most %(most)s characters each.")
        problems.append(("points", text % {"count": rules.MOST_POINTS, "most": rules.MOST_POINT}))
    if problems:
        raise Invalid.fields(problems)
    for earlier in attendance.handovers.filter(note=note):
        if [point.text for point in earlier.points.all()] == points:
            return earlier
    handover = ShiftHandover.objects.create(
        plan=attendance.plan,
        attendance=attendance,
        shift_name=str(attendance.occurrence or ""),
        author=attendance.user,
        note=note,
    )
    HandoverPoint.objects.bulk_create(
        HandoverPoint(handover=handover, number=number, text=text) for number, text in enumerate(points, start=1)
    )
    _record("shift.handed_over", attendance)
    return handover


@transaction.atomic
def confirm(*, handover: ShiftHandover, by: Any) -> None:
    """Somebody of the next shift has read it; again changes nothing. Conflict for whoever wrote it."""
    if handover.author_id == by.pk:
        raise Conflict(_("What you hand over yourself is confirmed by somebody else."), code="OWN_HANDOVER")
    rows = ShiftHandover.objects.filter(pk=handover.pk, confirmed_at=None)
    if rows.update(confirmed_by=by, confirmed_at=timezone.now()):
        about = {"pool": handover.plan.pool, "author": handover.author, "plan": handover.plan}
        events.record("shift.confirmed", actor=by, subject=handover.plan, **about)
        live.shifts_changed(handover.plan_id)


@transaction.atomic
def settle(*, point: HandoverPoint, by: Any) -> None:
    """An open point is done with; again changes nothing."""
    rows = HandoverPoint.objects.filter(pk=point.pk, settled_at=None)
    if rows.update(settled_by=by, settled_at=timezone.now()):
        plan = point.handover.plan
        events.record("shift.settled", actor=by, subject=plan, pool=plan.pool, plan=plan, text=point.text)
        live.shifts_changed(plan.pk)


# -- stay longer ---------------------------------------------------------------------------------------


@transaction.atomic
def ask_to_stay(*, plan: ShiftPlan, user: Any, minutes: int, reason: str = "") -> ShiftAttendance:
    """Ask the leads for more time after the end of the shift; Conflict for somebody who is not there."""
    _require_minutes(minutes)
    if len(reason) > rules.MOST_POINT:
        raise Invalid(_("Say it in at most %(most)s characters.") % {"most": rules.MOST_POINT}, field="reason")
    locks.line(plan.pool_id)
    attendance = _of(plan, user).present().first()
    if attendance is None:
        raise Conflict(_("You are not checked in to a shift of %(plan)s.") % {"plan": plan}, code="NOT_CHECKED_IN")
    _write(
        attendance,
        stay_asked_at=timezone.now(),
        stay_asked_minutes=minutes,
        stay_reason=reason.strip(),
        stay_refused_at=None,
    )
    _record("shift.stay_asked", attendance, minutes=minutes)
    return attendance


@transaction.atomic
def answer_stay(*, attendance: ShiftAttendance, by: Any, minutes: int | None) -> None:
    """Let somebody who asked stay so much longer, from the end of the shift, or from now if that has passed.

    `minutes` is null for not. An answer to nothing, or a second one, changes nothing.
    """
    if minutes is not None:
        _require_minutes(minutes)
    locks.line(attendance.plan.pool_id)
    attendance = _attendances().get(pk=attendance.pk)
    if not attendance.is_present:
        raise Conflict(_("%(person)s is not there any more.") % {"person": attendance.user}, code="NOT_CHECKED_IN")
    if attendance.stay_asked_at is None:
        return
    now = timezone.now()
    asked = {"stay_asked_at": None, "stay_asked_minutes": None}
    if minutes is None:
        _write(attendance, stay_refused_at=now, **asked)
        _record("shift.stay_refused", attendance, actor=by, person=attendance.user)
        return
    until = max(attendance.leaves_at, now) + timedelta(minutes=minutes)
    _write(attendance, stay_until=until, stay_refused_at=None, **NOTHING_SAID, **asked)
    _keep_time(attendance, now)
    _record("shift.stay_allowed", attendance, actor=by, person=attendance.user, minutes=minutes)


def _require_minutes(minutes: int) -> None:
    if not 1 <= minutes <= rules.MOST_STAY_MINUTES:
        text = _("Give minutes from 1 to %(most)s.") % {"most": rules.MOST_STAY_MINUTES}
        raise Invalid(text, field="minutes")


# -- time ----------------------------------------------------------------------------------------------


def due(now: datetime) -> list[UUID]:
    """Whoever is to be reminded, or is to go."""
    return list(ShiftAttendance.objects.due(now).values_list("pk", flat=True)[:MOST_DUE])


@transaction.atomic
def keep(*, attendance_id: UUID) -> None:
    """Remind somebody of the end of the shift, if it is time for that; after its grace a place in line is given up.

    A desktop in hand is taken back by its deadline, which warns by itself (operations.deadlines).
    """
    found = ShiftAttendance.objects.filter(pk=attendance_id).values_list("plan__pool", flat=True).first()
    if found is None:
        return
    locks.line(found)
    attendance = _attendances().get(pk=attendance_id)
    now = timezone.now()
    if not attendance.is_present:
        _write(attendance, look_at=None)
        return
    _keep_time(attendance, now)
    minutes = rules.reminder_due(attendance.leaves_at, now, attendance.reminded_minutes)
    if _is_over(attendance, now):
        _give_up_place(attendance, now)
    elif minutes is not None:
        _remind(attendance, minutes)


def _give_up_place(attendance: ShiftAttendance, now: datetime) -> None:
    """A place in line has no warnings of its own: it goes so long after that was said."""
    if attendance.place_goes_told_at is None:
        _write(attendance, place_goes_told_at=now, look_at=now + LAST_NOTICE)
        _remind(attendance, 0)
    elif now >= attendance.place_goes_told_at + LAST_NOTICE:
        desktops.end_with_shift(request=attendance.request)
        live.shifts_changed(attendance.plan_id)


def _is_over(attendance: ShiftAttendance, now: datetime) -> bool:
    """Whether a place in line is to be given up."""
    ends = _taken_back_at(attendance)
    return ends is not None and now >= ends and attendance.request.state in NOT_READY


def _taken_back_at(attendance: ShiftAttendance) -> datetime | None:
    plan = attendance.plan
    return attendance.leaves_at + plan.grace if plan.at_end == AtShiftEnd.CHECK_OUT else None


def _remind(attendance: ShiftAttendance, minutes: int) -> None:
    _write(attendance, reminded_minutes=minutes)
    _record("shift.reminded", attendance, minutes=minutes)
    jobs.later("broker.remind_guest", attendance.pk)


def _keep_time(attendance: ShiftAttendance, now: datetime) -> None:
    """Until when somebody is on duty by roster and plan as they are now, and what follows for the desktop.

    What was said of the end is said anew when that moved.
    """
    plan, occurrence = attendance.plan, attendance.occurrence
    since = max(attendance.came_at, occurrence.starts_at if occurrence else attendance.came_at)
    known = rules.on_duty_until(rosters.duties_of(plan, attendance.user, now), since)
    until = max(occurrence.ends_at if occurrence else attendance.until, known)
    if until != attendance.until:
        _write(attendance, until=until, **NOTHING_SAID)
    over = _taken_back_at(attendance)
    moments = [rules.next_look(attendance.leaves_at, now), over if over and over > now else None]
    if rules.reminder_due(attendance.leaves_at, now, attendance.reminded_minutes) is not None:
        moments.append(now)  # whoever comes shortly before the end is reminded at once
    if _is_over(attendance, now):
        told = attendance.place_goes_told_at
        moments.append(now if told is None else max(told + LAST_NOTICE, now))
    look_at = min((moment for moment in moments if moment is not None), default=None)
    _write(attendance, look_at=look_at)
    deadlines.set_shift_end(request=attendance.request, at=over)


def plan_changed(plan: ShiftPlan) -> None:
    """Grace, what is done at the end, and the roster act at once on those who are there; the line is locked."""
    now = timezone.now()
    present = ShiftAttendance.objects.filter(plan=plan).present()
    for attendance in present.select_related("request", "occurrence", "user"):
        attendance.plan = plan
        _keep_time(attendance, now)
    live.shifts_changed(plan.pk)


def open_due(plan: ShiftPlan, now: datetime) -> None:
    """Write down the shifts that begin to be open, so that who does not come is known to be absent."""
    if not rosters.unwritten(plan, now):
        return
    with transaction.atomic():
        locks.line(plan.pool_id)
        fresh = ShiftPlan.objects.filter(pk=plan.pk).first()
        if fresh is not None:
            rosters.open_shifts(fresh, now)
            live.shifts_changed(fresh.pk)


def remind_guest_on_host(*, attendance_id: UUID) -> None:
    """Say the last reminder on the desktop itself, in its user's language."""
    rows = ShiftAttendance.objects.present().select_related("plan", "request__vm__host")
    attendance = rows.filter(pk=attendance_id, reminded_minutes__isnull=False).first()
    if attendance is None or attendance.request.state != RequestState.READY or attendance.request.vm is None:
        return
    with translation.override(attendance.request.language or None):
        left = attendance.leaves_at - timezone.now()
        minutes = max(math.ceil(left / timedelta(minutes=1)), 0)
        text = rules.reminder(minutes, leaves=_taken_back_at(attendance) is not None)
    deadlines.say_on_host(attendance.request.vm, text)


# -- rows ----------------------------------------------------------------------------------------------


def _of(plan: ShiftPlan, user: Any) -> Any:
    """What somebody attended, the newest first."""
    return _attendances().filter(plan=plan, user=user).order_by("-came_at", "pk")


def _attendances() -> Any:
    return ShiftAttendance.objects.select_related("plan__pool", "request", "occurrence", "user")


def _write(attendance: ShiftAttendance, **values: Any) -> None:
    ShiftAttendance.objects.filter(pk=attendance.pk).update(**values)
    for name, value in values.items():
        setattr(attendance, name, value)


def _record(kind: str, attendance: ShiftAttendance, *, actor: Any = None, **facts: Any) -> None:
    plan, wish = attendance.plan, attendance.request
    about = {"subject": plan, "pool": plan.pool, "request": wish, "plan": plan, "shift": attendance.occurrence or "–"}
    events.record(kind, actor=actor or attendance.user, **about, **facts)
    live.shifts_changed(plan.pk)
    live.request_changed(wish.pk)
