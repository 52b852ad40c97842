"""A short race, as `make race` runs it at length; on the database that the other tests run on."""

import os

import pytest

from tests.load import programs


@pytest.mark.req("R003", "R006", "R018", "R060")
def test_a_short_race_breaks_no_promise() -> None:
    database = os.environ.get("HOTDESK_TEST_DATABASE", "sqlite")
    lines = programs.run("race", "--seconds", "4", "--people", "12", "--database", database)
    assert lines[0].startswith("seed: ")
    assert lines[-1] == "violations: 0", "\n".join(lines)
