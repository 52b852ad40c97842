"""What was in the shifts of some days: who came, who waited how long, how full the pool was, and what went wrong."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import access
from broker.errors import Invalid
from broker.events import sentence
from broker.models import (
    DesktopRequest,
    Event,
    ShiftAttendance,
    ShiftDuty,
    ShiftOccurrence,
    ShiftPlan,
    VirtualMachine,
)
from broker.rules import desktops as desktop_rules
from broker.rules import shift_reports as rules
from broker.rules.shift_reports import MOST_DAYS, Hour, Waits
from broker.rules.shifts import Record, Span
from broker.states import EndReason, RequestState
from portal import shifts as shown

DAYS = 7
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2999, 12, 31)
MOST_DUTIES = 20_000
MOST_ATTENDANCES = 50_000
MOST_USES = 50_000
MOST_EVENTS = 200


@dataclass(frozen=True)
class Period:
    """Days of a plan's time zone, both of which count."""

    since: date
    until: date
    zone: str

    @property
    def start(self) -> datetime:
        return rules.midnight(self.since, self.zone)

    @property
    def end(self) -> datetime:
        return rules.midnight(self.until + timedelta(days=1), self.zone)


@dataclass(frozen=True)
class DutyLine:
    """Somebody who was expected in a shift, and what became of it. `wait` is null where no desktop became ready."""

    occurrence: ShiftOccurrence
    user: Any
    expected_at: datetime
    record: Record
    wait: timedelta | None
    outcome: str


@dataclass(frozen=True)
class Tally:
    """How many came to a shift, over all days."""

    name: str
    expected: int
    on_time: int
    late: int
    absent: int

    @property
    def parts(self) -> list[tuple[str, int]]:
        """For the bar beside the numbers."""
        return [("used", self.on_time), ("ready", self.late), ("other", self.absent)]


@dataclass(frozen=True)
class Happening:
    """Something that was reported or marked."""

    at: datetime
    message: str


@dataclass(frozen=True)
class Report:
    """`complete` is false where the period holds more than one report does; `seats` are the VMs of the pool now."""

    plan: ShiftPlan
    period: Period
    now: datetime
    complete: bool
    duties: list[DutyLine]
    waits: Waits
    seats: int
    hours: list[Hour]
    problems: list[Happening]
    faults: list[Happening]

    @property
    def expected(self) -> int:
        return len(self.duties)

    @property
    def came(self) -> int:
        return sum(one.record.came is not None for one in self.duties)

    @property
    def late(self) -> int:
        return sum(bool(one.record.late) for one in self.duties)

    @property
    def absent(self) -> int:
        return sum(one.record.absent for one in self.duties)

    @property
    def no_shows(self) -> list[DutyLine]:
        return [one for one in self.duties if one.record.absent]

    @property
    def tallies(self) -> list[Tally]:
        """By the names of the shifts, in the order of the day."""
        found: dict[str, list[DutyLine]] = defaultdict(list)
        for one in self.duties:
            found[one.occurrence.name].append(one)
        return [_tally(name, lines) for name, lines in found.items()]


def _tally(name: str, lines: list[DutyLine]) -> Tally:
    late = sum(bool(one.record.late) for one in lines)
    came = sum(one.record.came is not None for one in lines)
    absent = sum(one.record.absent for one in lines)
    return Tally(name, expected=len(lines), on_time=came - late, late=late, absent=absent)


def reported(user: Any, plan_id: UUID) -> ShiftPlan:
    """A plan whose report one may read; NotFound for those one does not see, Denied for one's own roster alone."""
    plan = shown.get(user, plan_id)
    if access.can(user, "view_inventory", plan.pool):
        return plan
    return shown.led(user, plan_id)


def period(plan: ShiftPlan, since: date | None, until: date | None) -> Period:
    """The days that are meant; without any the last seven. Invalid for too many, or for none."""
    today = timezone.now().astimezone(ZoneInfo(plan.time_zone)).date()
    problems = []
    for name, day in (("since", since), ("until", until)):
        if day is not None and not FIRST_DAY <= day <= LAST_DAY:
            problems.append((name, _("Give a day between 2000 and 2999.")))
    if problems:
        raise Invalid.fields(problems)
    last = until or (today if since is None or since <= today else since)
    first = since or last - timedelta(days=DAYS - 1)
    if first > last:
        raise Invalid(_("This day comes before the first one. Choose the same or a later one."), field="until")
    if last - first >= timedelta(days=MOST_DAYS):
        raise Invalid(_("A report covers at most %(most)s days.") % {"most": MOST_DAYS}, field="until")
    return Period(max(first, FIRST_DAY), last, plan.time_zone)


def report(plan: ShiftPlan, chosen: Period) -> Report:
    """Everything about these days: a number of queries that grows with neither days nor people."""
    now = timezone.now()
    rows = ShiftDuty.objects.filter(occurrence__plan=plan, occurrence__day__range=(chosen.since, chosen.until))
    order = ("occurrence__starts_at", "occurrence__name", "occurrence__pk", "user__username", "pk")
    duties = list(rows.select_related("occurrence", "user").order_by(*order)[: MOST_DUTIES + 1])
    uses, attendances = _uses(plan, chosen, now), _attendances(plan, chosen, duties)
    there: dict[Any, list[ShiftAttendance]] = defaultdict(list)
    for one in attendances:
        there[one.user_id].append(one)
    return Report(
        plan=plan,
        period=chosen,
        now=now,
        complete=len(duties) <= MOST_DUTIES and len(uses) <= MOST_USES and len(attendances) <= MOST_ATTENDANCES,
        duties=[
            _line(duty, record, there[duty.user_id])
            for duty, record in shown.records(duties[:MOST_DUTIES], there, now)
        ],
        waits=rules.waits(_wait(one) for one in attendances if _within(one, chosen)),
        seats=VirtualMachine.objects.filter(pool=plan.pool_id).staying().count(),
        hours=rules.occupancy(uses[:MOST_USES], chosen.since, chosen.until, plan.time_zone, now),
        problems=_happenings(plan, chosen, "desktop.problem"),
        faults=_happenings(plan, chosen, "vm.faulty"),
    )


def _attendances(plan: ShiftPlan, chosen: Period, duties: list[ShiftDuty]) -> list[ShiftAttendance]:
    """Whoever was there at any time of these days, and of the shifts that begin on them."""
    start = min((one.occurrence.opens_at for one in duties), default=chosen.start)
    end = max((one.occurrence.ends_at for one in duties), default=chosen.end)
    rows = ShiftAttendance.objects.filter(plan=plan, came_at__lt=max(end, chosen.end))
    rows = rows.filter(Q(request__ended_at=None) | Q(request__ended_at__gte=min(start, chosen.start)))
    found = rows.select_related("request__returned_by", "occurrence").order_by("came_at", "pk")
    return list(found[: MOST_ATTENDANCES + 1])


def _line(duty: ShiftDuty, found: Record, there: list[ShiftAttendance]) -> DutyLine:
    occurrence = duty.occurrence
    during = [one for one in there if found.came is not None and found.came <= one.came_at < occurrence.ends_at]
    return DutyLine(
        occurrence=occurrence,
        user=duty.user,
        expected_at=duty.expected_at,
        record=found,
        wait=_wait(during[0]) if during else None,
        outcome=_outcome(found, during),
    )


def _outcome(found: Record, during: list[ShiftAttendance]) -> str:
    """How it ended, in words."""
    if found.absent:
        return _("Did not come.")
    if found.came is None or not during:
        return _("Has not come yet.")
    if found.present:
        return _("Is there.")
    wish: Any = during[-1].request
    if wish.state != RequestState.ENDED:
        return str(wish.get_state_display())
    if wish.returned_by is not None:
        words = {"person": wish.returned_by, "reason": wish.return_reason or "–"}
        return _("%(person)s returned the desktop: %(reason)s") % words
    if wish.end_reason == EndReason.CANCELLED:
        return _("Left the line.")
    if wish.end_reason == EndReason.REVOKED:
        return _("The permission on the pool was removed.")
    return desktop_rules.outcome(wish.end_reason, wish.ending)


def _wait(attendance: ShiftAttendance) -> timedelta | None:
    """From checking in until the desktop was ready; nothing for a desktop that was there before."""
    ready = attendance.request.ready_at
    return None if ready is None else max(ready - attendance.came_at, timedelta())


def _within(attendance: ShiftAttendance, chosen: Period) -> bool:
    """Whether it counts for these days: by the day on which its shift begins."""
    if attendance.occurrence is not None:
        return chosen.since <= attendance.occurrence.day <= chosen.until
    return chosen.start <= attendance.came_at < chosen.end


def _uses(plan: ShiftPlan, chosen: Period, now: datetime) -> list[Span]:
    """When desktops of the pool were somebody's, of whichever plan or none."""
    rows = DesktopRequest.objects.filter(pool=plan.pool_id, assigned_at__lt=chosen.end)
    rows = rows.filter(Q(ended_at=None) | Q(ended_at__gte=chosen.start)).order_by("assigned_at", "pk")
    times = rows.values_list("assigned_at", "returned_at", "ended_at")[: MOST_USES + 1]
    return [Span(start, returned or ended or now) for start, returned, ended in times]


def _happenings(plan: ShiftPlan, chosen: Period, kind: str) -> list[Happening]:
    """The newest first."""
    rows = Event.objects.filter(pool_id=plan.pool_id, kind=kind, at__gte=chosen.start, at__lt=chosen.end)
    return [Happening(event.at, sentence(event)) for event in rows.order_by("-at", "pk")[:MOST_EVENTS]]
