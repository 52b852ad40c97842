"""Two brokers on one PostgreSQL and one Redis: either serves alone, and together they do nothing twice."""

import json
from pathlib import Path

from tests.load import programs


def test_either_of_two_brokers_serves_alone_and_both_do_nothing_twice(tmp_path: Path) -> None:
    told = json.loads(programs.run("two_brokers", str(tmp_path))[-1])
    assert told["served by both"] == told["served by the second"] == told["served by the first"] == 2
    assert told["holders of the beat"] == told["holders of each watch"] == 1
    assert told["beats that were started"] == 2
    # Workers keep their connections: a new one for each task would take most of the task's time.
    assert told["connections opened while serving"] <= 6
    assert told["in order"]
    assert told["assigned twice"] == 0
