"""How long somebody will wait: a range with a ground, or none."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules import waits
from broker.rules.waits import Ground, Wait

KNOWN_START = {"starts": 5, "start_mean": 10.0, "start_longest": 40.0}


def test_without_a_ground_nothing_is_said() -> None:
    assert waits.estimate(1, Ground()) is None
    assert waits.estimate(1, Ground(returns=10)) is None, "how long a start takes is not known"
    assert waits.estimate(1, Ground(returns=2, **KNOWN_START)) is None, "two returns are chance"
    assert waits.estimate(400, Ground(returns=3, **KNOWN_START)) is None, "days are no estimate"


def test_what_is_free_or_being_cleaned_only_has_to_start() -> None:
    assert waits.estimate(2, Ground(coming=2, clean_longest=15.0, **KNOWN_START)) == Wait(60, 60)


def test_the_range_is_rounded_up_and_widens_with_the_place() -> None:
    ground = Ground(returns=12, **KNOWN_START)
    first, fifth = waits.estimate(1, ground), waits.estimate(5, ground)
    assert first is not None and fifth is not None
    assert 0 < first.low <= 300 <= first.high and first.high % 300 == 0
    assert fifth.low > first.low and fifth.high > first.high


def test_limits_of_the_pool_say_when_one_comes_back_at_the_latest() -> None:
    found = waits.estimate(1, Ground(planned=700.0, **KNOWN_START))
    assert found == Wait(0, 900)
    assert waits.in_words(Wait(0, 900)) == "15 min at the latest"
    both = waits.estimate(1, Ground(returns=3, planned=120.0, **KNOWN_START))
    assert both is not None and both.high == 180


def test_words() -> None:
    assert waits.in_words(Wait(60, 60)) == "about 1 min"
    assert waits.in_words(Wait(300, 900)) == "about 5 to 15 min"
    assert "returns" in waits.ground_in_words(Ground(returns=3))
    assert "limits" in waits.ground_in_words(Ground(planned=1.0))


@given(
    place=st.integers(1, 300),
    ground=st.builds(
        Ground,
        returns=st.integers(0, 200),
        starts=st.integers(0, 10),
        start_mean=st.floats(0, 100),
        start_longest=st.floats(100, 1000),
        clean_longest=st.none() | st.floats(0, 100),
        coming=st.integers(0, 20),
        planned=st.none() | st.floats(-100, 10_000),
    ),
)
def test_a_range_is_in_order_and_whole_minutes(place: int, ground: Ground) -> None:
    found = waits.estimate(place, ground)
    if found is not None:
        assert 0 <= found.low <= found.high <= waits.FARTHEST_SECONDS
        assert found.low % 60 == found.high % 60 == 0 and found.high > 0


@pytest.mark.parametrize(("rate", "place"), [(6, 1), (20, 3), (60, 10)])
def test_eight_of_ten_people_wait_no_longer_than_was_said(rate: int, place: int) -> None:
    """Returns at random: the high end holds for about nine of ten, the low end for about one of five."""
    chance = random.Random(7)
    late = early = said = 0
    for _trial in range(2000):
        returns = _poisson(chance, rate)
        ground = Ground(returns=returns, starts=3, start_mean=0.0, start_longest=0.0)
        found = waits.estimate(place, ground)
        if found is None:
            continue
        said += 1
        waited = sum(chance.expovariate(rate / waits.WINDOW_SECONDS) for _return in range(place))
        late += waited > found.high
        early += waited < found.low
    assert said > 1000
    assert late / said < 0.15
    assert early / said < 0.45  # the low end is rounded up as well: nobody minds being served sooner


def _poisson(chance: random.Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count
