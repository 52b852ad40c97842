"""The end of a shift on fake hosts: everybody returns, everybody arrives, and all must be clean and warm again."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.load.bench import client, rows
from tests.load.bench.client import Caller
from tests.load.bench.results import Measured
from tests.load.bench.sizes import Size
from tests.load.production import Production

# Guests boot in so many seconds, and disturb each other beyond so many at once; each verb takes a moment.
NATURE = "&boot_seconds=1&boots_at_once=8&slow=0.002"
BUDGET_S = 60.0
PATIENCE_S = 600.0


def measure(place: Production, size: Size) -> Iterator[Measured]:
    """Returns alone, then returns and arrivals at the same time."""
    estate = rows.Estate(place.fleet, hosts=size.storm_hosts, nature=NATURE)
    count = size.storm
    pool = estate.real_pool(count, prestarted_vms=count, max_vms_per_user=1)
    made = _wait(place, "the pool is warm", lambda: _warm(pool) == count)
    day, night = rows.people(count, pool=pool), rows.people(count, pool=pool)
    keys = dict(zip((person.pk for person in [*day, *night]), rows.tokens([*day, *night]), strict=True))

    _post(place, [keys[person.pk] for person in day], [f"/pools/{pool.pk}/take"] * count, accepted=201)
    _wait(place, "everybody has a desktop", lambda: _ready(pool) == count)
    returned = _return_all(place, pool, keys)
    clean = _wait(place, "all are clean and warm again", lambda: _warm(pool) == count, since=returned)
    floor = _floor(count, size.storm_hosts)
    yield Measured(
        f"{count} desktops returned at once: clean and prestarted again",
        value=clean,
        unit="s",
        floor=floor,
        floor_is="s by the hosts' own time",
        budget=BUDGET_S,
        note=f"the pool of {count} was made and warm after {made:.0f} s",
    )

    _post(place, [keys[person.pk] for person in day], [f"/pools/{pool.pk}/take"] * count, accepted=201)
    _wait(place, "everybody has a desktop", lambda: _ready(pool) == count)
    began = time.monotonic()
    leaving = _returns(pool, keys)
    arriving = [(keys[person.pk], f"/pools/{pool.pk}/take") for person in night]
    both = [pair for pairs in zip(leaving, arriving, strict=True) for pair in pairs]
    _post(place, [key for key, _path in both], [path for _key, path in both])
    served = _wait(place, "everybody who arrived has a desktop", lambda: _ready(pool) == count, since=began)
    yield Measured(
        f"{count} leave while {count} arrive: all of these have clean desktops",
        value=served,
        unit="s",
        floor=floor,
        floor_is="s by the hosts' own time",
        budget=BUDGET_S,
    )
    _wait(place, "everybody has left", lambda: _return_all(place, pool, keys) > 0 and _warm(pool) == count)


def _floor(count: int, hosts: int) -> float:
    """One round of boots after the other, as many at once as hosts bear, and the verbs of stop, clean and start."""
    at_once = 8 * hosts
    return -(-count // at_once) * 1.0 + 8 * 0.002 * count / hosts


def _warm(pool: Any) -> int:
    return pool.vms.prestarted().filter(ready_at__isnull=False).count()


def _ready(pool: Any) -> int:
    return pool.requests.filter(state="ready").count()


def _returns(pool: Any, keys: dict[Any, str]) -> list[tuple[str, str]]:
    """Who presses *Return*, and where."""
    wishes = pool.requests.filter(state="ready").values_list("user", "pk")
    return [(keys[user], f"/requests/{wish}/return") for user, wish in wishes]


def _return_all(place: Production, pool: Any, keys: dict[Any, str]) -> float:
    """When it was begun."""
    began = time.monotonic()
    pairs = _returns(pool, keys)
    if pairs:
        _post(place, [key for key, _path in pairs], [path for _key, path in pairs], accepted=202)
    return began


def _post(place: Production, tokens: Sequence[str], paths: Sequence[str], *, accepted: int | None = None) -> None:
    ports = client.spread(place.ports)
    callers = [Caller(next(ports), {"Authorization": f"Bearer {token}"}) for token in tokens]

    async def all_at_once() -> None:
        await client.open_all(callers)
        asked = [caller.ask("POST", f"/api/v1{path}") for caller, path in zip(callers, paths, strict=True)]
        replies = await asyncio.gather(*asked)
        await client.close_all(callers)
        wrong = [reply for reply in replies if reply.status not in ((accepted,) if accepted else (201, 202))]
        assert not wrong, (len(wrong), wrong[0])

    asyncio.run(all_at_once())


def _wait(place: Production, what: str, condition: Callable[[], bool], *, since: float | None = None) -> float:
    """The seconds since then until it was so."""
    began = time.monotonic() if since is None else since
    place.wait_for(condition, f"Not in time: {what}.", PATIENCE_S)
    return time.monotonic() - began
