"""One click has one id, from its answer through the line to the start on a host; no secret is with it."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import current_app
from celery.app.task import Context
from django.core.signing import Signer
from django.test import Client

from broker import jobs, orders
from broker.logs import JsonLines, Lines
from broker.models import Event, Pool
from portal.celery import begin_task
from tests.api.conftest import Api, sign_in
from tests.world import World


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged at any level, as programs read it."""
    written: list[dict[str, Any]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(self.format(record)))

    handler, root = Kept(), logging.getLogger()
    handler.setFormatter(JsonLines())
    loggers = [root, *(logging.getLogger(name) for name in ("broker", "portal", "portal.traffic"))]
    before = [one.level for one in loggers]
    root.addHandler(handler)
    for one in loggers:
        one.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


@pytest.fixture
def nobodys_order() -> Iterator[None]:
    """A worker of the test's own process leaves nothing behind."""
    yield
    orders.origin.set(None)


def test_of_people_served_at_once_each_start_has_the_id_of_its_own_click(
    world: World, pool: Pool, lines: list[dict[str, Any]]
) -> None:
    clicks = {}
    for name in ("agent1", "agent2"):
        answer = sign_in(world.person(name, pool)).post(f"/pools/{pool.pk}/take")
        clicks[answer.json()["id"]] = answer.headers["X-Request-ID"]
    world.settle()  # by workers, to whom one wake-up was sent for both
    assert len(set(clicks.values())) == 2
    for wish, click in clicks.items():
        mine = [line["message"] for line in lines if line.get("request_id") == click and line["level"] == "INFO"]
        told = ["asked for a", "/take' 201 in", "was assigned to", "starts on host (run 1)", "is ready for"]
        assert len(mine) == len(told)
        assert all(word in line for word, line in zip(told, mine, strict=True)), mine
        events = Event.objects.filter(request_id=wish).order_by("at")
        assert {str(event.order_id) for event in events} == {click}


@pytest.mark.django_db
def test_an_order_goes_with_the_message_to_a_worker_and_with_those_that_the_worker_sends(
    monkeypatch: pytest.MonkeyPatch, nobodys_order: None
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(current_app._get_current_object(), "send_task", lambda name, **how: sent.append(how))
    order = uuid4()

    class Task:
        request = Context({})

    with orders.following(order):
        jobs.send("broker.allocate", uuid4())
    Task.request = Context(sent[0]["headers"])
    begin_task(task=Task)
    assert orders.reference() == str(order)
    jobs.send("broker.converge", uuid4())
    assert sent[1]["headers"] == sent[0]["headers"]
    Task.request = Context({})  # sent by the beat
    begin_task(task=Task)
    assert orders.reference() == ""


def test_what_is_done_after_commit_is_done_for_whoever_asked() -> None:
    seen = []
    with orders.following(uuid4()):
        wanted = orders.reference()
        act = orders.kept(lambda: seen.append(orders.reference()))
    act()
    with orders.following(uuid4()):
        act()
    assert seen == [wanted, wanted]
    assert orders.reference() == ""


@pytest.mark.parametrize("given", ["0123456789abcdef0123456789abcdef", "not an id\x1b[31m", ""])
def test_only_a_proxy_that_was_announced_names_requests(db: None, settings: Any, given: str) -> None:
    headers = {"X-Request-ID": given, "X-Forwarded-Proto": "https"}
    own = Client().get("/healthz", headers=headers).headers["X-Request-ID"]
    assert str(UUID(own)) == own and UUID(own).hex != given
    settings.BEHIND_TLS = True
    named = Client().get("/healthz", headers=headers).headers["X-Request-ID"]
    assert (UUID(named).hex == given) is (len(given) == 32)
    assert str(UUID(named)) == named


def test_no_secret_is_in_the_log(workers: World, pool: Pool, agent: Api, lines: list[dict[str, Any]]) -> None:
    wish = agent.post(f"/pools/{pool.pk}/take", headers={"Idempotency-Key": "key-of-agent"}).json()
    workers.settle()
    file = agent.post(f"/requests/{wish['id']}/console").content.decode()
    agent.get("/requests?q=what-was-looked-for")
    found = re.search(r"^password=(.+)$", file, re.M)
    assert found is not None and agent.token is not None
    everything = json.dumps(lines)
    assert wish["id"] in everything
    for secret in (found[1], agent.token, Signer().key, "key-of-agent", "what-was-looked-for"):
        assert secret not in everything


def test_a_line_says_what_is_known_and_nothing_else() -> None:
    record = logging.LogRecord("broker.events", logging.INFO, "", 0, "%s is ready.", ("vm1",), None)
    record.vm = "7"
    order = uuid4()
    with orders.following(order):
        line = json.loads(JsonLines().format(record))
        assert Lines("%(name)s: %(message)s").format(record) == f"broker.events: vm1 is ready. [{order}]"
    assert line.pop("time").endswith("+00:00")
    assert line == {
        **{"level": "INFO", "logger": "broker.events", "message": "vm1 is ready."},
        **{"request_id": str(order), "vm": "7"},
    }
