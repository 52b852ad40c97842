"""When Redis hangs people are not made to wait for it again and again."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app
from channels.layers import get_channel_layer
from redis.exceptions import ConnectionError as Refused
from redis.exceptions import TimeoutError as Hangs

from broker import jobs, live, patience


class Redis:
    """Lets whoever asks wait in vain for so many seconds, by a clock of its own."""

    seconds = 2.0
    error: Exception = Hangs()

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[str] = []

    def monotonic(self) -> float:
        return self.now

    def ask(self, what: str) -> Any:
        self.asked.append(what)
        self.now += self.seconds
        raise self.error


@pytest.fixture
def redis(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    redis = Redis()

    async def group_send(group: str, message: dict[str, Any]) -> None:
        redis.ask("screens")

    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=redis.monotonic))
    monkeypatch.setattr(patience, "_until", 0.0)
    monkeypatch.setattr(jobs, "_failed_at", None)
    monkeypatch.setattr(jobs.cache, "add", lambda *_, **__: redis.ask("flag"))
    monkeypatch.setattr(jobs.cache, "delete", lambda *_, **__: redis.ask("flag"))
    monkeypatch.setattr(current_app._get_current_object(), "send_task", lambda *_, **__: redis.ask("message"))
    monkeypatch.setattr(get_channel_layer(), "group_send", group_send)
    yield redis


def ask_for_everything() -> None:
    live.line_changed(uuid4())
    jobs.wake_pool(uuid4())
    jobs.later("broker.mail_ready", uuid4())
    jobs.clear_flag("broker.allocate", uuid4())


def test_one_that_hangs_is_waited_for_once_and_asked_again_later(redis: Redis) -> None:
    ask_for_everything()
    assert redis.asked == ["screens"]
    assert jobs.are_delayed()
    redis.now += patience.LEFT_ALONE_SECONDS
    jobs.later("broker.mail_ready", uuid4())
    ask_for_everything()
    assert redis.asked == ["screens", "message"]


def test_one_that_refuses_costs_no_time_and_is_asked_each_time(redis: Redis) -> None:
    redis.seconds, redis.error = 0.0, Refused()
    ask_for_everything()
    assert redis.asked == ["screens", "flag", "message", "flag"]
