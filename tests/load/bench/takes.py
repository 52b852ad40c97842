"""People who press *take* at once, as their browsers do: over HTTP, at several web processes."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tests.load.bench import client, rows
from tests.load.bench.client import Caller, Reply
from tests.load.bench.results import Measured, median, percentile
from tests.load.bench.sizes import SMALL, Size
from tests.load.production import Production

CLICKS = (2, 4)
BARE = "a second from a bare ASGI endpoint"
ASSIGNED_WITHIN_S = 120.0


def measure(place: Production, size: Size) -> Iterator[Measured]:
    """The storm, the double clicks, and the way from a click to a connection file."""
    floor = asyncio.run(_bare(place, size))
    estate = rows.Estate(place.fleet, hosts=2)
    list(_storm(place, estate, SMALL, floor))  # every process has done it once
    yield from _storm(place, estate, size, floor)
    yield _clicks(place, estate, size)
    yield _click_to_file(place, estate, size)


async def _bare(place: Production, size: Size) -> float:
    ports = client.spread(place.bare_ports)
    return await client.hammer(ports, "/", clients=size.takers, seconds=size.seconds, headers={})


def _storm(place: Production, estate: rows.Estate, size: Size, floor: float) -> Iterator[Measured]:
    pool = estate.running_pool(2 * size.takers)
    people = rows.people(size.takers, pool=pool)
    callers = _callers(place, rows.tokens(people))
    replies = asyncio.run(_at_once(callers, f"/api/v1/pools/{pool.pk}/take"))
    assigned = _wait_until_assigned(place, pool, size.takers)
    first = min(reply.asked_at for reply in replies)
    key = {json.loads(reply.body)["id"]: reply.asked_at for reply in replies}
    waits = [at - key[wish] for wish, at in assigned.items()]
    yield Measured(
        f"{size.takers} people press take at once: taken and assigned",
        value=size.takers / (max(assigned.values()) - first),
        unit="a second",
        floor=floor,
        floor_is=BARE,
        budget=200,
        more_is_better=True,
    )
    yield Measured(
        "the same: from the click to the assignment, p99",
        **(median(waits) | {"value": percentile(waits, 0.99)}),
        unit="s",
        budget=1.0,
        note=f"median {percentile(waits, 0.5):.2f} s",
    )


def _callers(place: Production, tokens: Sequence[str], clicks: int = 1) -> list[Caller]:
    ports = client.spread(place.ports)
    return [Caller(next(ports), {"Authorization": f"Bearer {token}"}) for token in tokens for _click in range(clicks)]


async def _at_once(callers: Sequence[Caller], path: str) -> list[Reply]:
    await client.open_all(callers)
    replies = await asyncio.gather(*(caller.ask("POST", path) for caller in callers))
    await client.close_all(callers)
    return replies


def _wait_until_assigned(place: Production, pool: Any, count: int) -> dict[str, float]:
    """When each wish was assigned, by the wall clock."""
    from broker.models import DesktopRequest

    wishes = DesktopRequest.objects.filter(pool=pool, assigned_at__isnull=False)
    place.wait_for(lambda: wishes.count() >= count, "Not everybody was served.", ASSIGNED_WITHIN_S)
    return {str(key): at.timestamp() for key, at in wishes.values_list("pk", "assigned_at")}


def _clicks(place: Production, estate: rows.Estate, size: Size) -> Measured:
    """Everybody clicks twice or four times at once; all that must not be is counted."""
    from django.db.models import Count

    from broker.models import DesktopRequest

    pool = estate.running_pool(size.clickers)
    tokens = rows.tokens(rows.people(size.clickers, pool=pool))
    groups = [_callers(place, tokens[number :: len(CLICKS)], clicks) for number, clicks in enumerate(CLICKS)]
    replies = asyncio.run(_at_once([caller for group in groups for caller in group], f"/api/v1/pools/{pool.pk}/take"))
    _wait_until_assigned(place, pool, size.clickers)
    wishes = DesktopRequest.objects.filter(pool=pool).live()
    over = wishes.values("user").annotate(held=Count("pk")).filter(held__gt=1).count()
    shared = wishes.filter(vm__isnull=False).values("vm").annotate(users=Count("pk")).filter(users__gt=1).count()
    statuses = Counter(reply.status for reply in replies)
    errors = len(replies) - statuses[201] - statuses[409]
    return Measured(
        f"double and quadruple clicks of {size.clickers} people: over their limit, VMs with two users, errors",
        value=over + shared + errors,
        unit="of them",
        budget=0,
        note=", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())),
    )


def _click_to_file(place: Production, estate: rows.Estate, size: Size) -> Measured:
    """A prestarted desktop, from the click to a file that opens it; the fake host itself takes no time."""
    pool = estate.real_pool(1, prestarted_vms=1)
    [person] = rows.people(1, pool=pool)
    [caller] = _callers(place, rows.tokens([person]))
    seconds = asyncio.run(_take_connect_return(place, caller, pool, size.rounds))
    return Measured(
        "take a prestarted desktop: from the click to a usable connection file",
        **median(seconds),
        unit="s",
        budget=0.1,
        note="on a host that takes no time of its own",
    )


async def _take_connect_return(place: Production, caller: Caller, pool: Any, rounds: int) -> list[float]:
    await caller.open()
    seconds = []
    for _round in range(rounds):
        await _until(caller, "/api/v1/pools", lambda found: found["items"][0]["ready"] == 1)
        began = time.perf_counter()
        wish = json.loads((await caller.ask("POST", f"/api/v1/pools/{pool.pk}/take")).body)["id"]
        path = f"/api/v1/requests/{wish}"
        while (reply := await caller.ask("POST", f"{path}/console")).status == 409:
            await asyncio.sleep(0.002)
        seconds.append(time.perf_counter() - began)
        assert reply.status == 200, reply.body
        await caller.ask("POST", f"{path}/return")
        await _until(caller, path, lambda found: found["state"] == "ended")
    await caller.close()
    return seconds


async def _until(caller: Caller, path: str, condition: Any) -> None:
    ends_at = time.monotonic() + ASSIGNED_WITHIN_S
    while time.monotonic() < ends_at:
        reply = await caller.ask("GET", path)
        if reply.status == 200 and condition(json.loads(reply.body)):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{path} did not become what was waited for: {reply.body[:500]!r}")
