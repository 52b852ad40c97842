"""Screens of one process without Redis, told from any thread, as Redis would tell them."""

import asyncio
from typing import Any

from channels.layers import InMemoryChannelLayer


class OneProcess(InMemoryChannelLayer):
    """Channels' own layer for tests wakes no event loop but the one that sends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.loops: dict[str, asyncio.AbstractEventLoop] = {}

    async def group_add(self, group: str, channel: str) -> None:
        self.loops[channel] = asyncio.get_running_loop()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for channel in list(self.groups.get(group, ())):
            if not self.loops[channel].is_closed():
                asyncio.run_coroutine_threadsafe(self.send(channel, message), self.loops[channel])
