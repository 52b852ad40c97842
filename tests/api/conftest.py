"""Call the API as a person. The world of these tests is rolled back, not emptied: much quicker than real commits."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from broker import jobs
from broker.models import Pool
from tests.world import World

PASSWORD = "only for tests"
API = "/api/v1"


@dataclass
class Api:
    """The API as one person reaches it; without a token as nobody."""

    token: str | None = None
    client: Client = field(default_factory=Client)

    def call(
        self, method: str, path: str, body: Any = None, *, raw: str | bytes | None = None, **more: Any
    ) -> HttpResponse:
        """`body` is sent as JSON, `raw` as it is; `headers` are added to the token's."""
        headers = {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **more.pop("headers", {})}
        data = raw if raw is not None else json.dumps(body) if body is not None else ""
        content_type = more.pop("content_type", "application/json")
        return self.client.generic(method, API + path, data, content_type, headers=headers, **more)

    def get(self, path: str, **more: Any) -> HttpResponse:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> HttpResponse:
        return self.call("POST", path, body, **more)

    def patch(self, path: str, body: Any = None, **more: Any) -> HttpResponse:
        return self.call("PATCH", path, body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> HttpResponse:
        return self.call("PUT", path, body, **more)


def with_password(person: Any) -> Any:
    person.set_password(PASSWORD)
    person.save(update_fields=["password"])
    return person


def sign_in(person: Any) -> Api:
    """Sign in as a program does: a token for a name and a password."""
    with_password(person)
    answer = Api().post("/tokens", {"username": person.username, "password": PASSWORD})
    assert answer.status_code == 201, answer.content
    return Api(answer.json()["token"])


def is_envelope(answer: HttpResponse) -> bool:
    """Whether a refusal has the documented shape."""
    if not answer.headers["Content-Type"].startswith("application/json"):
        return False
    body = answer.json()
    return (
        set(body) == {"error", "message", "details"}
        and isinstance(body["error"], str)
        and body["error"].isupper()
        and isinstance(body["message"], str)
        and bool(body["message"])
        and all(set(one) == {"field", "message"} for one in body["details"])
    )


def refused(answer: HttpResponse, status: int, code: str | None = None) -> dict[str, Any]:
    """The refusal, which must have this status, this code and the documented shape."""
    assert answer.status_code == status, (answer.status_code, answer.content[:500])
    assert is_envelope(answer), answer.content[:500]
    if code is not None:
        assert answer.json()["error"] == code
    return answer.json()


def fields(refusal: dict[str, Any]) -> set[str | None]:
    return {one["field"] for one in refusal["details"]}


def uncommitted_world(patches: pytest.MonkeyPatch) -> World:
    """What is to happen after commit happens at once, because nothing here is ever committed."""
    patches.setattr(transaction, "on_commit", lambda act, using=None, robust=False: act())
    return World(patches)


def serve_tickets(world: World, patches: pytest.MonkeyPatch) -> None:
    """Tickets are set on the host the moment they are asked for, as by a very quick worker."""
    queued = jobs.send

    def send(name: str, *keys: Any, **more: Any) -> None:
        if name == "broker.set_ticket":
            world.run(name, keys[0])
        else:
            queued(name, *keys, **more)

    patches.setattr(jobs, "send", send)


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    return uncommitted_world(monkeypatch)


@pytest.fixture
def pool(world: World) -> Pool:
    return world.pool(2)


@pytest.fixture
def agent(world: World, pool: Pool) -> Api:
    """May take from the pool."""
    return sign_in(world.person("agent", pool))


@pytest.fixture
def admin(world: World) -> Api:
    """SuperUser of the whole system, by role and not by Django's flag."""
    return sign_in(world.superuser())


@pytest.fixture
def visitor(world: World) -> Api:
    """Has an account and nothing else."""
    return sign_in(world.person("visitor"))


@pytest.fixture
def workers(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    serve_tickets(world, monkeypatch)
    return world
