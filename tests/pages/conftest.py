"""Look at pages as a person does, without a browser. The world of these tests is rolled back, not emptied."""

import re
from html import unescape
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from tests.api.conftest import uncommitted_world
from tests.world import World


class Reader:
    """Somebody at a browser without scripts."""

    def __init__(self, person: Any = None) -> None:
        self.person = person
        self.client = Client()
        if person is not None:
            self.client.force_login(person)

    def get(self, path: str, **query: Any) -> HttpResponse:
        return self.client.get(path, query)

    def post(self, path: str, values: dict[str, Any] | None = None, *, part: bool = False) -> HttpResponse:
        """`part` asks as the page's script does."""
        return self.client.post(path, values or {}, headers={"X-Part": "1"} if part else {})

    def fill(self, path: str, **changed: Any) -> HttpResponse:
        """Open a form, change some of its fields, and send it; null unticks a box."""
        values = fields(self.get(path))
        for name, value in changed.items():
            values.pop(name, None)
            if value is not None:
                values[name] = value
        return self.post(path, values)


def text(answer: HttpResponse) -> str:
    """What can be read, without marks and superfluous spaces."""
    return _words(answer.content.decode())


def _words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def rows(answer: HttpResponse) -> list[str]:
    """The names in the list, in order."""
    found = re.findall(r'<th scope="row"><a id="row-[^"]+"[^>]*>(.*?)</a>', answer.content.decode(), re.S)
    return [_words(one) for one in found]


def error_of(answer: HttpResponse, field: str) -> str:
    """The refusal that is shown at a field; blank for none."""
    match = re.search(rf'id="id_{field}_error">(.*?)</div>', answer.content.decode(), re.S)
    return _words(match[1]) if match else ""


def fields(answer: HttpResponse) -> dict[str, Any]:
    """What a browser would send if the form were submitted as it is."""
    return {**_hidden(answer), **_filled(answer.context["form"])}


def _hidden(answer: HttpResponse) -> dict[str, Any]:
    body = answer.content.decode()
    found = re.findall(r'<input type="hidden" name="(snapshot|back)" value="([^"]*)"', body)
    return {name: unescape(value) for name, value in found}


def _filled(form: Any) -> dict[str, Any]:
    values = {}
    for bound in form:
        value = bound.value()
        if bound.field.disabled or not form.met(bound.name) or value is None or value is False or value in ("", []):
            continue
        values[bound.name] = "on" if value is True else value
    return values


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    return uncommitted_world(monkeypatch)


@pytest.fixture
def admin(world: World) -> Reader:
    """SuperUser of the whole system, by role and not by Django's flag."""
    return Reader(world.superuser())
