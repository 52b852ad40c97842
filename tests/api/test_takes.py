"""The answer to a take is what asking for the wish afterwards says, though storms share what a pool looks like."""

from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api.conftest import sign_in
from tests.world import World

LIMITS = {"max_session_minutes": 50, "extension_minutes": 7}  # no round number: estimates are rounded


@pytest.fixture
def shared(settings: Any) -> None:
    """Glimpses are kept, as in production."""
    settings.CACHES = {
        **settings.CACHES,
        "glimpses": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "test-takes"},
    }
    caches["glimpses"].clear()


@pytest.mark.req("R003", "R004")
@pytest.mark.parametrize("limits", [{}, LIMITS])
def test_the_answer_is_what_is_read_afterwards(world: World, shared: None, limits: dict[str, int]) -> None:
    pool = world.pool(1, **limits)
    for number in range(4):  # enough of the past for an estimate
        wish = world.take(world.person(f"earlier{number}", pool), pool)
        world.settle()
        if number < 3:
            sign_in(wish.user).post(f"/requests/{wish.pk}/return")
            world.settle()
    people = [sign_in(world.person(f"agent{number}", pool)) for number in range(3)]
    taken = [person.post(f"/pools/{pool.pk}/take").json() for person in people]
    read = [person.get(f"/requests/{answer['id']}").json() for person, answer in zip(people, taken, strict=True)]
    assert [answer["position"] for answer in taken] == [1, 2, 3]
    assert taken[2]["estimated_wait"] is not None
    assert taken == read


@pytest.mark.req("R003")
def test_whoever_asks_in_the_same_moment_shares_what_the_pool_looks_like(
    world: World, shared: None, clock: Any
) -> None:
    pool = world.pool(1)
    people = [sign_in(world.person(f"agent{number}", pool)) for number in range(3)]
    asked = []
    for person in people:
        with CaptureQueriesContext(connection) as captured:
            assert person.post(f"/pools/{pool.pk}/take").status_code == 201
        asked.append(len(captured))
    assert asked[1] == asked[2] == asked[0] - 6
