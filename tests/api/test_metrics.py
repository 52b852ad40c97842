"""/metrics tells those who watch how Hotdesk is, and nobody else anything."""

import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError, connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from portal import metrics
from portal.live import Desktop
from tests.world import World

TOKEN = "a token that only Prometheus knows"


def read(**headers: str) -> dict[str, dict[str, float]]:
    """What is told: name → its labels in order → value."""
    answer = Client().get("/metrics", headers=headers)
    assert answer.status_code == 200
    return {
        family.name: {
            ",".join(f"{k}={v}" for k, v in sorted(one.labels.items())): one.value for one in family.samples
        }
        for family in text_string_to_metric_families(answer.content.decode())
    }


@pytest.fixture
def busy(world: World) -> Any:
    pool = world.pool(1, name="helpdesk")
    for name in ("agent-kim", "agent-lee"):
        world.take(world.person(name, pool), pool)
    world.settle()
    return pool


def test_what_the_rows_say_is_told_without_names_of_people(busy: Any) -> None:
    found = read()
    assert found["hotdesk_line_length"] == {"pool=helpdesk": 1}
    assert found["hotdesk_requests"] == {"pool=helpdesk,state=queued": 1, "pool=helpdesk,state=ready": 1}
    assert found["hotdesk_vms"] == {"hold=,pool=helpdesk,status=up": 1}
    assert found["hotdesk_recent_events"]["kind=desktop.ready,outcome=done"] == 1
    assert found["hotdesk_recent_steps"]["step=all"] == 1
    assert found["hotdesk_database_up"] == {"": 1}
    assert "agent-" not in Client().get("/metrics").content.decode()


def test_requests_are_told_by_address_and_not_by_what_they_name(busy: Any) -> None:
    Client().get(f"/desktops/{busy.pk}/")
    Client().get("/nowhere/at/all/")
    body = Client().get("/metrics").content.decode()
    assert 'route="desktops/<uuid:request_id>/"' in body
    assert str(busy.pk) not in body and "nowhere" not in body


def test_without_database_and_redis_that_is_what_is_told(busy: Any, settings: Any) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("the database is away")

    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with connection.execute_wrapper(away):
        found = read()
    assert found["hotdesk_database_up"] == found["hotdesk_redis_up"] == {"": 0}
    assert "hotdesk_line_length" not in found


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.7", {}, 404),
        ("", {}, 404),
        # A proxy on this machine asks for somebody else.
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, 404),
        ("192.0.2.7", {"Authorization": f"Bearer {TOKEN}"}, 200),
        ("192.0.2.7", {"Authorization": "Bearer "}, 404),
        ("192.0.2.7", {"Authorization": "Bearer another"}, 404),
    ],
)
def test_who_may_read(db: None, settings: Any, address: str, headers: dict[str, str], status: int) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert Client(REMOTE_ADDR=address).get("/metrics", headers=headers).status_code == status
    settings.METRICS_TOKEN = ""
    assert Client(REMOTE_ADDR="192.0.2.7").get("/metrics", headers=headers).status_code == 404


def test_open_websockets_are_counted_until_they_are_closed() -> None:
    def count() -> float:
        [family] = metrics.websockets.collect()
        return family.samples[0].value

    async def look() -> float:
        scope = {"type": "websocket", "user": AnonymousUser(), "path": "/", "headers": []}
        socket = ApplicationCommunicator(Desktop.as_asgi(), scope)
        await socket.send_input({"type": "websocket.connect"})
        await socket.receive_output()
        meanwhile = count()
        await socket.send_input({"type": "websocket.disconnect", "code": 1000})
        await socket.wait()
        return meanwhile

    before = count()
    assert (asyncio.run(look()), count()) == (before + 1, before)
