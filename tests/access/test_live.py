"""The websockets: of a desktop its owner's alone, of a board whoever sees it, while they are signed in (I6)."""

from collections.abc import Callable
from datetime import time
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.test import Client

from broker import grants, live
from broker.models import DesktopRequest, Event, ShiftPlan
from broker.operations import shift_plans, shifts, users
from broker.roles import ROLES
from broker.rules.shifts import DAYS, Pattern, ShiftSpec
from portal.asgi import application
from tests.world import World

NOT_SIGNED_IN, NOT_FOUND = 4401, 4404


class Socket:
    """A page's websocket, as a browser opens it."""

    def __init__(self, watched: Any, client: Client, origin: str = "http://localhost", query: bytes = b"") -> None:
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        headers = [(b"origin", origin.encode()), (b"host", b"localhost"), (b"cookie", cookies.encode())]
        path = f"/live/{'shifts' if isinstance(watched, ShiftPlan) else 'desktops'}/{watched.pk}/"
        scope = {"type": "websocket", "path": path, "headers": headers, "query_string": query, "client": ("::1", 1)}
        self.talk = ApplicationCommunicator(application, scope)

    async def open(self) -> Any:
        """The first panel; the code with which it was closed, or null where it was not even accepted."""
        await self.talk.send_input({"type": "websocket.connect"})
        if (await self.talk.receive_output(timeout=5))["type"] == "websocket.close":
            return None
        return await self.next()

    async def next(self) -> Any:
        message = await self.talk.receive_output(timeout=5)
        return message["code"] if message["type"] == "websocket.close" else message["text"]

    async def close(self) -> None:
        await self.talk.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.talk.wait(timeout=5)


def browser(person: Any = None) -> Client:
    client = Client()
    if person is not None:
        client.force_login(person)
    return client


@pytest.fixture
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """Committed, for websockets have connections of their own."""
    return World(monkeypatch)


@pytest.fixture
def wish(world: World) -> DesktopRequest:
    pool = world.pool(1)
    wish = world.take(world.person("owner", pool), pool)
    world.settle()
    return wish


def knock(watched: Any, person: Any, **more: Any) -> Any:
    socket = Socket(watched, browser(person), **more)

    async def once() -> Any:
        answer = await socket.open()
        if isinstance(answer, str):
            await socket.close()
        return answer

    return async_to_sync(once)()


@pytest.mark.req("R002")
def test_it_opens_for_the_owner_alone(world: World, wish: DesktopRequest) -> None:
    assert "html" in knock(wish, wish.user)
    assert knock(wish, None) == NOT_SIGNED_IN
    caches["limits"].clear()
    for role in ROLES:
        for on in (wish.pool, wish.pool.cluster, None):
            person = world.person(f"{role}-{on}".lower())
            grants.grant(role=role, to=person, on=on)
            assert knock(wish, person) == NOT_FOUND, person
            refusal = Event.objects.get(kind="access.refused", actor=person)
            assert (refusal.request_id, refusal.address, refusal.outcome) == (wish.pk, "::1", "refused")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "https://localhost", "null"])
def test_from_another_origin_it_does_not_open(wish: DesktopRequest, origin: str) -> None:
    caches["limits"].clear()
    assert knock(wish, wish.user, origin=origin) is None
    refusal = Event.objects.get(kind="access.refused_stranger")
    assert (refusal.request_id, refusal.address, refusal.facts["status"]) == (wish.pk, "::1", "403")


def be_disabled(user: Any, client: Client) -> None:
    users.change(user=user, changes={"is_active": False}, by=None)


def get_a_new_password(user: Any, client: Client) -> None:
    users.change(user=user, changes={}, password="another long one", by=None)


def sign_out_elsewhere(user: Any, client: Client) -> None:
    client.post("/sign-out/")
    live.person_changed(user.pk)


@pytest.mark.req("R146")
@pytest.mark.parametrize("lose", [be_disabled, get_a_new_password, sign_out_elsewhere])
def test_it_closes_when_the_session_is_over(
    world: World, wish: DesktopRequest, lose: Callable[[Any, Client], None]
) -> None:
    client, user = browser(wish.user), get_user_model().objects.get(pk=wish.user_id)
    socket = Socket(wish, client)

    async def watch() -> Any:
        assert "html" in await socket.open()
        await sync_to_async(lose)(user, client)
        return await socket.next()

    assert async_to_sync(watch)() == NOT_SIGNED_IN


@pytest.mark.req("R146")
def test_it_tells_why_the_desktop_went(world: World, wish: DesktopRequest) -> None:
    socket = Socket(wish, browser(wish.user))

    def lose() -> None:
        grants.revoke(role="UserRole", to=wish.user, on=wish.pool)
        world.settle()

    async def watch() -> str:
        assert "html" in await socket.open()
        await sync_to_async(lose)()
        shown = str(await socket.next())
        await socket.close()
        return shown

    shown = async_to_sync(watch)()
    assert '"state": "ended"' in shown and "Your permission on the pool was removed." in shown


@pytest.mark.parametrize("frame", ["", "null", "{", "[]", "x" * 4000])
def test_whatever_a_watcher_says_is_not_even_read(wish: DesktopRequest, frame: str) -> None:
    socket = Socket(wish, browser(wish.user))

    async def talk() -> Any:
        await socket.open()
        await socket.talk.send_input({"type": "websocket.receive", "text": frame})
        await socket.talk.send_input({"type": "websocket.receive", "bytes": frame.encode()})
        assert await socket.talk.receive_nothing(timeout=0.1)
        await socket.close()

    async_to_sync(talk)()


@pytest.mark.usefixtures("one_minute")
def test_whoever_knocks_at_many_doors_fills_the_record_no_further(world: World) -> None:
    caches["limits"].clear()
    for number in range(40):
        socket = Socket(DesktopRequest(pk=uuid4()), browser(), origin=f"https://evil{number}.example")
        assert async_to_sync(socket.open)() is None
    assert Event.objects.filter(kind="access.refused_stranger").count() == 30


# -- boards --------------------------------------------------------------------------------------------


@pytest.fixture
def plan(world: World) -> ShiftPlan:
    """One that always runs, with a roster of two."""
    pool = world.pool(1)
    plan = shift_plans.create(pool=pool, name="Front office", time_zone="UTC")
    for name in ("owner", "colleague"):
        world.person(name, pool)
    for name, starts, ends in (("First", time(0), time(12)), ("Second", time(12), time(0))):
        spec = ShiftSpec(name, Pattern(DAYS, starts, ends), ("owner", "colleague"))
        shift_plans.add_shift(plan=plan, spec=spec)
    return plan


@pytest.mark.req("R002")
def test_a_board_opens_for_whoever_sees_the_plan(world: World, plan: ShiftPlan) -> None:
    assert "Front office" in knock(plan, world.person("owner"))
    assert knock(plan, None) == NOT_SIGNED_IN
    caches["limits"].clear()
    for role, sees in (("HelpDeskLead", True), ("ReadOnlyAdmin", True), ("UserRole", False)):
        person = world.person(role.lower(), plan.pool, role)
        answer = knock(plan, person)
        assert ("Front office" in answer) if sees else (answer == NOT_FOUND), role
    assert Event.objects.get(kind="access.refused").actor == world.person("userrole")


def test_a_board_follows_what_others_do(world: World, plan: ShiftPlan) -> None:
    socket, wall = (Socket(plan, browser(world.person("owner")), query=query) for query in (b"", b"wall=1"))
    colleague = world.person("colleague")

    async def watch() -> list[str]:
        for one in (socket, wall):
            assert "In use" not in await one.open()
        await sync_to_async(shifts.check_in)(plan=plan, user=colleague)
        await sync_to_async(world.settle)()
        shown = [str(await one.next()) for one in (socket, wall)]
        for one in (socket, wall):
            await one.close()
        return shown

    board, on_wall = async_to_sync(watch)()
    assert "colleague" in board and "shift-board" not in board
    assert all("In use" in shown and "colleague" in shown for shown in (board, on_wall))
    assert "check-in" in board and "check-in" not in on_wall


def test_a_board_closes_when_one_may_not_see_it_any_more(world: World, plan: ShiftPlan) -> None:
    socket = Socket(plan, browser(world.person("owner")))

    def strike() -> None:
        for shift in plan.shifts.all():
            pattern = Pattern(DAYS, shift.starts, shift.ends)
            shift_plans.change_shift(shift=shift, spec=ShiftSpec(shift.name, pattern, ("colleague",)))

    async def watch() -> Any:
        assert "html" in await socket.open()
        await sync_to_async(strike)()
        return await socket.next()

    assert async_to_sync(watch)() == NOT_FOUND


@pytest.mark.parametrize("lose", [be_disabled, get_a_new_password, sign_out_elsewhere])
def test_a_board_closes_when_the_session_is_over(
    world: World, plan: ShiftPlan, lose: Callable[[Any, Client], None]
) -> None:
    user = world.person("owner")
    client, again = browser(user), get_user_model().objects.get(pk=user.pk)
    socket = Socket(plan, client)

    async def watch() -> Any:
        assert "html" in await socket.open()
        await sync_to_async(lose)(again, client)
        return await socket.next()

    assert async_to_sync(watch)() == NOT_SIGNED_IN
