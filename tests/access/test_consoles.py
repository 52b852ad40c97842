"""The websockets of consoles: whose they are, how many, what passes through them, and that nothing stays behind."""

import asyncio
import gc
import random
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import SOL_TCP, TCP_INFO
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.test import Client
from django.utils import timezone

from broker import grants
from broker.drivers import certificates
from broker.drivers.certificates import KeyPair
from broker.models import Cluster, ConsoleSession, DesktopRequest, Event, Host, VirtualMachine
from broker.operations import console_doors, desktops
from broker.operations.console_doors import Wanted
from broker.rules.console_sessions import MOST_FRAME, MOST_SOCKETS
from broker.states import ConsoleKind
from portal import consoles, logins
from portal.asgi import application
from portal.consoles import GONE, NO_DISPLAY, OVER, TOO_MANY, UNFIT
from tests.access.test_live import NOT_FOUND, NOT_SIGNED_IN, browser
from tests.world import World

WITHIN_SECONDS = 2
ESTABLISHED = 1


@pytest.fixture
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """Committed, for websockets have connections of their own."""
    return World(monkeypatch)


@pytest.fixture
def wish(world: World) -> DesktopRequest:
    pool = world.pool(1)
    wish = world.take(world.person("owner", pool), pool)
    world.settle()
    return DesktopRequest.objects.select_related("user", "pool", "vm").get(pk=wish.pk)


@pytest.fixture
def client(wish: DesktopRequest) -> Client:
    return browser(wish.user)


@pytest.fixture
def session(wish: DesktopRequest, client: Client) -> ConsoleSession:
    login = logins.of_session(client.session.session_key)
    return console_doors.open_own(request=wish, wanted=Wanted(kind=ConsoleKind.GRAPHICAL, login=login))


class Socket:
    """One socket of a console, as a page opens it."""

    def __init__(self, session_id: Any, client: Client, origin: str = "http://localhost") -> None:
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        headers = [(b"origin", origin.encode()), (b"host", b"localhost"), (b"cookie", cookies.encode())]
        scope = {"type": "websocket", "path": f"/ws/console/{session_id}/", "headers": headers, "query_string": b""}
        self.talk = ApplicationCommunicator(application, {**scope, "client": ("::1", 1), "subprotocols": ["binary"]})

    async def open(self) -> "Socket":
        await self.talk.send_input({"type": "websocket.connect"})
        accepted = await self.talk.receive_output(timeout=5)
        assert (accepted["type"], accepted.get("subprotocol")) == ("websocket.accept", "binary")
        return self

    async def send(self, data: bytes) -> None:
        await self.talk.send_input({"type": "websocket.receive", "bytes": data})

    async def next(self, seconds: float = 5) -> Any:
        """Bytes, or the code with which it was closed."""
        message = await self.talk.receive_output(timeout=seconds)
        return message["code"] if message["type"] == "websocket.close" else message["bytes"]

    async def heard(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += await self.next()
        return found

    async def close(self) -> None:
        await self.talk.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.talk.wait(timeout=5)


@asynccontextmanager
async def display(
    answer: Callable[[Any, Any], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """What stands at the other end, in place of the VM's."""

    async def met(reader: Any, writer: Any) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            await answer(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(met, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    ports = {"display_port": None, "display_tls_port": port} if tls else {"display_port": port}
    await sync_to_async(VirtualMachine.objects.update)(**ports)
    async with server:
        yield


async def echo(reader: Any, writer: Any) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def silent(reader: Any, writer: Any) -> None:
    """Accepts, and takes no more than the buffers do: half open."""
    writer.transport.pause_reading()
    while not writer.transport.is_closing():
        await asyncio.sleep(0.05)
        # What is not read hides that the other end has gone.
        if writer.get_extra_info("socket").getsockopt(SOL_TCP, TCP_INFO, 1)[0] != ESTABLISHED:
            return


def run(test: Callable[[], Awaitable[None]]) -> None:
    async_to_sync(test)()


def knock(session_id: Any, client: Client) -> Any:
    async def once() -> Any:
        return await (await Socket(session_id, client).open()).next()

    return async_to_sync(once)()


@pytest.mark.req("R002")
def test_it_opens_for_who_opened_it_alone(world: World, wish: DesktopRequest, session: ConsoleSession) -> None:
    assert knock(session.pk, browser()) == NOT_SIGNED_IN
    assert knock(session.pk, browser(world.superuser())) == NOT_FOUND
    assert knock(session.pk, browser(wish.user)) == NOT_FOUND  # another login
    assert knock(uuid4(), browser(wish.user)) == NOT_FOUND
    refusals = Event.objects.filter(kind="access.refused", actor=wish.user)
    assert session.pk in set(refusals.values_list("subject_id", flat=True))


def test_from_another_origin_it_does_not_open(session: ConsoleSession, client: Client) -> None:
    async def test() -> None:
        socket = Socket(session.pk, client, origin="https://evil.example")
        await socket.talk.send_input({"type": "websocket.connect"})
        assert (await socket.talk.receive_output(timeout=5))["type"] == "websocket.close"

    run(test)


def test_bytes_go_there_and_back_as_they_are(session: ConsoleSession, client: Client) -> None:
    async def test() -> None:
        async with display(echo):
            socket = await Socket(session.pk, client).open()
            said = random.Random(1).randbytes(MOST_FRAME)
            for _ in range(20):
                await socket.send(said)
                assert await socket.heard(len(said)) == said
            await socket.close()

    run(test)


@pytest.mark.req("R146")
@pytest.mark.parametrize("way", ["return", "revoke", "sign out", "take over"])
def test_every_socket_closes_within_two_seconds_of_the_end(
    world: World, wish: DesktopRequest, session: ConsoleSession, client: Client, way: str
) -> None:
    def end() -> None:
        if way == "return":
            desktops.give_back(request=wish)
        elif way == "revoke":
            grants.revoke(role="UserRole", to=wish.user, on=wish.pool)
            world.settle()
        elif way == "sign out":
            client.post("/sign-out/")
        else:
            wanted = Wanted(kind=ConsoleKind.GRAPHICAL, login="other", take_over=True)
            console_doors.open_administered(vm=wish.vm, by=world.superuser(), wanted=wanted)

    async def test() -> None:
        async with display(echo):
            sockets = [await Socket(session.pk, client).open() for _ in range(4)]
            for socket in sockets:
                await socket.send(b"here")
                assert await socket.next() == b"here"
            await sync_to_async(end)()
            for socket in sockets:
                assert await socket.next(WITHIN_SECONDS) == OVER
                await socket.close()
            late = await Socket(session.pk, client).open()
            assert await late.next() in (OVER, NOT_FOUND, NOT_SIGNED_IN)

    run(test)


def test_a_session_has_only_so_many_sockets(session: ConsoleSession, client: Client, settings: Any) -> None:
    async def test() -> None:
        async with display(silent):
            sockets = [await Socket(session.pk, client).open() for _ in range(MOST_SOCKETS)]
            for socket in sockets:
                assert await socket.talk.receive_nothing(timeout=0.05)
            assert await (await Socket(session.pk, client).open()).next() == TOO_MANY
            for socket in sockets:
                await socket.close()
            settings.CONSOLE_SOCKETS = 0
            assert await (await Socket(session.pk, client).open()).next() == TOO_MANY

    run(test)


def test_what_a_page_cannot_say_closes_it(session: ConsoleSession, client: Client) -> None:
    async def test() -> None:
        async with display(echo):
            for message in ({"text": "hello"}, {"bytes": bytes(MOST_FRAME + 1)}):
                socket = await Socket(session.pk, client).open()
                await socket.talk.send_input({"type": "websocket.receive", **message})
                assert await socket.next() == UNFIT
                await socket.close()

    run(test)


def test_a_display_that_closes_or_is_not_there_is_said(session: ConsoleSession, client: Client) -> None:
    async def hangs_up(reader: Any, writer: Any) -> None:
        await reader.read(1)

    async def test() -> None:
        async with display(hangs_up):
            socket = await Socket(session.pk, client).open()
            await socket.send(b"x")
            assert await socket.next() == GONE
            await socket.close()
        assert await (await Socket(session.pk, client).open()).next() == NO_DISPLAY

    run(test)


def test_neither_end_is_read_faster_than_the_other_takes_it(session: ConsoleSession, client: Client) -> None:
    """A display that takes nothing: after the buffers are full no further frame is taken from the browser."""

    async def test() -> None:
        async with display(silent):
            socket = await Socket(session.pk, client).open()
            for _ in range(2000):  # 32 MB
                await socket.send(bytes(MOST_FRAME))
            await asyncio.sleep(0.5)
            assert socket.talk.input_queue.qsize() > 1000
            await sync_to_async(ConsoleSession.objects.all().delete)()
            assert await socket.next(WITHIN_SECONDS) == OVER  # although it is stuck

    run(test)


def host_with(pair: KeyPair, folder: Path) -> ssl.SSLContext:
    """A display that shows this certificate."""
    (folder / "shown.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "shown.pem")
    return context


@pytest.mark.req("R072")
def test_where_displays_must_be_encrypted_the_page_reaches_the_right_host_alone(
    session: ConsoleSession, client: Client, tmp_path: Path
) -> None:
    now = timezone.now()
    ours, theirs = (certificates.make_authority(name, now) for name in ("ours", "theirs"))
    Cluster.objects.update(allow_plain_spice=False, spice_ca=ours.certificate.decode())
    Host.objects.update(spice_subject=certificates.subject_of_host("127.0.0.1"))
    shown = {
        "right": certificates.sign_host(ours, "127.0.0.1", now),
        "another host": certificates.sign_host(ours, "other.example.com", now),
        "another authority": certificates.sign_host(theirs, "127.0.0.1", now),
    }

    async def test() -> None:
        async with display(echo, host_with(shown["right"], tmp_path)):
            socket = await Socket(session.pk, client).open()
            await socket.send(b"by TLS")
            assert await socket.heard(6) == b"by TLS"
            await socket.close()
        for name in ("another host", "another authority"):
            async with display(echo, host_with(shown[name], tmp_path)):
                assert await (await Socket(session.pk, client).open()).next() == NO_DISPLAY, name
        async with display(echo):
            assert await (await Socket(session.pk, client).open()).next() == NO_DISPLAY, "plain"

    run(test)


KEPT_BYTES = 2**19  # of some 4 MiB that are sent


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_fuzzed_frames_and_half_open_sockets_leave_nothing_behind(session: ConsoleSession, client: Client) -> None:
    rng = random.Random(7)

    async def storm(answer: Callable[[Any, Any], Awaitable[None]]) -> None:
        async with display(answer):
            for _ in range(10):
                sockets = [await Socket(session.pk, client).open() for _ in range(8)]
                for socket in sockets:
                    for _ in range(rng.randrange(5)):
                        data = rng.randbytes(rng.randrange(MOST_FRAME + 100))
                        frame = {"text": data.decode("latin-1")} if rng.random() < 0.1 else {"bytes": data}
                        await socket.talk.send_input({"type": "websocket.receive", **frame})
                await asyncio.sleep(0)
                for socket in sockets:
                    await socket.close()

    async def test() -> None:
        await storm(echo)
        gc.collect()
        tracemalloc.start()
        before, tasks = descriptors(), len(asyncio.all_tasks())
        for answer in (echo, silent, echo):
            await storm(answer)
        await asyncio.sleep(2 * consoles.LOOK_SECONDS)
        gc.collect()
        assert descriptors() <= before + 2
        assert len(asyncio.all_tasks()) <= tasks + 2
        assert not consoles.rooms().sockets
        kept, _most = tracemalloc.get_traced_memory()
        assert kept < KEPT_BYTES, f"{kept} bytes of what 240 sockets received are kept"

    try:
        run(test)
    finally:
        tracemalloc.stop()
