"""Tell browsers, after commit, that something they look at has changed. They then ask for the state itself."""

import logging
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


def line_changed(pool_id: UUID) -> None:
    """Places in the line of a pool may have changed."""
    _after_commit(line_group(pool_id))


def request_changed(request_id: UUID) -> None:
    """One wish moved on."""
    _after_commit(request_group(request_id))


def person_changed(user_id: UUID) -> None:
    """Somebody may not be signed in any more, or not as before."""
    _after_commit(person_group(user_id))


def line_group(pool_id: UUID | str) -> str:
    return f"line.{pool_id}"


def request_group(request_id: UUID | str) -> str:
    return f"request.{request_id}"


def person_group(user_id: UUID | str) -> str:
    return f"person.{user_id}"


def _after_commit(group: str) -> None:
    transaction.on_commit(lambda: _send(group), robust=True)


def _send(group: str) -> None:
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(group, {"type": "changed"})
    except (RedisError, OSError) as error:
        # Pages that hear nothing ask again by themselves.
        log.warning("screens will be late: %s", error)
