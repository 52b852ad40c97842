"""All who watch one line in one web process: a change of the line is read once for them, not once for each."""

import asyncio
import logging
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import Error

from broker import live
from portal import lines

PAUSE_SECONDS = 0.15  # a burst of changes is one update
# A page that hears nothing for 15 s asks for its panel, which costs far more than to tell it what is so.
QUIET_SECONDS = 10
MOST_AT_ONCE = 1000

log = logging.getLogger(__name__)


class Member(lines.Reader, Protocol):
    """One socket: it is told words, or that it must look itself."""

    def tell(self, words: lines.Words, *, again: bool) -> None: ...

    async def changed(self, message: dict[str, Any]) -> None: ...


class Audience:
    """Those who watch wishes of one pool. It listens while there are any."""

    def __init__(self, pool_id: UUID) -> None:
        self.pool_id = pool_id
        self.members: set[Member] = set()
        self.news = asyncio.Event()

    async def begin(self) -> None:
        """Join the group of the line; RedisError or OSError where that is not possible."""
        self.layer = get_channel_layer()
        self.channel = await self.layer.new_channel()
        await self.layer.group_add(live.line_group(self.pool_id), self.channel)
        self.tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._go_on_telling())]

    async def end(self) -> None:
        """Leave the group."""
        for task in self.tasks:
            task.cancel()
        await self.layer.group_discard(live.line_group(self.pool_id), self.channel)

    async def _listen(self) -> None:
        while True:
            await self.layer.receive(self.channel)
            self.news.set()

    async def _go_on_telling(self) -> None:
        while True:
            again = not await self._is_news()
            self.news.clear()
            members = list(self.members)
            try:
                for first in range(0, len(members), MOST_AT_ONCE):
                    await self._tell(members[first : first + MOST_AT_ONCE], again=again)
            except Error as error:
                # They are told when it is quiet next, or ask by themselves.
                log.warning("screens will be late: %s", error)

    async def _is_news(self) -> bool:
        """Wait until something changed and the burst of it is over, or for as long as pages bear silence."""
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await self.news.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(PAUSE_SECONDS)
        return True

    async def _tell(self, members: list[Member], *, again: bool) -> None:
        for member, words in await database_sync_to_async(lines.news)(self.pool_id, members):
            if words is None:
                await member.changed({})
            else:
                member.tell(words, again=again)


class Audiences:
    """Those of one event loop, by pool: whoever comes first opens one, and whoever leaves last closes it."""

    def __init__(self) -> None:
        self.of_pools: dict[UUID, Audience] = {}
        self.door = asyncio.Lock()

    async def join(self, pool_id: UUID, member: Member) -> None:
        async with self.door:
            audience = self.of_pools.get(pool_id)
            if audience is None:
                audience = Audience(pool_id)
                await audience.begin()
                self.of_pools[pool_id] = audience
            audience.members.add(member)

    async def leave(self, pool_id: UUID, member: Member) -> None:
        """Also for whoever never joined."""
        async with self.door:
            audience = self.of_pools.get(pool_id)
            if audience is None:
                return
            audience.members.discard(member)
            if not audience.members:
                del self.of_pools[pool_id]
                await audience.end()


_audiences: WeakKeyDictionary[asyncio.AbstractEventLoop, Audiences] = WeakKeyDictionary()


def audiences() -> Audiences:
    """Those of the running event loop."""
    return _audiences.setdefault(asyncio.get_running_loop(), Audiences())
