"""Ask a worker, after commit, by the name of its task. What is sent is a wake-up; the rows say what to do.

Wake-ups are coalesced with a flag in Redis. The worker clears the flag *before* it looks at the rows, so a change
that comes later sends a new one; the flag expires sooner than the sweep runs, and the sweep ignores flags. So a
lost flag, a lost message or a lost Redis costs at most one sweep.
"""

import logging
import time
from uuid import UUID

from celery import current_app
from django.core.cache import caches
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from broker import orders, patience

log = logging.getLogger(__name__)

FLAG_SECONDS = 3
EVERYBODY = UUID(int=0)  # the key of what is about no row in particular
LOOK_AGAIN_FLAG_SECONDS = 6
DELAYED_SECONDS = 30  # after which a message that was not sent says nothing about the next

# One for the process: each request would have a cache, and so a connection to Redis, of its own.
cache = caches.create_connection("wake-ups")
_failed_at: float | None = None  # by this process's own clock


def wake_pool(pool_id: UUID) -> None:
    """After commit: match the line of this pool with its VMs, and prestart."""
    _after_commit("broker.allocate", pool_id)


def wake_vm(vm_id: UUID) -> None:
    """After commit: take the next step with this VM."""
    _after_commit("broker.converge", vm_id)


def check_access() -> None:
    """After commit: end what somebody has no permission for any more."""
    _after_commit("broker.enforce_access", EVERYBODY)


def _after_commit(name: str, key: UUID) -> None:
    transaction.on_commit(orders.kept(lambda: _send_once(name, key)), robust=True)


def _send_once(name: str, key: UUID, *, countdown: float = 0, flag_seconds: int = FLAG_SECONDS) -> None:
    try:
        with patience.asking():
            is_first = cache.add(_flag(name, key), 1, timeout=flag_seconds)
    except (RedisError, OSError) as error:
        _note(time.monotonic())
        log.warning("%s for %s waits for the sweep: %s", name, key, error)
    else:
        if is_first:
            send(name, key, countdown=countdown)


def look_again(vm_id: UUID, *, seconds: float) -> None:
    """Look at a VM again later. One such wake-up is under way at a time, however often it is asked for."""
    _send_once("broker.look_again", vm_id, countdown=seconds, flag_seconds=LOOK_AGAIN_FLAG_SECONDS)


def look_at_display(vm_id: UUID, *, seconds: float) -> None:
    """See in a moment whether anybody still looks at a desktop."""
    _send_once("broker.look_at_display", vm_id, countdown=seconds, flag_seconds=LOOK_AGAIN_FLAG_SECONDS)


def clear_flag(name: str, key: UUID | str) -> None:
    """The worker's first act, so that whatever changes from now on sends a new wake-up."""
    try:
        with patience.asking():
            cache.delete(_flag(name, key))
    except (RedisError, OSError) as error:
        log.warning("the flag of %s stays until it expires: %s", name, error)


def send(name: str, *keys: UUID | int, countdown: float = 0, expires: float | None = None) -> None:
    """Send now; a message that is still waiting after `expires` seconds is dropped, for it was sent again meanwhile.

    When Redis is away nothing is lost: the sweep finds the row.
    """
    headers = {orders.HEADER: orders.reference()}
    arguments = [str(key) for key in keys]
    try:
        with patience.asking():
            current_app.send_task(name, args=arguments, headers=headers, countdown=countdown or None, expires=expires)
    except (OperationalError, RedisError, OSError) as error:
        _note(time.monotonic())
        log.warning("%s waits for the sweep: %s", name, error)
    else:
        _note(None)


def are_delayed() -> bool:
    """Whether the last message of this process could not be sent a moment ago: starts wait for the sweep then."""
    return _failed_at is not None and time.monotonic() - _failed_at < DELAYED_SECONDS


def _note(failed_at: float | None) -> None:
    global _failed_at
    _failed_at = failed_at


def later(name: str, *keys: UUID | int) -> None:
    """After commit: send, without coalescing."""
    transaction.on_commit(orders.kept(lambda: send(name, *keys)), robust=True)


def _flag(name: str, key: UUID | str) -> str:
    return f"wake:{name}:{key}"
