"""The websockets behind consoles in the browser: bytes from a page to a display and back, in the event loop alone."""

import asyncio
import logging
import socket
import ssl
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import Error
from redis.exceptions import RedisError

from broker import text_wires
from broker.errors import Conflict, NotFound
from broker.operations import console_doors, console_sessions
from broker.operations.console_doors import Admission
from broker.rules.console_sessions import MOST_FRAME, MOST_SOCKETS
from broker.states import ConsoleKind
from portal import logins, metrics, record, second_factors, tokens
from portal.live import NOT_FOUND, NOT_SIGNED_IN

UNFIT = 4400  # what the page sent can be no part of what it talks
OVER = 4409
TOO_MANY = 4429
NO_DISPLAY = 4502
GONE = 4410  # the display closed it

LOOK_SECONDS = 0.5  # between two looks at whether the sessions are still in force
SEEN_SECONDS = 5.0
CONNECT_SECONDS = 5.0
STALLED_SECONDS = 30.0  # with whoever takes nothing of what is sent
CHUNK = 64 * 1024
SUBPROTOCOL = "binary"
LOST = (OSError, RedisError)

log = logging.getLogger(__name__)


class FarEnd(Protocol):
    """What a socket of a page is joined to."""

    async def open(self) -> None:
        """OSError when there is nobody."""

    async def read(self) -> bytes:
        """The next bytes; none at the end."""

    async def write(self, data: bytes) -> None:
        """Return when there is room for more."""

    async def close(self) -> None:
        """At once, whatever is still on its way."""


class Display:
    """The display of a VM, over TCP; encrypted where its cluster wants that."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.writer: asyncio.StreamWriter

    async def open(self) -> None:
        tls = self.admission.tls
        port, trust = (self.admission.port, None) if tls is None else (tls.port, _trust(tls.ca))
        if port is None:
            raise OSError("the display cannot be opened as its cluster wants")
        self.reader, self.writer = await asyncio.open_connection(self.admission.address, port, limit=CHUNK, ssl=trust)
        if tls is not None:
            shown = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            if not self.admission.is_shown_by(shown):
                await self.close()
                raise OSError("the display shows the certificate of another host")
        _notice_silence(self.writer.get_extra_info("socket"))

    async def read(self) -> bytes:
        return await self.reader.read(CHUNK)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        self.writer.transport.abort()


def _trust(authorities: str) -> ssl.SSLContext:
    """Whoever these authorities signed; whose certificate it is, is looked at afterwards, as viewers do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=authorities)
    return context


def _far_end(admission: Admission) -> FarEnd:
    if admission.kind == ConsoleKind.TEXT:
        return text_wires.AtPage(admission.host_id, admission.session_id)
    return Display(admission)


class Console(AsyncWebsocketConsumer):
    """One socket of a console session, and the connection to the display that belongs to it."""

    channel_layer_alias = None  # nobody tells a socket anything: the sessions are looked at

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.admission: Admission | None = None
        self.far_end: FarEnd | None = None
        self.pump: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None

    async def __call__(self, *arguments: Any) -> None:
        with metrics.websockets.track_inprogress():
            try:
                await super().__call__(*arguments)
            finally:
                await self._forget()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """A frame asks no database: Channels would go to a thread and back for each."""
        if message["type"] == "websocket.receive":
            await self.websocket_receive(message)
        else:
            await super().dispatch(message)

    async def connect(self) -> None:
        await self.accept(SUBPROTOCOL if SUBPROTOCOL in self.scope.get("subprotocols", ()) else None)
        try:
            self.admission = await database_sync_to_async(self._admit)()
        except NotFound:
            refuse = database_sync_to_async(record.refused_socket)
            await refuse(self.scope, who=self.user, status=NOT_FOUND)
            await self.close(NOT_FOUND if self.user is not None else NOT_SIGNED_IN)
            return
        except Conflict:
            await self.close(OVER)
            return
        most = 1 if self.admission.kind == ConsoleKind.TEXT else MOST_SOCKETS
        if not rooms().enter(self.admission.session_id, self, most):
            await self.close(TOO_MANY)
            return
        await self._open(self.admission)

    def _admit(self) -> Admission:
        """In the database; NotFound also for nobody, whose name is not known."""
        token, self.user = logins.bearer(self.scope), self.scope["user"]
        if token is not None:
            # What it may be used for was asked when the console was opened, with this very token.
            row = tokens.find(token)
            self.user = row and row.user
            login = logins.of_token(token)
        else:
            login = logins.of_session(self.scope["session"].session_key)
        if self.user is None or not self.user.is_authenticated:
            self.user = None
            raise NotFound("")
        if second_factors.is_missing(self.user):
            raise NotFound("")
        session_id: UUID = self.scope["url_route"]["kwargs"]["session_id"]
        return console_doors.admit(user=self.user, login=login, session_id=session_id)

    async def _open(self, admission: Admission) -> None:
        far_end = _far_end(admission)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await far_end.open()
        except LOST as error:
            log.warning("the console of VM %s does not answer: %r", admission.vm_id, error)
            await self.close(NO_DISPLAY)
            return
        self.far_end = far_end
        self.pump = asyncio.create_task(self._to_browser(far_end))

    async def _to_browser(self, far_end: FarEnd) -> None:
        """Nothing is read there while the browser does not take what was read."""
        with suppress(*LOST):  # either end is gone, or as good as gone
            while data := await far_end.read():
                async with asyncio.timeout(STALLED_SECONDS):
                    await self.send(bytes_data=data)
        await self.end(GONE)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """The next frame is read only once there is room for this one."""
        if self.far_end is None or self.closing is not None:
            return
        if bytes_data is None or len(bytes_data) > MOST_FRAME:
            await self.end(UNFIT)
            return
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self.far_end.write(bytes_data)
        except LOST:
            await self.end(GONE)

    async def end(self, code: int) -> None:
        """Close both sides; whichever of them is stuck is not waited for."""
        if self.closing is None:
            self.closing = asyncio.create_task(self._close(code))
            if self.far_end is not None:
                await self.far_end.close()

    async def _close(self, code: int) -> None:
        with suppress(OSError, RuntimeError):  # the browser went first
            async with asyncio.timeout(STALLED_SECONDS):
                await self.close(code)

    async def _forget(self) -> None:
        """It is over, in whatever way."""
        if self.admission is not None:
            rooms().leave(self.admission.session_id, self)
        if self.pump is not None:
            self.pump.cancel()
        if self.far_end is not None:
            await self.far_end.close()


def _notice_silence(connection: socket.socket) -> None:
    """A host that vanished without a word is noticed, and what it held is let go."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED_SECONDS * 1000))


class Rooms:
    """The sockets of one event loop, by session.

    One look at the database is for all of them, and no message is needed: whatever ends a session, its sockets are
    closed within a second.
    """

    def __init__(self) -> None:
        self.sockets: dict[UUID, set[Console]] = defaultdict(set)
        self.looking: asyncio.Task[None] | None = None
        # Of their own: what else is asked of the database does not keep a console open.
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="consoles")

    def enter(self, session_id: UUID, console: Console, most: int) -> bool:
        """False where the session, or this process, has too many."""
        room = self.sockets[session_id]
        if len(room) >= most or sum(map(len, self.sockets.values())) >= settings.CONSOLE_SOCKETS:
            return False
        room.add(console)
        if self.looking is None or self.looking.done():
            self.looking = asyncio.create_task(self._look())
        return True

    def leave(self, session_id: UUID, console: Console) -> None:
        """Also for whoever never entered."""
        self.sockets[session_id].discard(console)
        if not self.sockets[session_id]:
            del self.sockets[session_id]

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        seen_at = 0.0
        while self.sockets:
            asked = set(self.sockets)
            seen = clock() - seen_at > SEEN_SECONDS
            seen_at = clock() if seen else seen_at
            keep = database_sync_to_async(console_sessions.keep, thread_sensitive=False, executor=self.thread)
            try:
                over = asked - await keep(asked, seen=seen)
            except Error as error:
                log.warning("nobody knows which consoles are over: %s", error)
                over = set()
            for session_id in over:
                for console in list(self.sockets.get(session_id, ())):
                    await console.end(OVER)
            await asyncio.sleep(LOOK_SECONDS)


_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, Rooms] = WeakKeyDictionary()


def rooms() -> Rooms:
    """Those of the running event loop."""
    return _rooms.setdefault(asyncio.get_running_loop(), Rooms())
