"""Screens are told after a commit, each once, and never of what was rolled back alone."""

from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels.layers import get_channel_layer
from django.db import transaction

from broker import live

ONE, TWO = uuid4(), uuid4()


@pytest.fixture
def told(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    heard: Counter[str] = Counter()

    async def group_send(group: str, message: dict[str, Any]) -> None:
        heard[group] += 1

    monkeypatch.setattr(get_channel_layer(), "group_send", group_send)
    return heard


class Undone(Exception):
    """What makes a part of a transaction roll back."""


def undone(pool_id: UUID) -> None:
    with pytest.raises(Undone), transaction.atomic():
        live.line_changed(pool_id)
        raise Undone


def test_each_screen_is_told_once_for_a_commit(told: Counter[str]) -> None:
    with transaction.atomic():
        for _change in range(3):
            live.line_changed(ONE)
            live.request_changed(TWO)
        assert not told
    assert told == {live.line_group(ONE): 1, live.request_group(TWO): 1}


def test_outside_of_a_transaction_it_is_told_at_once(told: Counter[str]) -> None:
    live.line_changed(ONE)
    live.line_changed(ONE)
    assert told == {live.line_group(ONE): 2}


def test_a_part_that_is_rolled_back_takes_nobody_elses_message_with_it(told: Counter[str]) -> None:
    with transaction.atomic():
        undone(ONE)
        live.line_changed(TWO)
    assert told == {live.line_group(TWO): 1}
    undone(ONE)
    assert told == {live.line_group(TWO): 1}
