"""A web process answers a few requests at once, first come first served; the others only wait."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.http import HttpRequest, HttpResponse

from portal.threads import Threads

AT_ONCE = 2


class Views:
    """What stands in for the site: each request is held until the test lets it go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.threads: set[int] = set()
        self.let_go = threading.Semaphore(0)

    def answer(self, request: HttpRequest) -> HttpResponse:
        self.begun.append(request.path)
        self.threads.add(threading.get_ident())
        assert self.let_go.acquire(timeout=20)
        return HttpResponse(request.path)


@pytest.fixture
def views() -> Views:
    return Views()


@pytest.fixture
def site(settings: Any, views: Views) -> Threads:
    settings.WEB_THREADS = AT_ONCE
    threads = Threads()
    threads.get_response = views.answer  # type: ignore[method-assign]
    return threads


def scope(path: str) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_few_are_answered_at_once_and_the_others_in_the_order_in_which_they_came(site: Threads, views: Views) -> None:
    paths = [f"/{number}/" for number in range(6)]

    async def storm() -> list[str]:
        transport = httpx.ASGITransport(app=site)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            coming = []
            for path in paths:
                coming.append(asyncio.create_task(client.get(path)))
                await asyncio.sleep(0.05)
            await until(lambda: len(views.begun) == AT_ONCE)
            await asyncio.sleep(0.1)
            assert views.begun == paths[:AT_ONCE], "nobody else is begun with"
            for _path in paths:
                views.let_go.release()
            return [answer.text for answer in await asyncio.gather(*coming)]

    assert asyncio.run(storm()) == paths
    assert views.begun == paths
    assert len(views.threads) == AT_ONCE, "threads stay, and with them their connections"


def test_whoever_hangs_up_while_waiting_is_not_answered(site: Threads, views: Views) -> None:
    async def storm() -> None:
        callers = {
            path: ApplicationCommunicator(site, scope(path)) for path in ("/1/", "/2/", "/impatient/", "/last/")
        }
        for number, caller in enumerate(callers.values(), start=1):
            await caller.send_input({"type": "http.request"})
            await until(lambda number=number: len(views.begun) == min(number, AT_ONCE))
        await callers["/impatient/"].send_input({"type": "http.disconnect"})
        await callers["/impatient/"].wait(timeout=20)
        served = [path for path in callers if path != "/impatient/"]
        for _path in served:
            views.let_go.release()
        for path in served:
            assert (await callers[path].receive_output(timeout=20))["status"] == 200

    asyncio.run(storm())
    assert views.begun == ["/1/", "/2/", "/last/"]


@pytest.mark.django_db(transaction=True)
def test_a_thread_keeps_its_connection_until_that_is_broken(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django would look after it in another thread, where this one's connection is not known."""
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    settings.WEB_THREADS = 1
    site = Threads()
    seen: list[Any] = []

    def answer(request: HttpRequest) -> HttpResponse:
        connection.ensure_connection()
        seen.append(connection.connection)
        if request.path == "/breaks/":
            connection.errors_occurred = True
            monkeypatch.setattr(connections[DEFAULT_DB_ALIAS], "is_usable", lambda: False)
        if request.path == "/last/":
            connection.close()
        return HttpResponse()

    site.get_response = answer  # type: ignore[method-assign]

    async def one_by_one() -> None:
        transport = httpx.ASGITransport(app=site)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in ("/first/", "/breaks/", "/last/"):
                await client.get(path)

    asyncio.run(one_by_one())
    first, second, third = seen
    assert first is second
    assert second is not third
