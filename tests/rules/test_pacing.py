"""A host is given as much at once as it was measured to bear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules import pacing
from broker.rules.pacing import BOOT, LEAST, Noticed


def test_the_pace_rises_while_all_it_allows_is_under_way_and_steps_take_their_usual_time() -> None:
    pace, usual = 4.0, {"start": 1.0}
    for _start in range(40):
        pace, usual = pacing.after_steps(pace, usual, [Noticed("start", 1.1)], full=True, at_ease=False)
    assert pace > 8
    assert pacing.after_steps(pace, usual, [Noticed("start", 1.1)], full=False, at_ease=False)[0] == pace


def test_it_falls_when_steps_take_far_longer_than_usual_and_halves_when_they_fail() -> None:
    slow = [Noticed("start", 3.2)]
    assert pacing.after_steps(10.0, {"start": 1.0}, slow, full=True, at_ease=False)[0] == pytest.approx(9.0)
    failed = [Noticed("clean", 0.1, failed=True)]
    assert pacing.after_steps(10.0, {"clean": 0.1}, failed, full=True, at_ease=False)[0] == 5.0


def test_a_jitter_of_milliseconds_is_no_strain() -> None:
    assert pacing.after_steps(10.0, {"clean": 0.001}, [Noticed("clean", 0.04)], full=False, at_ease=False)[0] == 10.0


def test_guests_that_boot_slowly_say_nothing_of_their_host_but_those_that_never_boot_do() -> None:
    usual = {BOOT: 2.0}
    assert pacing.after_steps(10.0, usual, [Noticed(BOOT, 60)], full=True, at_ease=False)[0] == 10.0
    assert pacing.after_steps(10.0, usual, [Noticed(BOOT, 60, failed=True)], full=True, at_ease=False)[0] == 5.0


def test_what_a_template_does_wrong_on_a_host_that_is_at_ease_holds_up_nobody_else() -> None:
    assert [pacing.at_ease(pressure) for pressure in (None, 0, 19, 20)] == [False, True, True, False]
    pace, usual = 10.0, {"start": 0.3, BOOT: 2.0}
    found = [Noticed("start", 2.0), Noticed("start", 0.1, failed=True), Noticed(BOOT, 300, failed=True)] * 20
    assert pacing.after_steps(pace, usual, found, full=True, at_ease=False)[0] == LEAST
    assert pacing.after_steps(pace, usual, found, full=True, at_ease=True)[0] == pace


@given(st.lists(st.tuples(st.floats(0, 1e4), st.booleans(), st.booleans()), max_size=60), st.integers(0, 100))
def test_whatever_is_noticed_a_host_always_takes_something(found: list[tuple[float, bool, bool]], stood: int) -> None:
    pace, usual = pacing.first(0), {}
    for seconds, failed, full in found:
        pace, usual = pacing.after_steps(
            pace, usual, [Noticed("start", seconds, failed)], full=full, at_ease=stood < 9
        )
        pace = pacing.after_look(pace, stood, full=full)
        assert pace >= LEAST


@pytest.mark.parametrize(
    ("known", "pressure"),
    [
        ({"stalled_percent": 41, "waiting_percent": 99, "busy_percent": 99}, 41),
        ({"stalled_percent": None, "waiting_percent": 30, "busy_percent": 60}, 30),
        ({"stalled_percent": None, "waiting_percent": 0, "busy_percent": 100}, 50),
        ({"stalled_percent": None, "waiting_percent": 0, "busy_percent": 10}, 0),
    ],
)
def test_pressure_is_what_the_kernel_says_and_else_an_estimate(known: dict[str, int | None], pressure: int) -> None:
    assert pacing.pressure_percent(**known) == pressure  # type: ignore[arg-type]


def test_what_usually_takes_long_is_waited_for_longer() -> None:
    assert pacing.patience_seconds({}) == pacing.UNKNOWN_BOOT_SECONDS
    assert pacing.patience_seconds({BOOT: 0.1}) == pacing.SHORTEST_PATIENCE_SECONDS
    assert pacing.patience_seconds({BOOT: 60}) == 180
    # As after workers were away while the first guest of a host booted.
    assert pacing.patience_seconds({BOOT: 3600}) == pacing.LONGEST_PATIENCE_SECONDS
