"""One change of a line, and many who watch it: read once for all of them, told to each in words of their own."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from broker import grants
from broker.models import DesktopRequest, Pool
from broker.operations import desktops, mails, users
from portal import audience, lines, live
from portal.audience import Audiences, audiences
from tests.access.test_live import NOT_SIGNED_IN, Socket
from tests.world import World

LENGTH = 14  # people in line: more than are drawn one by one


@pytest.fixture
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """Committed, for websockets have connections of their own."""
    return World(monkeypatch)


@pytest.fixture
def pool(world: World) -> Pool:
    return world.pool(1)


@pytest.fixture
def line(world: World, pool: Pool) -> list[DesktopRequest]:
    """Whoever has the only desktop, and all who wait for it."""
    line = [world.take(person, pool) for person in world.people(LENGTH + 1, pool)]
    world.settle()
    return line


def socket(wish: DesktopRequest, language: str = "en") -> Socket:
    client = Client()
    client.force_login(wish.user)
    client.cookies["django_language"] = language
    return Socket(wish, client)


async def opened(sockets: list[Socket]) -> None:
    for one in sockets:
        assert "html" in await one.open()


async def closed(sockets: list[Socket]) -> None:
    for one in sockets:
        await one.close()


async def told(one: Socket) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await one.next())
    return found


@sync_to_async
def leave(wish: DesktopRequest) -> None:
    desktops.give_back(request=DesktopRequest.objects.get(pk=wish.pk))


@pytest.mark.req("R005")
def test_each_is_told_a_place_of_their_own_in_their_own_language(line: list[DesktopRequest]) -> None:
    sockets = [socket(wish, "ko" if number % 2 else "en") for number, wish in enumerate(line[2:])]

    async def watch() -> list[dict[str, Any]]:
        await opened(sockets)
        await leave(line[1])
        found = [await told(one) for one in sockets]
        await closed(sockets)
        return found

    for place, message in enumerate(async_to_sync(watch)(), start=1):
        assert "html" not in message and message["state"] == "queued"
        words = message["words"]
        assert words["place"] == str(place)
        said = f"You are in line at place {place}." if place % 2 else f"대기 순번은 {place}번입니다."
        assert words["announce"] == said
        assert words["title"] == message["title"] and words["title"].startswith(f"({place}) helpdesk")
        assert (words["reason"] == "The only desktop is in use.") == bool(place % 2)


@pytest.mark.req("R005")
def test_words_for_all_are_those_that_each_panel_shows(world: World, pool: Pool, line: list[DesktopRequest]) -> None:
    """What is found for all at once is what is found for each alone: place, ground, and who was served meanwhile."""
    desktops.give_back(request=DesktopRequest.objects.get(pk=line[0].pk))
    world.settle()
    waiting = list(DesktopRequest.objects.filter(state="queued").order_by("ticket"))
    readers = [reader(wish) for wish in waiting]
    found = {one.request_id: words for one, words in lines.news(pool.pk, readers)}
    assert len(found) == LENGTH - 1
    for one in readers:
        assert found[one.request_id] == one.told
        assert one.told["served"] == "2 people before you were served since you joined."


def reader(wish: DesktopRequest) -> Any:
    """Whoever has just been sent the panel."""
    client = Client()
    client.force_login(wish.user)
    one = live.Desktop()
    one.scope = {"url_route": {"kwargs": {"request_id": wish.pk}}}
    one.user, one.language, one.session_key = wish.user, "en", client.session.session_key
    one.panel()
    return one


def queries(pool: Pool, readers: list[Any]) -> int:
    with CaptureQueriesContext(connection) as found:
        lines.news(pool.pk, readers)
    return len(found)


def limit_the_time(pool: Pool) -> None:
    Pool.objects.filter(pk=pool.pk).update(max_session_minutes=60)


@pytest.mark.parametrize("prepare", [lambda pool: None, limit_the_time])
def test_a_change_takes_as_many_queries_for_all_as_for_a_few(
    pool: Pool, line: list[DesktopRequest], prepare: Callable[[Pool], None]
) -> None:
    prepare(pool)
    readers = [reader(wish) for wish in line]
    assert queries(pool, readers) == queries(pool, readers[:3]) <= 12


def test_whoever_has_a_desktop_is_left_alone_while_nothing_of_it_changes(
    pool: Pool, line: list[DesktopRequest]
) -> None:
    holder = reader(line[0])
    assert lines.news(pool.pk, [holder]) == []
    pool.vms.update(halted=True)
    assert lines.news(pool.pk, [holder]) == [(holder, None)]


def ask_for_mail(wish: DesktopRequest) -> None:
    wish.user.email = "agent@example.org"
    wish.user.save()
    mails.ask(request=wish, wanted=True)


def lose_the_permission(wish: DesktopRequest) -> None:
    grants.revoke(role="UserRole", to=wish.user, on=wish.pool)
    DesktopRequest.objects.filter(pk=wish.pk).update(state="ended", end_reason="revoked")


def be_disabled(wish: DesktopRequest) -> None:
    users.change(user=wish.user, changes={"is_active": False}, by=None)


def get_a_new_password(wish: DesktopRequest) -> None:
    users.change(user=wish.user, changes={}, password="another long one", by=None)


def shorten(wish: DesktopRequest) -> None:
    others = DesktopRequest.objects.filter(state="queued").exclude(pk=wish.pk)
    others.update(state="ended", end_reason="cancelled")


@pytest.mark.req("R146")
@pytest.mark.parametrize("change", [ask_for_mail, lose_the_permission, be_disabled, get_a_new_password, shorten])
def test_whoever_must_see_more_than_words_looks_again(
    pool: Pool, line: list[DesktopRequest], change: Callable[[DesktopRequest], None]
) -> None:
    one = reader(line[-1])
    assert lines.news(pool.pk, [one]) == [(one, one.told)]
    change(DesktopRequest.objects.select_related("user", "pool").get(pk=line[-1].pk))
    assert lines.news(pool.pk, [one]) == [(one, None)]


@pytest.mark.req("R146")
def test_a_session_that_ended_unheard_ends_with_the_next_change(line: list[DesktopRequest]) -> None:
    lost = socket(line[-1])

    async def watch() -> Any:
        await opened([lost])
        await sync_to_async(Session.objects.all().delete)()
        await leave(line[1])
        return await lost.next()

    assert async_to_sync(watch)() == NOT_SIGNED_IN


def test_a_page_that_hears_nothing_is_told_that_nothing_changed(
    line: list[DesktopRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "QUIET_SECONDS", 0.2)
    one = socket(line[-1])

    async def watch() -> list[dict[str, Any]]:
        await opened([one])
        found = [await told(one) for _time in range(2)]
        await closed([one])
        return found

    first, second = async_to_sync(watch)()
    assert first == second and first["words"]["place"] == str(LENGTH)


def test_nothing_is_left_of_those_who_came_and_went(line: list[DesktopRequest]) -> None:
    """Some say good-bye, some are just gone, and the last one takes the audience along."""

    sockets = [socket(wish) for wish in line[1:]]

    async def come_and_go() -> tuple[int, Audiences, set[Any]]:
        await opened(sockets)
        [one] = audiences().of_pools.values()
        most = len(one.members)
        await closed(sockets[::2])
        for gone in sockets[1::2]:
            gone.talk.stop(exceptions=False)
        await asyncio.sleep(0.1)
        return most, audiences(), {task for task in one.tasks if not task.done()}

    most, left, tasks = async_to_sync(come_and_go)()
    assert most == LENGTH
    assert left.of_pools == {} and not tasks


def test_a_browser_that_takes_nothing_is_dropped_and_holds_up_nobody(
    pool: Pool, line: list[DesktopRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE_SECONDS", 0.3)
    stuck, other = socket(line[-2]), socket(line[-1])

    async def watch() -> str:
        await opened([stuck, other])
        [stalled] = [
            one for one in audiences().of_pools[line[0].pool_id].members if str(line[-2].pk) in str(one.scope)
        ]  # type: ignore[index]

        async def never(*_message: Any) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr(stalled, "base_send", never)
        await leave(line[1])
        place = (await told(other))["words"]["place"]
        await stuck.talk.wait(timeout=5)  # its consumer ends
        await closed([other])
        assert audiences().of_pools == {}
        return str(place)

    assert async_to_sync(watch)() == str(LENGTH - 1)
