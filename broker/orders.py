"""Whose order is being carried out. One click, and all that workers do because of it, have one id in log and record.

It travels with the messages to workers; nothing but the log and the record ever depends on it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

HEADER = "hotdesk_order"  # of a message to a worker


@dataclass(frozen=True)
class Origin:
    """Whose request is being served, and where it came from. A worker knows no more of it than its id."""

    address: str | None = None
    actor: Callable[[], Any] = lambda: None  # asked when it is needed: programs sign in on the way
    order_id: UUID = field(default_factory=uuid4)


# What the broker does by itself has none.
origin: ContextVar[Origin | None] = ContextVar("origin", default=None)


def reference() -> str:
    """What leads from an answer to its lines in log and record; blank for what no request asked for."""
    now = origin.get()
    return str(now.order_id) if now else ""


@contextmanager
def following(order_id: UUID | None) -> Iterator[None]:
    """Do something because of this order; null leaves it to be for whatever is being done already."""
    if order_id is None or reference() == str(order_id):
        yield
        return
    with _within(Origin(order_id=order_id)):
        yield


@contextmanager
def by_itself() -> Iterator[None]:
    """Do something because of no order at all."""
    with _within(None):
        yield


def kept(act: Callable[[], None]) -> Callable[[], None]:
    """The same act for later, because of what is being done now."""
    now = origin.get()

    def later() -> None:
        with _within(now):
            act()

    return later


@contextmanager
def _within(whose: Origin | None) -> Iterator[None]:
    token = origin.set(whose)
    try:
        yield
    finally:
        origin.reset(token)
