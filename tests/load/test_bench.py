"""The benchmark measures something for every budget of the design, and says so in a table and a file."""

import json
import re
from pathlib import Path

import pytest

from tests.load import programs
from tests.load.bench import guests
from tests.load.bench.results import Measured, exponent, percentile
from tests.load.bench.sizes import SMALL
from tests.running import Hotdesk

WITHOUT_GUESTS = ("allocation", "pages", "takes", "watchers", "consoles", "storms")


def test_a_small_run_measures_all_that_needs_no_guests(tmp_path: Path) -> None:
    lines = programs.run("bench", "--size", "small", "--parts", *WITHOUT_GUESTS, HOTDESK_STATE=str(tmp_path))
    kept = json.loads((tmp_path / "bench.json").read_text())
    judged = [row for row in kept["measured"] if row["met"] is not None]
    met = sum(row["met"] for row in judged)
    assert lines[-1] == f"budgets met: {met} of {len(judged)}"
    assert len(judged) == 12
    [clicks] = [row for row in judged if "clicks" in row["what"]]
    assert clicks["met"], clicks
    assert sum("console streams" in row["what"] for row in kept["measured"]) == 2
    assert sum("exponent" in row["what"] for row in kept["measured"]) == 5


def test_real_guests_are_measured_beside_the_raw_calls(hotdesk: Hotdesk) -> None:
    cold, pool = guests.measure(hotdesk, SMALL)
    for one in (cold, pool):
        assert one.floor is not None
        assert one.value > one.floor > 0
        assert re.search(r"≤ 1.2 × floor \| (met|MISSED)", one.line())


def test_whether_a_budget_is_met_is_not_decided_by_hand() -> None:
    assert Measured("", 5, "s", budget=5).met
    assert not Measured("", 5.1, "s", budget=5).met
    assert not Measured("", 199, "a second", budget=200, more_is_better=True).met
    assert Measured("", 11, "s", floor=10, budget=1.2, of_floor=True).met
    assert not Measured("", 13, "s", floor=10, budget=1.2, of_floor=True).met
    assert Measured("", 13, "s", floor=10).met is None


@pytest.mark.parametrize(("power", "sizes"), [(0, [10, 100, 1000]), (1, [10, 1000]), (2, [1, 10, 100])])
def test_the_exponent_of_a_power_is_found(power: int, sizes: list[int]) -> None:
    assert exponent(sizes, [0.5 * size**power for size in sizes]) == pytest.approx(power)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([3, 1, 2], 0.99) == 3
    assert percentile([3, 1, 2], 0.5) == 2
