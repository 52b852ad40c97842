"""Consoles in browsers: how long a byte takes through a web process and back, and what each stream costs it."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from broker.lab.supervisor import read_processes
from tests.load.bench import client, rows
from tests.load.bench.results import Measured, median, percentile
from tests.load.bench.sizes import Size
from tests.load.production import Production

EVERY_S = 0.02  # what somebody who moves the mouse makes of it
PAYLOAD = bytes(1024)
PATIENCE_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


def measure(place: Production, size: Size) -> Iterator[Measured]:
    """Each stream says something fifty times a second and waits for its echo, from what stands in for a display."""
    seconds, bare, used = asyncio.run(_measure(place, size))
    what = f"{size.consoles} console streams at {1 / EVERY_S:.0f} KiB/s, {len(place.ports)} web processes"
    yield Measured(
        f"{what}: there and back",
        **{name: 1000 * value for name, value in median(seconds).items()},
        unit="ms",
        floor=1000 * median(bare)["value"],
        floor_is="ms without Hotdesk",
        note=f"p99 {1000 * percentile(seconds, 0.99):.1f} ms",
    )
    yield Measured(f"{what}: processor time of the web", 1000 * used / size.consoles, unit="ms a second and stream")


async def _measure(place: Production, size: Size) -> tuple[list[float], list[float], float]:
    """Seconds of each echo through the web and directly, and the processor seconds a second of all web processes."""
    async with _display() as port:
        bare = await _direct(port, size)
        sessions = await asyncio.to_thread(_sessions, place, size.consoles, port)
        ports = client.spread(place.ports)
        sockets = [await _open(next(ports), *session) for session in sessions]
        before, began = _processor_seconds(place), time.perf_counter()
        found = await asyncio.gather(*(_talk(socket.send, socket.recv, size.seconds) for socket in sockets))
        used = (_processor_seconds(place) - before) / (time.perf_counter() - began)
        await asyncio.gather(*(socket.close() for socket in sockets))
    return [one for some in found for one in some], bare, used


@asynccontextmanager
async def _display() -> Any:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At the end those who still listen are cancelled, which is no fault to tell of.
        with closing(writer), suppress(asyncio.CancelledError):
            while data := await reader.read(65536):
                writer.write(data)

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def _direct(port: int, size: Size) -> list[float]:
    """As many streams, to the display itself."""

    async def one() -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def send(data: bytes) -> None:
            writer.write(data)

        with closing(writer):
            return await _talk(send, lambda: reader.readexactly(len(PAYLOAD)), size.seconds)

    found = await asyncio.gather(*(one() for _number in range(size.consoles)))
    return [one for some in found for one in some]


async def _talk(send: Any, receive: Any, seconds: float) -> list[float]:
    found, until = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        await send(PAYLOAD)
        heard = 0
        while heard < len(PAYLOAD):
            heard += len(await receive())
        found.append(time.perf_counter() - began)
        await asyncio.sleep(max(EVERY_S - found[-1], 0))
    return found


def _sessions(place: Production, count: int, port: int) -> list[tuple[Any, str]]:
    """Sessions, each of another VM and person, and the tokens that open them."""
    from django.db import connections
    from django.utils import timezone

    from broker.models import ConsoleSession, VirtualMachine
    from broker.states import ConsoleKind
    from portal import logins

    pool = rows.Estate(place.fleet).running_pool(count)
    VirtualMachine.objects.filter(pool=pool).update(display_port=port)
    # They look without having taken: who may not is ended by the workers' next look.
    people = rows.people(count, pool=pool, role="VmPoolAdmin")
    tokens = rows.tokens(people)
    made = ConsoleSession.objects.bulk_create(
        ConsoleSession(
            user=person,
            login=logins.of_token(token),
            vm=vm,
            run_number=vm.run_number,
            kind=ConsoleKind.GRAPHICAL,
            expires_at=timezone.now() + timedelta(hours=1),
        )
        for person, token, vm in zip(people, tokens, VirtualMachine.objects.filter(pool=pool), strict=True)
    )
    connections.close_all()
    return [(session.pk, token) for session, token in zip(made, tokens, strict=True)]


async def _open(port: int, session_id: Any, token: str) -> ClientConnection:
    host = f"127.0.0.1:{port}"
    return await connect(
        f"ws://{host}/ws/console/{session_id}/",
        origin=f"http://{host}",  # type: ignore[arg-type]
        additional_headers={"Authorization": f"Bearer {token}"},
        subprotocols=["binary"],  # type: ignore[list-item]
        open_timeout=PATIENCE_S,
        ping_interval=None,
        compression=None,
    )


def _processor_seconds(place: Production) -> float:
    """What the web processes have used so far."""
    pids = [record.pid for name, record in read_processes(place.folder).items() if name.startswith("web")]
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS
