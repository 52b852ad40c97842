"""Shifts: when each takes place, until when somebody is on duty, who came, came late, or did not come.

Times of the wall clock become moments here. A time that clocks skip in spring is as much later as they skip, so that
02:30 is 03:30; of one that comes twice in autumn it is the first. So two shifts that meet on the wall meet in truth.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.utils.translation import gettext as _

from broker.models import Shift, ShiftOccurrence
from broker.states import RequestState, VmHold

REMINDERS = (15, 5)  # minutes before the end of a shift
MOST_MINUTES = 240  # of the check-in window before a shift, and of the grace
MOST_STAY_MINUTES = 720
MOST_SHIFTS = 50
MOST_NAME = 100
MOST_NOTE = 4000
MOST_POINTS = 20
MOST_POINT = 300
DAYS = tuple(range(7))  # Monday is 0
DAY_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")  # as calendars write them


@dataclass(frozen=True)
class Pattern:
    """A shift that comes again every week: on which days it begins, from when to when by the clock on the wall.

    One that ends at an earlier time than it starts ends on the next day.
    """

    weekdays: tuple[int, ...]
    starts: time
    ends: time


@dataclass(frozen=True)
class Span:
    """From one moment to another; the end is not part of it."""

    start: datetime
    end: datetime

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


@dataclass(frozen=True)
class ShiftSpec:
    """A shift as people write it down: a pattern with a name, and the names of those who are on its roster."""

    name: str
    pattern: Pattern
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def pattern_of(shift: Shift) -> Pattern:
    """When a shift of a plan takes place."""
    return Pattern(tuple(shift.weekdays), shift.starts, shift.ends)


def span_of(occurrence: ShiftOccurrence) -> Span:
    """From when to when a shift that takes place lasts."""
    return Span(occurrence.starts_at, occurrence.ends_at)


@cache
def zones() -> frozenset[str]:
    """The names of all time zones, read once; those for “whatever is here” are none."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    return name in zones()


def on_day(pattern: Pattern, day: date, zone: str) -> Span | None:
    """The shift that begins on this day; null when none does, or when clocks skip the whole of it."""
    if day.weekday() not in pattern.weekdays:
        return None
    last = day if pattern.ends > pattern.starts else day + timedelta(days=1)
    start, end = _moment(day, pattern.starts, zone), _moment(last, pattern.ends, zone)
    return Span(start, end) if start < end else None


def _moment(day: date, at: time, zone: str) -> datetime:
    return datetime.combine(day, at, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def between(pattern: Pattern, zone: str, start: datetime, end: datetime) -> list[tuple[date, Span]]:
    """Every time that it takes place, in part at least, within these moments, with the day on which it begins."""
    day = (start - timedelta(days=2)).date()
    found = []
    while day <= (end + timedelta(days=2)).date():
        span = on_day(pattern, day, zone)
        if span is not None and span.start < end and span.end > start:
            found.append((day, span))
        day += timedelta(days=1)
    return found


def next_start(patterns: Iterable[Pattern], zone: str, after: datetime) -> datetime | None:
    """When the first of these shifts begins after a moment; null when none does within two weeks."""
    coming = [
        span.start
        for pattern in patterns
        for _day, span in between(pattern, zone, after, after + timedelta(days=14))
        if span.start > after
    ]
    return min(coming, default=None)


def on_duty_until(duties: Iterable[Span], since: datetime) -> datetime:
    """Until when somebody who has been there since a moment is on duty: shifts that meet, or overlap, are one."""
    until = since
    for duty in sorted(duties, key=lambda one: one.start):
        if duty.start <= until or duty.holds(since):
            until = max(until, duty.end)
    return until


def reminder_due(until: datetime, now: datetime, reminded: int | None) -> int | None:
    """How many minutes before the end somebody is to be reminded now; null while none is due, or all were given.

    Nought for whoever was told nothing before the end: they are told once that it is over.
    """
    if now >= until:
        return 0 if reminded is None else None
    due = [minutes for minutes in REMINDERS if now >= until - timedelta(minutes=minutes)]
    return min(due) if due and (reminded is None or min(due) < reminded) else None


def next_look(until: datetime, now: datetime) -> datetime | None:
    """When something about the end of a shift is to be done next: a reminder, or the end; null after that."""
    moments = [until - timedelta(minutes=minutes) for minutes in REMINDERS] + [until]
    return min((moment for moment in moments if moment > now), default=None)


def reminder(minutes: int, *, leaves: bool) -> str:
    """What somebody is told that many minutes before; `leaves`: whether the desktop is taken back later."""
    words = {"minutes": minutes}
    if not minutes:
        return _("Your shift has ended. Hand over and check out.")
    if leaves:
        text = _("Your shift ends in %(minutes)s min. Hand over and check out; what is on the desktop is deleted.")
        return text % words
    return _("Your shift ends in %(minutes)s min. Hand over and check out.") % words


# -- what can be wrong ---------------------------------------------------------------------------------


def plan_problems(*, name: str, time_zone: str, early_minutes: int, grace_minutes: int) -> list[tuple[str, str]]:
    """Everything that is wrong with a plan, as (field, sentence)."""
    found = []
    if problem := _name_problem(name):
        found.append(("name", problem))
    if not is_zone(time_zone):
        text = _("There is no time zone “%(zone)s”. Write region and city, such as Asia/Seoul or Europe/Berlin.")
        found.append(("time_zone", text % {"zone": time_zone[:MOST_NAME]}))
    for field_name, minutes in (("early_minutes", early_minutes), ("grace_minutes", grace_minutes)):
        if not 0 <= minutes <= MOST_MINUTES:
            found.append((field_name, _("Give minutes from 0 to %(most)s.") % {"most": MOST_MINUTES}))
    return found


def shift_problems(name: str, pattern: Pattern) -> list[tuple[str, str]]:
    """Everything that is wrong with a shift, as (field, sentence)."""
    found = []
    if problem := _name_problem(name):
        found.append(("name", problem))
    if not pattern.weekdays or not set(pattern.weekdays) <= set(DAYS):
        found.append(("weekdays", _("Choose at least one day of the week, from Monday to Sunday.")))
    if pattern.starts == pattern.ends:
        found.append(("ends", _("A shift must end at another time than it starts; it may end on the next day.")))
    return found


def _name_problem(name: str) -> str | None:
    if not name.strip():
        return _("A name is required.")
    if not name.isprintable() or len(name) > MOST_NAME:
        return _("A name has at most %(most)s characters, and no control characters.") % {"most": MOST_NAME}
    return None


# -- who came ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stay:
    """Once that somebody was there. `left` is null while they are; `served` is when the desktop was ready."""

    came: datetime
    left: datetime | None = None
    served: datetime | None = None


@dataclass(frozen=True)
class Record:
    """What became of one duty: who came when, how late, and how long over the end."""

    came: datetime | None = None
    left: datetime | None = None
    late: timedelta = field(default_factory=timedelta)
    overtime: timedelta = field(default_factory=timedelta)
    present: bool = False
    absent: bool = False


def record(
    duty: Span, stays: Sequence[Stay], *, grace: timedelta, now: datetime, duties: Iterable[Span] = ()
) -> Record:
    """What is known at `now` of somebody's duty, by when they were there.

    Late is who comes after the grace, by how much after the start; absent is who has not come by then, whoever left
    before the start included. `duties` are all of that person's: what goes on in the next of them is no overtime.
    """
    during = [stay for stay in stays if stay.came < duty.end and (stay.left is None or stay.left > duty.start)]
    if not during:
        return Record(absent=now >= duty.start + grace)
    came = min(stay.came for stay in during)
    present = any(stay.left is None for stay in during)
    left = None if present else max(stay.left for stay in during if stay.left is not None)
    late = came - duty.start if came > duty.start + grace else timedelta()
    goes_on = on_duty_until(duties, duty.start) > duty.end
    over = timedelta() if goes_on else max((left or now) - duty.end, timedelta())
    return Record(came=came, left=left, late=late, overtime=over, present=present)


# -- seats ---------------------------------------------------------------------------------------------


class Seat(StrEnum):
    """What a VM of the pool is to whoever looks for a desktop."""

    IN_USE = "in_use"
    STARTING = "starting"  # for somebody it was given to
    READY = "ready"
    FREE = "free"  # off and clean
    RESETTING = "resetting"
    FAULT = "fault"
    AWAY = "away"  # with an administrator, or on a host that does not answer


def seat(*, held_by: str | None, hold: str | None, fault: str, clean: bool, warm: bool, ready: bool) -> Seat:
    """The seat that a VM is; `held_by` is the state of the wish that it serves, null for none."""
    if held_by == RequestState.READY:
        return Seat.IN_USE
    if held_by == RequestState.STARTING:
        return Seat.STARTING
    if held_by == RequestState.RETURNING or hold in (VmHold.RESETTING, VmHold.CREATING):
        return Seat.RESETTING
    if fault or hold in (VmHold.FAULTY, VmHold.ERROR):
        return Seat.FAULT
    if hold is None and warm:
        return Seat.READY if ready else Seat.FREE
    return Seat.FREE if hold is None and clean else Seat.AWAY
