"""Tell browsers, after commit, that something they look at has changed. They then ask for the state itself."""

import asyncio
import logging
import os
from functools import cache
from threading import Thread
from uuid import UUID

from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

from broker import patience

log = logging.getLogger(__name__)

TELL_SECONDS = 2


def line_changed(pool_id: UUID) -> None:
    """Places in the line of a pool may have changed."""
    _after_commit(line_group(pool_id))


def request_changed(request_id: UUID) -> None:
    """One wish moved on."""
    _after_commit(request_group(request_id))


def person_changed(user_id: UUID) -> None:
    """Somebody may not be signed in any more, or not as before."""
    _after_commit(person_group(user_id))


def shifts_changed(plan_id: UUID) -> None:
    """Something about the shifts of a plan changed."""
    _after_commit(shifts_group(plan_id))


def line_group(pool_id: UUID | str) -> str:
    return f"line.{pool_id}"


def request_group(request_id: UUID | str) -> str:
    return f"request.{request_id}"


def person_group(user_id: UUID | str) -> str:
    return f"person.{user_id}"


def shifts_group(plan_id: UUID | str) -> str:
    return f"shifts.{plan_id}"


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Where all is told from, for as long as the process lives: another loop would need another way to Redis."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="screens", daemon=True).start()
    return loop


os.register_at_fork(after_in_child=_loop.cache_clear)  # threads do not come along


class _Due:
    """Whoever is to be told after one commit: each once, and all over one connection."""

    def __init__(self, group: str) -> None:
        self.groups = {group: None}  # a set that keeps its order

    def __call__(self) -> None:
        try:
            with patience.asking():
                asyncio.run_coroutine_threadsafe(self._tell(), _loop()).result()
        except (RedisError, OSError) as error:
            # Pages that hear nothing ask again by themselves.
            log.warning("screens will be late: %r", error)

    async def _tell(self) -> None:
        layer = get_channel_layer()
        async with asyncio.timeout(TELL_SECONDS):
            for group in self.groups:
                await layer.group_send(group, {"type": "changed"})


def _after_commit(group: str) -> None:
    connection = transaction.get_connection()
    around = set(connection.savepoint_ids)
    for savepoints, hook, _robust in connection.run_on_commit:
        # One that a rollback of an inner part would drop must not take this group with it.
        if isinstance(hook, _Due) and savepoints <= around:
            hook.groups[group] = None
            return
    transaction.on_commit(_Due(group), robust=True)
