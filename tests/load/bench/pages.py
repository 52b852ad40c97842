"""Pages with much to show: how long they take, how many queries each needs, and how that grows."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.load.bench import client, rows
from tests.load.bench.results import Measured, exponent, median
from tests.load.bench.sizes import Size
from tests.load.production import Production

SHOWN = 100


def lists(place: Production, size: Size) -> Iterator[Measured]:
    """In this process, without a server: the list of VMs, and the home page as everything grows."""
    from django.test import Client
    from django.urls import reverse

    estate = rows.Estate(place.fleet)
    admin, [person] = _administrator(), rows.people(1)
    browser = Client(headers={"host": "localhost"})
    browser.force_login(admin)
    path = reverse("manage-list", args=["vms"])
    estate.pool(SHOWN)
    few = _look(browser, path, size.rounds)
    estate.pool(size.listed_vms - SHOWN)
    many = _look(browser, path, size.rounds)
    yield Measured(
        f"Administration list of {size.listed_vms:,} VMs, a page of {SHOWN}",
        **median([1000 * value for value in many[0]]),
        unit="ms",
        floor=1000 * _bare_rows(size.rounds),
        floor_is="ms for the bare rows",
        budget=150,
    )
    yield Measured(
        f"the same: queries more than for a list of {SHOWN}",
        value=many[1] - few[1],
        unit="queries",
        budget=0,
        note=f"{many[1]} queries",
    )
    yield _curve("users", size.many, lambda n: rows.people(n), lambda: _home(person, size.rounds))
    yield _curve(
        "pools one may take from",
        [count for count in size.many if count <= 1000],
        lambda n: _offer(estate, person, n),
        lambda: _home(person, size.rounds),
    )


def portal(place: Production, size: Size) -> Iterator[Measured]:
    """Over HTTP: the home page of somebody who may take from so many pools."""
    estate = rows.Estate(place.fleet)
    [person] = rows.people(1)
    _offer(estate, person, size.shown_pools)
    headers = {"Cookie": f"sessionid={_session(person)}"}
    bare = client.hammer(client.spread(place.bare_ports), "/", clients=8, seconds=size.seconds, headers={})
    asked = client.hammer(client.spread(place.ports), "/", clients=8, seconds=size.seconds, headers=headers)
    floor, rate = asyncio.run(_one_after_the_other(bare, asked))
    yield Measured(
        f"portal page with {size.shown_pools} pools, {len(place.ports)} web processes",
        value=rate,
        unit="a second",
        floor=floor,
        floor_is="a second from a bare ASGI endpoint",
        budget=100,
        more_is_better=True,
    )


def queries(place: Production, size: Size) -> Iterator[Measured]:
    """How many each operation needs."""
    from broker.operations import consoles, desktops

    estate = rows.Estate(place.fleet)
    pool = estate.pool(101, warm=True)
    one, *crowd = rows.people(101, pool=pool)
    found: dict[str, int] = {}
    wish: Any = None

    def take() -> None:
        nonlocal wish
        wish = desktops.take(user=one, pool=pool)[0]

    found["take"] = _counted(take)
    found["serve one"] = _counted(lambda: desktops.serve(pool_id=pool.pk))
    rows.line_up(pool, crowd)
    found["serve a hundred"] = _counted(lambda: desktops.serve(pool_id=pool.pk))
    wish.refresh_from_db()
    found["options of the console"] = _counted(lambda: consoles.options_of(user=one, of=pool))
    found["give back"] = _counted(lambda: desktops.give_back(request=wish))
    for name, count in found.items():
        yield Measured(f"queries: {name}", value=count, unit="queries")


async def _one_after_the_other(first: Any, second: Any) -> tuple[float, float]:
    return await first, await second


def _administrator() -> Any:
    from broker import grants

    [admin] = rows.people(1)
    grants.grant(role="SuperUser", to=admin, on=None)
    return admin


def _offer(estate: rows.Estate, person: Any, count: int) -> None:
    """Let somebody take from so many pools."""
    from broker import grants
    from broker.models import Pool

    have = Pool.objects.filter(cluster=estate.cluster).count()
    for _number in range(have, count):
        grants.grant(role="UserRole", to=person, on=estate.pool(1))


def _session(person: Any) -> str:
    from django.test import Client

    browser = Client()
    browser.force_login(person)
    return browser.cookies["sessionid"].value


def _look(browser: Any, path: str, rounds: int) -> tuple[list[float], int]:
    """Seconds of each look, and how many queries one needs; the first warms up."""
    seconds = []
    browser.get(path)
    for _round in range(rounds):
        began = time.perf_counter()
        answer = browser.get(path)
        seconds.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.status_code
    return seconds, _counted(lambda: browser.get(path))


def _home(person: Any, rounds: int) -> float:
    from django.test import Client

    browser = Client(headers={"host": "localhost"})
    browser.force_login(person)
    return statistics.median(_look(browser, "/", rounds)[0])


def _counted(act: Callable[[], Any]) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)


def _bare_rows(rounds: int) -> float:
    """The columns of the list for one page, in one statement."""
    from django.db import connection

    statement = (
        "select v.name, v.status, v.hold, p.name, c.name, h.name, t.number from broker_virtualmachine v"
        " left join broker_pool p on p.id = v.pool_id join broker_cluster c on c.id = v.cluster_id"
        " left join broker_host h on h.id = v.host_id join broker_templateversion t on t.id = v.template_version_id"
        " order by v.name, v.id limit 100"
    )
    seconds = []
    for _round in range(rounds):
        began = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.fetchall()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _curve(what: str, sizes: Sequence[int], grow: Callable[[int], Any], seconds_now: Callable[[], float]) -> Measured:
    seconds = []
    for size in sizes:
        grow(size)
        seconds.append(seconds_now())
    told = ", ".join(f"{size:,}: {1000 * value:.1f} ms" for size, value in zip(sizes, seconds, strict=True))
    return Measured(f"home page by the number of {what}: exponent", exponent(sizes, seconds), "", note=told)
