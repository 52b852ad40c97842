"""Text consoles on their way through Redis, between the process that holds the line and a page's websocket.

Each way is a stream of a bounded length that is soon forgotten: nothing that is typed or shown is kept.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
import redis.asyncio
from django.conf import settings
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

MOST_CHUNKS = 512
FORGET_SECONDS = 60
LISTEN_MS = 200
ANSWER_MS = 5000
AT_ONCE = 64


def _to_host(host_id: UUID) -> str:
    return f"hotdesk:text:to:{host_id}"


def _to_page(session_id: UUID) -> str:
    return f"hotdesk:text:from:{session_id}"


@dataclass(frozen=True)
class Said:
    """One thing that a page said; the first opens the line, and is null."""

    session_id: UUID
    data: bytes | None


class AtHost:
    """The end at the process that holds the lines of a host. Its calls wait for Redis."""

    def __init__(self, host_id: UUID) -> None:
        self._redis: Any = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5)
        self._key = _to_host(host_id)
        self._at: Any = None

    def listen(self) -> Iterator[Said]:
        """What pages said since the last call, after a short wait for it."""
        if self._at is None:  # what was said before is nobody's any more
            last = self._redis.xrevrange(self._key, count=1)
            self._at = last[0][0] if last else "0-0"
        for _key, entries in self._redis.xread({self._key: self._at}, count=AT_ONCE, block=LISTEN_MS) or ():
            for at, fields in entries:
                self._at = at
                yield Said(UUID(fields[b"session"].decode()), fields.get(b"data"))

    def tell(self, session_id: UUID, data: bytes | None) -> None:
        """What a line wrote; null when it is over. The first is empty: the line is open."""
        fields: dict[str, Any] = {"over": 1} if data is None else {"data": data}
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.xadd(_to_page(session_id), fields, maxlen=MOST_CHUNKS)
                pipe.expire(_to_page(session_id), FORGET_SECONDS)
                pipe.execute()
        except RedisError as error:
            log.warning("what a text console wrote is lost: %s", error)


class AtPage:
    """The end at a page's websocket, in its event loop."""

    def __init__(self, host_id: UUID, session_id: UUID) -> None:
        self._redis: Any = redis.asyncio.Redis.from_url(settings.REDIS_URL)
        self._host, self._session_id = _to_host(host_id), session_id
        self._at: Any = "0"

    async def open(self) -> None:
        """TimeoutError when nobody holds the host's lines, or the line does not answer."""
        try:
            await self._opened()
        except BaseException:
            await self.close()
            raise

    async def _opened(self) -> None:
        await self._say({})
        answer = await self._redis.xread({_to_page(self._session_id): self._at}, count=1, block=ANSWER_MS)
        if not answer or b"over" in answer[0][1][0][1]:
            raise TimeoutError
        self._at = answer[0][1][0][0]

    async def read(self) -> bytes:
        """The next bytes; none when the line is over."""
        while True:
            answer = await self._redis.xread({_to_page(self._session_id): self._at}, count=AT_ONCE, block=ANSWER_MS)
            for _key, entries in answer or ():
                self._at = entries[-1][0]
                found = b"".join(fields.get(b"data", b"") for _at, fields in entries)
                if found or b"over" in entries[-1][1]:
                    return found

    async def write(self, data: bytes) -> None:
        """What was typed."""
        await self._say({"data": data})

    async def _say(self, fields: dict[Any, Any]) -> None:
        await self._redis.xadd(self._host, {"session": str(self._session_id), **fields}, maxlen=MOST_CHUNKS)
        await self._redis.expire(self._host, FORGET_SECONDS)

    async def close(self) -> None:
        await self._redis.aclose()
