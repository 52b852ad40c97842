"""Lists cost the same number of queries however long they are."""

from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from broker.models import Pool
from tests.api.conftest import sign_in
from tests.world import World

MANY = 12
LISTS = [
    "/api/v1/pools",
    "/api/v1/requests",
    "/api/v1/requests?all=1",
    "/api/v1/clusters",
    "/api/v1/templates",
    "/api/v1/manage/pools",
    "/api/v1/vms",
    "/",
    "/pools/",
    "/manage/",
    "/manage/vms/",
]


class Watcher:
    """One person who sees everything, with a browser and a program."""

    def __init__(self, world: World) -> None:
        self.person = world.superuser()
        self.program = sign_in(self.person)  # sets a password, which ends older sessions
        self.browser = Client()
        self.browser.force_login(self.person)

    def queries(self, path: str) -> int:
        self._get(path)  # what is read once per process is read now
        with CaptureQueriesContext(
            connection,
        ) as captured:
            answer = self._get(path)
        assert answer.status_code == 200
        return len(captured)

    def _get(self, path: str) -> Any:
        if path.startswith("/api/v1"):
            return self.program.get(path.removeprefix("/api/v1"))
        return self.browser.get(path)


def fill(world: World, watcher: Watcher, numbers: range) -> None:
    """Pools with a VM that somebody has, somebody in line behind, and a wish of the watcher."""
    for number in numbers:
        pool: Pool = world.pool(2, name=f"pool{number}")
        world.take(world.person(f"agent{number}", pool), pool)
        world.take(watcher.person, pool)
        world.settle()
        world.take(world.person(f"late{number}", pool), pool)


def test_a_list_of_many_costs_as_many_queries_as_a_list_of_one(world: World) -> None:
    watcher = Watcher(world)
    fill(world, watcher, range(1))
    with_one = {path: watcher.queries(path) for path in LISTS}
    fill(world, watcher, range(1, MANY))
    assert {path: watcher.queries(path) for path in LISTS} == with_one
