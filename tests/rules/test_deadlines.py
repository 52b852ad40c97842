"""How long a desktop may be kept, without any rows."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules import deadlines
from broker.rules.deadlines import Limits, Use
from broker.states import Ending, PoolType

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOLD, CONNECT = timedelta(minutes=5), timedelta(minutes=30)


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


def end(use: Use, **limits: timedelta) -> tuple[str, float] | None:
    found = deadlines.deadline(use, Limits(hold=HOLD, connect=CONNECT, **limits))
    return None if found is None else (found.kind, (found.at - NOON).total_seconds() / 60)


def test_whoever_waited_has_a_hold_and_others_the_time_to_connect() -> None:
    assert end(Use(waited=True, ready_at=NOON)) == (Ending.HOLD, 5)
    assert end(Use(waited=False, ready_at=NOON)) == (Ending.CONNECT, 30)


def test_a_hold_is_put_off_once_by_as_much_again() -> None:
    assert deadlines.may_extend(Ending.HOLD, [], None)
    assert not deadlines.may_extend(Ending.HOLD, [Ending.HOLD], 60)
    extended = frozenset({Ending.HOLD})
    assert end(Use(waited=True, ready_at=NOON, extended=extended), extension=minutes(60)) == (Ending.HOLD, 10)


def test_whoever_connected_keeps_it_where_nothing_is_limited() -> None:
    assert end(Use(waited=True, ready_at=NOON, connected_at=NOON, viewer_left_at=NOON)) is None


def test_the_first_of_the_limits_counts() -> None:
    use = Use(waited=False, ready_at=NOON, connected_at=NOON + minutes(1), busy_at=NOON + minutes(10))
    limits = {"session": minutes(60), "idle": minutes(20), "disconnected": minutes(3)}
    assert end(use, **limits) == (Ending.IDLE, 30)
    assert end(use, session=minutes(25), idle=minutes(20)) == (Ending.SESSION, 25)
    gone = Use(waited=False, ready_at=NOON, connected_at=NOON, viewer_left_at=NOON + minutes(12))
    assert end(gone, **limits) == (Ending.DISCONNECTED, 15)


def test_limits_of_a_pool_are_put_off_only_where_it_allows_that() -> None:
    assert not deadlines.may_extend(Ending.SESSION, [], None)
    assert deadlines.may_extend(Ending.SESSION, [], 15)
    use = Use(waited=False, ready_at=NOON, connected_at=NOON, extended=frozenset({Ending.SESSION}))
    assert end(use, session=minutes(60), extension=minutes(15)) == (Ending.SESSION, 75)
    assert not deadlines.may_extend(None, [], 15)


@pytest.mark.parametrize(
    ("length", "passed", "warned", "due"),
    [
        (60, 54, None, None),
        (60, 55, None, 5),
        (60, 55, 5, None),
        (60, 59, 5, 1),
        (60, 59, None, 1),  # late: the last warning says it all
        (60, 59, 1, None),
        (5, 0, None, None),  # a hold is not begun with a warning
        (5, 4, None, 1),
        (1, 0, None, None),
    ],
)
def test_warnings_come_before_the_end_and_once(length: int, passed: int, warned: int | None, due: int | None) -> None:
    one = deadlines.Deadline(Ending.SESSION, NOON, NOON + minutes(length))
    assert deadlines.warning_due(one, NOON + minutes(passed), first_minutes=5, warned=warned) == due


def test_the_next_look_is_at_the_next_warning_and_then_at_the_end() -> None:
    one = deadlines.Deadline(Ending.SESSION, NOON, NOON + minutes(60))
    looks, now = [], NOON
    for _look in range(3):
        now = deadlines.look_at(one, now, first_minutes=5)
        looks.append((now - NOON).total_seconds() / 60)
    assert looks == [55, 59, 60]


def test_limits_belong_to_automatic_pools_and_have_a_range() -> None:
    none = dict.fromkeys(deadlines.TIME_FIELDS)
    assert deadlines.problems(PoolType.MANUAL, none) == []
    assert deadlines.problems(PoolType.AUTOMATIC, {**none, "idle_limit_minutes": 10_080}) == []
    for wrong in (0, -1, 10_081):
        [(field, _text)] = deadlines.problems(PoolType.AUTOMATIC, {**none, "idle_limit_minutes": wrong})
        assert field == "idle_limit_minutes"
    assert [field for field, _text in deadlines.problems(PoolType.MANUAL, {**none, "max_session_minutes": 5})] == [
        "max_session_minutes"
    ]
    assert [field for field, _text in deadlines.problems(PoolType.AUTOMATIC, {**none, "extension_minutes": 5})] == [
        "extension_minutes"
    ]


spans = st.none() | st.integers(1, 500).map(minutes)
moments = st.none() | st.integers(0, 1000).map(lambda count: NOON + minutes(count))


@given(
    use=st.builds(
        Use,
        waited=st.booleans(),
        ready_at=st.just(NOON),
        connected_at=moments,
        viewer_left_at=moments,
        busy_at=moments,
        extended=st.frozensets(st.sampled_from(list(Ending))),
    ),
    limits=st.builds(
        Limits,
        hold=st.integers(1, 100).map(minutes),
        connect=st.integers(1, 100).map(minutes),
        disconnected=spans,
        session=spans,
        idle=spans,
        extension=spans,
    ),
)
def test_more_time_never_ends_a_desktop_sooner(use: Use, limits: Limits) -> None:
    found = deadlines.deadline(use, limits)
    if found is None:
        return
    assert found.at > found.since
    longer = Use(**{**vars(use), "extended": use.extended | {found.kind}})
    again = deadlines.deadline(longer, limits)
    assert again is not None and again.at >= found.at


def test_where_somebody_may_be_at_work_no_end_comes_without_a_warning() -> None:
    one = deadlines.Deadline(Ending.SESSION, NOON, NOON + minutes(60))

    def put_off(told: deadlines.Told, passed: float, end: deadlines.Deadline = one) -> float:
        at = deadlines.with_notice(end, told, NOON + timedelta(minutes=passed), first_minutes=5).at
        return (at - NOON).total_seconds() / 60

    nothing = deadlines.Told()
    assert put_off(nothing, 10) == put_off(nothing, 59) == 60
    assert put_off(nothing, 70) == 75
    told = deadlines.Told(Ending.SESSION, NOON + minutes(75), warned=True)
    assert put_off(told, 74) == put_off(told, 76) == 75, "once"
    assert put_off(deadlines.Told(Ending.IDLE, NOON + minutes(75), warned=True), 70) == 75
    unused = deadlines.Deadline(Ending.HOLD, NOON, NOON + minutes(5))
    assert put_off(nothing, 6, unused) == 5
