"""The home page: cards that are drawn once for everybody say to each what is true for them."""

import re
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test.utils import CaptureQueriesContext

from broker.models import DesktopRequest
from portal import cards
from tests.pages.conftest import Reader, text
from tests.world import World


@pytest.fixture
def shared(settings: Any) -> None:
    """Glimpses are kept, as in production, and no card is drawn yet."""
    settings.CACHES = {
        **settings.CACHES,
        "glimpses": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "test-home"},
    }
    caches["glimpses"].clear()
    cards.drawn.cache_clear()


def key_of(page: Any) -> str:
    match = re.search(r'name="key" value="([^"]+)"', page.content.decode())
    assert match is not None
    return match[1]


@pytest.mark.req("R060")
def test_each_reads_of_their_own_limit_though_cards_are_shared(world: World, shared: None) -> None:
    pool = world.pool(3, description="<b>For all</b>")
    one, other = (Reader(world.person(name, pool)) for name in ("one", "other"))
    assert "Take a desktop" in text(one.get("/")) and "Take a desktop" in text(other.get("/"))
    world.take(one.person, pool)
    assert "Your limit is reached" in text(one.get("/"))
    assert "Take a desktop" in text(other.get("/"))
    assert "&lt;b&gt;For all" in other.get("/").content.decode()


def test_a_card_is_drawn_in_the_language_of_its_reader(world: World, shared: None) -> None:
    reader = Reader(world.person("one", world.pool(1)))
    assert "Take a desktop" in text(reader.get("/"))
    reader.client.cookies["django_language"] = "ko"
    korean = text(reader.get("/"))
    assert "Take a desktop" not in korean and "데스크톱" in korean


def test_what_pools_look_like_is_asked_once_for_many_readers(world: World, shared: None, clock: Any) -> None:
    pools = [world.pool(1, name=f"pool{number}") for number in range(3)]
    asked = []
    for name in ("first", "second", "third"):
        for pool in pools:
            person = world.person(name, pool)
        reader = Reader(person)
        with CaptureQueriesContext(connection) as captured:
            assert reader.get("/").status_code == 200
        asked.append(len(captured))
    assert (
        asked[1] == asked[2] == asked[0] - 7
    )  # three counts, three of the past, and whether second factors are required
    assert cards.drawn.cache_info().misses == len(pools)


@pytest.mark.req("R060")
def test_one_page_takes_from_each_pool_and_from_none_twice(world: World) -> None:
    pools = [world.pool(2, name=name, max_vms_per_user=2) for name in ("one", "two")]
    for pool in pools:
        reader = Reader(world.person("agent", pool))
    key = key_of(reader.get("/"))
    for pool in (*pools, *pools):
        assert reader.post(f"/pools/{pool.pk}/take/", {"key": key}).status_code == 302
    assert {wish.pool for wish in DesktopRequest.objects.all()} == set(pools)
    assert DesktopRequest.objects.count() == 2
    assert key_of(reader.get("/")) != key
