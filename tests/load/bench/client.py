"""A client that costs little, so that what is measured is Hotdesk: HTTP/1.1 over connections that stay open."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reply:
    """An answer, when it was asked for by the wall clock, and the seconds it took."""

    status: int
    body: bytes
    asked_at: float
    seconds: float


@dataclass
class Caller:
    """One person's browser or program: an open connection."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> "Caller":
        self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def ask(self, method: str, path: str) -> Reply:
        """Send a request without a body and read the whole answer."""
        assert self._streams is not None
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Content-Length: 0"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        asked_at, began = time.time(), time.perf_counter()
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        length = next((int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")), None)
        body = await (_chunks(reader) if length is None else reader.readexactly(length))
        return Reply(int(head[0].split()[1]), body, asked_at, time.perf_counter() - began)

    async def close(self) -> None:
        assert self._streams is not None
        self._streams[1].close()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        found += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return found


def spread(ports: Sequence[int]) -> Iterator[int]:
    """The ports by turns."""
    return itertools.cycle(ports)


async def open_all(callers: Sequence[Caller]) -> None:
    """Some at a time, as fast as they are taken."""
    for first in range(0, len(callers), 100):
        await asyncio.gather(*(caller.open() for caller in callers[first : first + 100]))


async def close_all(callers: Sequence[Caller]) -> None:
    await asyncio.gather(*(caller.close() for caller in callers))


async def hammer(
    port_of: Iterator[int], path: str, *, clients: int, seconds: float, headers: dict[str, str]
) -> float:
    """Answers a second when so many clients ask for the same again and again; every one must be 200."""
    callers = [Caller(next(port_of), headers) for _client in range(clients)]
    await open_all(callers)
    ends_at = time.perf_counter() + seconds
    answered = 0

    async def go_on(caller: Caller) -> None:
        nonlocal answered
        while time.perf_counter() < ends_at:
            reply = await caller.ask("GET", path)
            assert reply.status == 200, (reply.status, reply.body[:500])
            answered += 1

    began = time.perf_counter()
    await asyncio.gather(*map(go_on, callers))
    rate = answered / (time.perf_counter() - began)
    await close_all(callers)
    return rate
