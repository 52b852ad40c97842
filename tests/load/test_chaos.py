"""A little chaos, as `make chaos` brings about at length."""

import pytest

from tests.load import programs


@pytest.mark.req("R004", "R006", "R018")
def test_a_little_chaos_loses_doubles_and_orphans_nothing() -> None:
    lines = programs.run("chaos", "--seconds", "15", "--people", "4")
    assert lines[0].startswith("seed: ")
    assert lines[-1] == "lost: 0 doubled: 0 orphaned: 0", "\n".join(lines)
