"""Shifts on the wall clock and in truth: midnight, changes of the clocks, shifts that meet; and who came when."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules import shifts
from broker.rules.shifts import Pattern, Seat, Span, Stay
from broker.states import RequestState, VmHold

EVERY_DAY = tuple(range(7))
MORNING = Pattern(EVERY_DAY, time(7), time(15))
NIGHT = Pattern(EVERY_DAY, time(23), time(7))
BERLIN, NEW_YORK, SEOUL = "Europe/Berlin", "America/New_York", "Asia/Seoul"


def hours(span: Span | None) -> float:
    assert span is not None
    return (span.end - span.start).total_seconds() / 3600


def wall(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%d %H:%M}"


def test_a_shift_is_where_the_wall_clock_of_its_zone_says() -> None:
    found = shifts.on_day(MORNING, date(2026, 3, 2), SEOUL)
    assert found == Span(datetime(2026, 3, 1, 22, tzinfo=UTC), datetime(2026, 3, 2, 6, tzinfo=UTC))


def test_a_shift_takes_place_on_its_days_alone() -> None:
    weekdays = Pattern((0, 1, 2, 3, 4), time(7), time(15))
    assert shifts.on_day(weekdays, date(2026, 3, 6), BERLIN) is not None  # a Friday
    assert shifts.on_day(weekdays, date(2026, 3, 7), BERLIN) is None


def test_a_night_shift_belongs_to_the_day_on_which_it_begins() -> None:
    friday_night = Pattern((4,), time(23), time(7))
    found = shifts.on_day(friday_night, date(2026, 3, 6), BERLIN)
    assert found is not None
    assert (wall(found.start, BERLIN), wall(found.end, BERLIN)) == ("06 23:00", "07 07:00")
    assert shifts.on_day(friday_night, date(2026, 3, 7), BERLIN) is None


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [
        (BERLIN, date(2026, 3, 28), date(2026, 10, 24)),
        (NEW_YORK, date(2026, 3, 7), date(2026, 10, 31)),
    ],
)
def test_the_night_of_a_change_of_clocks_is_an_hour_shorter_or_longer(zone: str, spring: date, autumn: date) -> None:
    assert hours(shifts.on_day(NIGHT, spring, zone)) == 7
    assert hours(shifts.on_day(NIGHT, autumn, zone)) == 9
    assert hours(shifts.on_day(NIGHT, spring - timedelta(days=1), zone)) == 8
    for day in (spring, autumn):
        found = shifts.on_day(NIGHT, day, zone)
        assert found is not None
        assert wall(found.end, zone).endswith("07:00")


def test_a_time_that_clocks_skip_is_when_they_have_skipped_it() -> None:
    found = shifts.on_day(Pattern(EVERY_DAY, time(2, 30), time(6)), date(2026, 3, 29), BERLIN)
    assert found is not None
    assert wall(found.start, BERLIN) == "29 03:30"


def test_a_shift_within_the_skipped_hour_does_not_take_place() -> None:
    skipped = Pattern(EVERY_DAY, time(2), time(3))
    assert shifts.on_day(skipped, date(2026, 3, 29), BERLIN) is None
    assert hours(shifts.on_day(skipped, date(2026, 3, 30), BERLIN)) == 1


def test_of_a_time_that_comes_twice_it_is_the_first() -> None:
    found = shifts.on_day(Pattern(EVERY_DAY, time(2, 30), time(6)), date(2026, 10, 25), BERLIN)
    assert found is not None
    assert found.start == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert hours(found) == 4.5


MINUTES = st.integers(0, 24 * 60 - 1)


@given(
    first=MINUTES,
    second=MINUTES,
    third=MINUTES,
    day=st.dates(date(2024, 1, 1), date(2030, 1, 1)),
    zone=st.sampled_from([BERLIN, NEW_YORK, SEOUL, "Australia/Lord_Howe", "UTC"]),
)
def test_shifts_that_meet_on_the_wall_meet_in_truth(
    first: int, second: int, third: int, day: date, zone: str
) -> None:
    moments = [time(minute // 60, minute % 60) for minute in (first, second, third)]
    before = shifts.on_day(Pattern(EVERY_DAY, moments[0], moments[1]), day, zone)
    after_day = day if moments[1] > moments[0] else day + timedelta(days=1)
    after = shifts.on_day(Pattern(EVERY_DAY, moments[1], moments[2]), after_day, zone)
    if before is not None and after is not None:
        assert before.end == after.start
    for found in (before, after):
        assert found is None or timedelta() < found.end - found.start <= timedelta(hours=25)


def test_what_takes_place_within_some_moments_is_found_whatever_the_zone() -> None:
    start = datetime(2026, 3, 2, 5, tzinfo=UTC)
    for zone in (SEOUL, BERLIN, "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        found = shifts.between(NIGHT, zone, start, start + timedelta(days=1))
        by_day = {day: shifts.on_day(NIGHT, day, zone) for day in (start.date() + timedelta(n) for n in range(-4, 5))}
        expected = [
            (day, span) for day, span in by_day.items() if span and span.start < start + timedelta(1) > span.start
        ]
        expected = [(day, span) for day, span in expected if span.end > start]
        assert found == expected


def test_the_next_start_looks_two_weeks_ahead() -> None:
    monday = Pattern((0,), time(7), time(15))
    now = datetime(2026, 3, 2, 7, tzinfo=UTC)
    assert shifts.next_start([monday], "UTC", now) == datetime(2026, 3, 9, 7, tzinfo=UTC)
    assert shifts.next_start([], "UTC", now) is None


# -- until when somebody is on duty ----------------------------------------------------------------------

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def span(start: float, end: float) -> Span:
    return Span(DAY + timedelta(hours=start), DAY + timedelta(hours=end))


@pytest.mark.parametrize(
    ("duties", "until"),
    [
        ([span(7, 15)], 15),
        ([span(7, 15), span(15, 23)], 23),  # they meet
        ([span(15, 23), span(7, 15)], 23),
        ([span(7, 15), span(14, 22)], 22),  # they overlap
        ([span(7, 15), span(16, 22)], 15),  # an hour at home
        ([span(7, 15), span(8, 9)], 15),
        ([span(7, 15), span(15, 23), span(23, 31)], 31),
    ],
)
def test_shifts_that_meet_are_one(duties: list[Span], until: float) -> None:
    assert shifts.on_duty_until(duties, DAY + timedelta(hours=7)) == DAY + timedelta(hours=until)


def test_reminders_are_given_once_each_and_a_missed_one_is_not_given_late() -> None:
    end = DAY + timedelta(hours=15)

    def due(minutes: float, reminded: int | None) -> int | None:
        return shifts.reminder_due(end, end - timedelta(minutes=minutes), reminded)

    assert due(15.1, None) is None
    assert due(15, None) == 15
    assert due(14, 15) is None
    assert due(5, 15) == 5
    assert due(4, 5) is None
    assert due(3, None) == 5  # nobody was at work at 15
    assert due(0, None) == 0  # nor at 5: they are told once that it is over
    assert due(-60, None) == 0
    assert due(0, 5) is None
    assert due(-60, 0) is None


def test_the_next_look_is_at_a_reminder_or_at_the_end() -> None:
    end = DAY + timedelta(hours=15)
    assert shifts.next_look(end, DAY) == end - timedelta(minutes=15)
    assert shifts.next_look(end, end - timedelta(minutes=15)) == end - timedelta(minutes=5)
    assert shifts.next_look(end, end - timedelta(minutes=1)) == end
    assert shifts.next_look(end, end) is None


# -- who came ------------------------------------------------------------------------------------------

GRACE = timedelta(minutes=15)


def at(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


def kept(*stays: Stay, now: float = 24) -> shifts.Record:
    return shifts.record(span(7, 15), stays, grace=GRACE, now=at(now))


def test_whoever_comes_within_the_grace_is_not_late() -> None:
    assert not kept(Stay(at(7.25), at(15))).late
    assert kept(Stay(at(7.5), at(15))).late == timedelta(minutes=30)
    assert not kept(Stay(at(6.8), at(15))).late


def test_whoever_has_not_come_is_absent_once_the_grace_is_over() -> None:
    assert not kept(now=7.2).absent
    assert kept(now=7.25).absent
    assert kept(Stay(at(1), at(6)), now=9).absent  # that was another shift


def test_overtime_runs_until_they_leave() -> None:
    assert kept(Stay(at(7)), now=15.5).overtime == timedelta(minutes=30)
    assert kept(Stay(at(7), at(15.25)), now=20).overtime == GRACE
    assert not kept(Stay(at(7), at(14)), now=20).overtime


def test_whoever_left_before_the_start_has_not_come() -> None:
    assert kept(Stay(at(6.8), at(6.9)), now=9).absent
    assert kept(Stay(at(6.8), at(6.9)), Stay(at(9)), now=10).late == timedelta(hours=2)


def test_what_goes_on_in_the_next_shift_is_no_overtime() -> None:
    both = [span(7, 15), span(15, 23)]
    stays = [Stay(at(7), at(23.5))]
    first, second = (shifts.record(one, stays, grace=GRACE, now=at(30), duties=both) for one in both)
    assert (first.overtime, second.overtime) == (timedelta(), timedelta(minutes=30))
    assert not second.late


def test_several_stays_of_one_duty_are_one_attendance() -> None:
    found = kept(Stay(at(7), at(9)), Stay(at(10)), now=12)
    assert (found.came, found.left, found.present) == (at(7), None, True)


def test_whoever_stays_from_the_shift_before_has_come() -> None:
    assert kept(Stay(at(-1)), now=9).came == at(-1)
    assert not kept(Stay(at(-1)), now=9).late


# -- seats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seat"),
    [
        ({"held_by": RequestState.READY}, Seat.IN_USE),
        ({"held_by": RequestState.READY, "fault": "keyboard"}, Seat.IN_USE),
        ({"held_by": RequestState.STARTING}, Seat.STARTING),
        ({"held_by": RequestState.RETURNING, "hold": VmHold.RESETTING}, Seat.RESETTING),
        ({"hold": VmHold.RESETTING}, Seat.RESETTING),
        ({"hold": VmHold.CREATING}, Seat.RESETTING),
        ({"hold": VmHold.FAULTY, "fault": "keyboard"}, Seat.FAULT),
        ({"hold": VmHold.ERROR}, Seat.FAULT),
        ({"hold": VmHold.ADMINISTRATOR}, Seat.AWAY),
        ({"clean": True}, Seat.FREE),
        ({"warm": True}, Seat.FREE),
        ({"warm": True, "ready": True}, Seat.READY),
        ({}, Seat.AWAY),
    ],
)
def test_a_seat_is_what_it_is_to_whoever_looks_for_one(given: dict[str, object], seat: Seat) -> None:
    nothing = {"held_by": None, "hold": None, "fault": "", "clean": False, "warm": False, "ready": False}
    assert shifts.seat(**{**nothing, **given}) == seat  # type: ignore[arg-type]


# -- what can be wrong -----------------------------------------------------------------------------------


def test_everything_that_is_wrong_with_a_plan_is_said_at_once() -> None:
    found = shifts.plan_problems(name=" ", time_zone="Mars/Olympus", early_minutes=-1, grace_minutes=999)
    assert [field for field, _text in found] == ["name", "time_zone", "early_minutes", "grace_minutes"]
    assert shifts.plan_problems(name="Help desk", time_zone=SEOUL, early_minutes=0, grace_minutes=240) == []


def test_whatever_is_here_is_no_time_zone() -> None:
    assert not shifts.is_zone("localtime") and not shifts.is_zone("Factory")
    assert shifts.is_zone("UTC") and shifts.is_zone(SEOUL)


def test_everything_that_is_wrong_with_a_shift_is_said_at_once() -> None:
    found = shifts.shift_problems("a\nb", Pattern((), time(7), time(7)))
    assert [field for field, _text in found] == ["name", "weekdays", "ends"]
    assert [field for field, _text in shifts.shift_problems("Night", Pattern((7,), time(23), time(7)))] == [
        "weekdays"
    ]
    assert shifts.shift_problems("Night", NIGHT) == []
