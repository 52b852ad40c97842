"""What is told in numbers is what the rows say, at a price that does not grow."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from broker import leases, measures
from broker.models import DesktopRequest
from tests.world import World

EVERYTHING = (
    *(measures.lines, measures.requests, measures.vms, measures.hosts, measures.running_jobs, measures.vm_leases),
    *(measures.silent_seconds, measures.recent_steps, measures.recent_events, measures.recent_ends),
)


def fill(world: World, name: str) -> Any:
    """Two desktops in use and one person in line."""
    pool = world.pool(2, name=name)
    for number in range(3):
        world.take(world.person(f"{name}-{number}", pool), pool)
    world.settle()
    return pool


def test_a_measure_of_many_costs_as_many_queries_as_of_few(world: World) -> None:
    def queries() -> list[int]:
        counts = []
        for measure in EVERYTHING:
            with CaptureQueriesContext(connection) as captured:
                measure()
            counts.append(len(captured))
        return counts

    fill(world, "first")
    with_one = queries()
    for number in range(4):
        fill(world, f"more{number}")
    assert queries() == with_one
    assert max(with_one) == 2


def test_the_line_and_its_longest_wait_are_told(world: World) -> None:
    pool = fill(world, "helpdesk")
    world.pool(1, name="idle")
    asked = timezone.now() - timedelta(minutes=5)
    DesktopRequest.objects.filter(pool=pool, state="queued").update(requested_at=asked)
    line = measures.lines()["helpdesk"]
    assert line.length == 1
    assert 300 <= line.oldest_seconds < 360
    assert measures.lines()["idle"] == measures.Line(0, 0.0)
    assert measures.requests() == {("helpdesk", "queued"): 1, ("helpdesk", "ready"): 2}
    assert measures.vms()["helpdesk", "up", ""] == 2


def test_each_step_from_wish_to_desktop_is_told_of_the_last_minutes_alone(world: World) -> None:
    fill(world, "helpdesk")
    begun = timezone.now() - timedelta(minutes=2)
    moments = ("requested_at", "assigned_at", "placed_at", "disk_ready_at", "started_at", "ready_at")
    times = {name: begun + timedelta(seconds=2 * number) for number, name in enumerate(moments)}
    DesktopRequest.objects.filter(state="ready").update(**times)
    steps = measures.recent_steps()
    assert {step: spread.count for step, spread in steps.items()} == {
        **dict.fromkeys(("wait", "place", "disk", "start", "boot", "all"), 2),
        "connect": 0,
    }
    assert (steps["wait"].quantiles[0.5], steps["all"].quantiles[0.99]) == (2.0, 10.0)
    # Begun before it was asked for, the boot took its user no time beyond the asking.
    DesktopRequest.objects.filter(state="ready").update(started_at=begun - timedelta(hours=1), ready_at=begun)
    assert measures.recent_steps()["boot"].quantiles[0.9] == 0.0
    DesktopRequest.objects.filter(state="ready").update(ready_at=begun - measures.RECENT)
    assert measures.recent_steps()["all"].count == 0


def test_who_is_silent_is_told(world: World) -> None:
    silent = measures.silent_seconds()
    assert silent["sweep"] < 5
    assert silent["beat"] == float("inf")
    assert leases.hold("beat", seconds=15)
    assert measures.silent_seconds()["beat"] < 5
