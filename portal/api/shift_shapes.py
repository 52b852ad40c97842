"""What the API says of shifts: plans, boards, who came, and what was handed over."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from ninja import Schema

from broker import access
from broker.events import sentence
from broker.models import DesktopRequest, Pool, ShiftAttendance, ShiftHandover, ShiftOccurrence, ShiftPlan
from broker.rules.shifts import Seat
from portal import duties
from portal import requests as wishes
from portal import shifts as shown
from portal.api import desktops
from portal.api.shapes import Named, named
from portal.shift_reports import DutyLine


class HandoverPointOut(Schema):
    id: UUID
    number: int
    text: str
    settled_by: str | None
    settled_at: datetime | None


class HandoverOut(Schema):
    id: UUID
    shift: str
    author: str
    at: datetime
    note: str
    points: list[HandoverPointOut]
    confirmed_by: str | None
    confirmed_at: datetime | None


class AttendanceOut(Schema):
    """Once that somebody checked in, with the desktop or the place in line that they have by it."""

    id: UUID
    plan: Named
    user: str
    shift: str | None
    came: datetime
    left: datetime | None
    present: bool
    until: datetime  # the end of duty
    stay_until: datetime | None  # what a lead allowed beyond it
    stay_asked_minutes: int | None
    stay_refused: datetime | None
    request: desktops.Request


class LeftOut(AttendanceOut):
    handover: HandoverOut | None


class OccurrenceOut(Schema):
    """A shift that takes place now, or that one may check in to already."""

    id: UUID
    name: str
    day: date
    opens: datetime
    starts: datetime
    ends: datetime


class PlanRef(Schema):
    id: UUID
    name: str
    pool: Named
    time_zone: str


class PlanCard(PlanRef):
    leads: bool
    running: list[OccurrenceOut]
    mine: AttendanceOut | None  # while one is there
    may_check_in: bool
    opens: datetime | None  # when one may check in next


class SeatOut(Schema):
    vm: Named
    state: Seat
    user: str | None
    since: datetime | None
    request: UUID | None
    attendance: UUID | None  # null for a desktop that was not taken for a shift
    fault: str
    asked_back: datetime | None


class WaitingOut(Schema):
    place: int
    user: str
    since: datetime
    request: UUID
    attendance: UUID | None


class DutyOut(Schema):
    """Somebody who is expected; `absent` is who has not come though the grace is over."""

    shift: str
    user: str
    expected: datetime
    ends: datetime
    came: datetime | None
    left: datetime | None
    present: bool
    absent: bool
    late_seconds: int
    overtime_seconds: int


class PresentOut(Schema):
    """Somebody who is there. What they asked of the leads is for the leads."""

    attendance: UUID
    user: str
    shift: str | None
    came: datetime
    until: datetime
    stay_until: datetime | None
    overtime_seconds: int
    stay_asked_minutes: int | None
    stay_reason: str


class ComingOut(Schema):
    name: str
    starts: datetime
    ends: datetime
    users: list[str]


class ProblemOut(Schema):
    """A problem that somebody reported."""

    at: datetime
    message: str


class BoardOut(PlanCard):
    now: datetime
    seats: list[SeatOut]
    line: list[WaitingOut]
    duties: list[DutyOut]
    present: list[PresentOut]
    next: ComingOut | None
    handovers: list[HandoverOut]
    problems: list[ProblemOut]  # for leads


# -- rows as the contract writes them --------------------------------------------------------------------


def cards(user: Any, plans: list[ShiftPlan]) -> dict[UUID, dict[str, Any]]:
    """What a list says of each plan: a number of queries that does not grow with them."""
    mine = duties.mine(user)
    pools = access.visible(user, Pool, "lead_shifts").filter(pk__in={plan.pool_id for plan in plans})
    led = set(pools.values_list("pk", flat=True))
    there = _attendances(one.attendance for one in mine.values() if one.attendance is not None)
    running: dict[UUID, list[ShiftOccurrence]] = {plan.pk: [] for plan in plans}
    taking_place = ShiftOccurrence.objects.filter(plan__in=plans).open_at(timezone.now())
    for one in taking_place.order_by("starts_at", "name", "pk"):
        running[one.plan_id].append(one)
    found = {}
    for plan in plans:
        own = mine.get(plan.pk)
        found[plan.pk] = {
            **reference(plan),
            "leads": plan.pool_id in led,
            "running": [occurrence(one) for one in running[plan.pk]],
            "mine": there.get(own.attendance.pk) if own and own.attendance else None,
            "may_check_in": own is not None and own.may_check_in,
            "opens": own and own.opens_at,
        }
    return found


def board(found: shown.Board) -> dict[str, Any]:
    """The board as somebody sees it."""
    now = found.now
    there = _attendances([found.mine] if found.mine else [])
    coming = found.coming
    return {
        **reference(found.plan),
        "leads": found.leads,
        "running": [occurrence(one) for one in found.running],
        "mine": there[found.mine.pk] if found.mine else None,
        "may_check_in": found.may_check_in,
        "opens": found.opens_at,
        "now": now,
        "seats": [seat(one) for one in found.seats],
        "line": [_waiting(wish) for wish in found.line],
        "duties": [duty(row) for row in found.duties],
        "present": [_present(one, now, to_lead=found.leads) for one in found.present],
        "next": coming
        and {
            "name": coming.name,
            "starts": coming.starts_at,
            "ends": coming.ends_at,
            "users": [person.username for person in coming.people],
        },
        "handovers": [handover(one) for one in found.handovers],
        "problems": [{"at": event.at, "message": sentence(event)} for event in found.problems],
    }


def reference(plan: ShiftPlan) -> dict[str, Any]:
    return {"id": plan.pk, "name": plan.name, "pool": named(plan.pool), "time_zone": plan.time_zone}


def occurrence(one: ShiftOccurrence) -> dict[str, Any]:
    return {
        "id": one.pk,
        "name": one.name,
        "day": one.day,
        "opens": one.opens_at,
        "starts": one.starts_at,
        "ends": one.ends_at,
    }


def attendance(user: Any, one: ShiftAttendance) -> dict[str, Any]:
    """One's own, or of a plan that one leads."""
    return _attendance(one, wishes.visible_to(user, one.request_id))


def _attendances(rows: Iterable[ShiftAttendance]) -> dict[UUID, dict[str, Any]]:
    """Several at once, by their keys."""
    rows = list(rows)
    found = list(wishes.readable(DesktopRequest.objects.filter(pk__in=[one.request_id for one in rows])))
    wishes.look_around(found)
    wish_of = {wish.pk: wish for wish in found}
    return {one.pk: _attendance(one, wish_of[one.request_id]) for one in rows}


def _attendance(one: ShiftAttendance, wish: Any) -> dict[str, Any]:
    one.request = wish  # as it is by now
    return {
        "id": one.pk,
        "plan": named(one.plan),
        "user": one.user.username,
        "shift": one.occurrence and one.occurrence.name,
        "came": one.came_at,
        "left": one.left_at,
        "present": one.is_present,
        "until": one.until,
        "stay_until": one.stay_until,
        "stay_asked_minutes": one.stay_asked_minutes,
        "stay_refused": one.stay_refused_at,
        "request": desktops.show(wish),
    }


def handover(one: ShiftHandover) -> dict[str, Any]:
    """With its points, which were prefetched."""
    return {
        "id": one.pk,
        "shift": one.shift_name,
        "author": one.author.username,
        "at": one.at,
        "note": one.note,
        "points": [
            {
                "id": point.pk,
                "number": point.number,
                "text": point.text,
                "settled_by": point.settled_by and point.settled_by.username,
                "settled_at": point.settled_at,
            }
            for point in one.points.all()
        ],
        "confirmed_by": one.confirmed_by and one.confirmed_by.username,
        "confirmed_at": one.confirmed_at,
    }


def seat(one: shown.SeatRow) -> dict[str, Any]:
    return {
        "vm": named(one.vm),
        "state": one.state,
        "user": one.wish and one.wish.user.username,
        "since": one.since,
        "request": one.wish and one.wish.pk,
        "attendance": one.attendance and one.attendance.pk,
        "fault": one.vm.fault,
        "asked_back": one.wish and one.wish.asked_back_at,
    }


def _waiting(wish: Any) -> dict[str, Any]:
    return {
        "place": wish.place,
        "user": wish.user.username,
        "since": wish.requested_at,
        "request": wish.pk,
        "attendance": wish.attendance_here and wish.attendance_here.pk,
    }


def duty(row: shown.DutyRow | DutyLine) -> dict[str, Any]:
    """Somebody who is, or was, expected, as board and report write it."""
    record = row.record
    return {
        "shift": row.occurrence.name,
        "user": row.user.username,
        "expected": row.expected_at,
        "ends": row.occurrence.ends_at,
        "came": record.came,
        "left": record.left,
        "present": record.present,
        "absent": record.absent,
        "late_seconds": seconds(record.late),
        "overtime_seconds": seconds(record.overtime),
    }


def _present(one: Any, now: datetime, *, to_lead: bool) -> dict[str, Any]:
    return {
        "attendance": one.pk,
        "user": one.user.username,
        "shift": one.occurrence and one.occurrence.name,
        "came": one.came_at,
        "until": one.until,
        "stay_until": one.stay_until,
        "overtime_seconds": seconds(max(now - one.until, timedelta())),
        "stay_asked_minutes": one.stay_asked_minutes if to_lead else None,
        "stay_reason": one.stay_reason if to_lead else "",
    }


def seconds(length: timedelta | None) -> int | None:
    """A duration as the API writes it; null for none."""
    return None if length is None else round(length.total_seconds())
