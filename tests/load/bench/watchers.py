"""Browsers that watch one line: how long until the last of them has seen a change of it."""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.load.bench import client, rows
from tests.load.bench.results import Measured, median
from tests.load.bench.sizes import Size
from tests.load.production import Production

IN_FRONT = 10  # beside those who leave: a line as short as this is drawn, and not told in words
AT_ONCE = 50  # sockets that are opened at the same time
PATIENCE_S = 60.0


def measure(place: Production, size: Size) -> Iterator[Measured]:
    """Somebody in front of them all leaves, again and again."""
    estate = rows.Estate(place.fleet)
    pool = estate.pool()
    people = rows.people(IN_FRONT + size.rounds + size.watchers, pool=pool)
    rows.line_up(pool, people)
    seconds, slowest = asyncio.run(_watch(place, pool, people[-size.watchers :], size.rounds))
    yield Measured(
        f"{size.watchers:,} browsers watch one line, {len(place.ports)} web processes: a change is seen by all",
        **median(seconds),
        unit="s",
        budget=2.0,
        note=f"opened in {slowest:.0f} s",
    )


async def _watch(place: Production, pool: Any, watchers: Sequence[Any], rounds: int) -> tuple[list[float], float]:
    """The seconds of each change, and those until all had opened."""
    began = time.perf_counter()
    tickets = await asyncio.to_thread(_tickets, pool, watchers)
    ports = client.spread(place.ports)
    sockets: list[ClientConnection] = []
    for first in range(0, len(tickets), AT_ONCE):
        some = tickets[first : first + AT_ONCE]
        sockets += await asyncio.gather(*(_open(next(ports), wish, session) for wish, session in some))
    opened = time.perf_counter() - began
    first_place = IN_FRONT + rounds + 1
    seconds = []
    for number in range(1, rounds + 1):
        places = range(first_place - number, first_place - number + len(sockets))
        seen = [asyncio.create_task(_see(one, place)) for one, place in zip(sockets, places, strict=True)]
        began = time.perf_counter()
        await asyncio.to_thread(_let_the_first_leave, pool)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*seen)
        seconds.append(time.perf_counter() - began)
    await asyncio.gather(*(one.close() for one in sockets))
    return seconds, opened


def _tickets(pool: Any, people: Sequence[Any]) -> list[tuple[str, str]]:
    """Wish and session of each, in the order of the line."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.db import connections
    from django.utils import timezone

    wishes = dict(pool.requests.values_list("user", "pk"))
    backend = "django.contrib.auth.backends.ModelBackend"
    opened = []
    for person in people:
        known_as = {SESSION_KEY: str(person.pk), BACKEND_SESSION_KEY: backend}
        content = SessionStore().encode(known_as | {HASH_SESSION_KEY: person.get_session_auth_hash()})
        ends = timezone.now() + timedelta(hours=1)
        opened.append(Session(session_key=secrets.token_hex(16), session_data=content, expire_date=ends))
    Session.objects.bulk_create(opened, batch_size=1000)
    connections.close_all()
    return [(wishes[person.pk], session.session_key) for person, session in zip(people, opened, strict=True)]


async def _open(port: int, wish: str, session: str) -> ClientConnection:
    """As a browser does, with the first panel read."""
    host = f"127.0.0.1:{port}"
    socket = await connect(
        f"ws://{host}/live/desktops/{wish}/",
        origin=f"http://{host}",  # type: ignore[arg-type]
        additional_headers={"Cookie": f"sessionid={session}"},
        open_timeout=PATIENCE_S,
        ping_interval=None,
    )
    assert "html" in json.loads(await socket.recv())
    return socket


async def _see(socket: ClientConnection, place: int) -> None:
    """Read until this is the place that is told."""
    told = None
    while told != str(place):
        told = json.loads(await socket.recv()).get("words", {}).get("place")


def _let_the_first_leave(pool: Any) -> None:
    from django.db import connections

    from broker.operations import desktops

    desktops.give_back(request=pool.requests.filter(state="queued").earliest("ticket"))
    connections.close_all()
