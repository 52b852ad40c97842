"""The core: match the head of a line with VMs that are up, in one process; and how that grows."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.load.bench import rows
from tests.load.bench.results import Measured, exponent
from tests.load.bench.sizes import Size
from tests.load.production import Production

AT_ONCE = 10  # people served under one lock, where growth is measured


def measure(place: Production, size: Size) -> Iterator[Measured]:
    """The rate, at a short and at the longest line; then the curves."""
    estate = rows.Estate(place.fleet)
    crowd = rows.people(max(size.lines))
    floor = _bare_sql(estate, size)
    for length in (min(size.lines), max(size.lines)):
        served, seconds = _serve(estate, crowd, line=max(length, size.core), warm=size.core)
        yield Measured(
            f"allocation core, one process, {max(length, size.core):,} in line",
            value=served / seconds,
            unit="assignments a second",
            floor=floor,
            floor_is="a second as bare SQL",
            budget=1000,
            more_is_better=True,
        )
    few = AT_ONCE * 3
    yield _curve("length of the line", size.lines, lambda n: _seconds_for_ten(estate, crowd, n, few))
    yield _curve("size of the pool", size.pools, lambda n: _seconds_for_ten(estate, crowd, n, n))
    yield _curve("hosts", size.hosts, lambda n: _with_hosts(place, crowd, n))


def _serve(estate: rows.Estate, crowd: Sequence[Any], *, line: int, warm: int) -> tuple[int, float]:
    """How many were served, in how many seconds."""
    from broker.operations import desktops

    pool = estate.pool(warm, warm=True, max_vms_per_user=line // len(crowd) + 1)
    rows.line_up(pool, [crowd[number % len(crowd)] for number in range(line)])
    began = time.perf_counter()
    while desktops.serve(pool_id=pool.pk):
        pass
    seconds = time.perf_counter() - began
    served = pool.requests.exclude(vm=None).count()
    assert served == min(line, warm), (served, line, warm)
    _forget(pool)
    return served, seconds


def _seconds_for_ten(estate: rows.Estate, crowd: Sequence[Any], line: int, warm: int) -> float:
    """The median time of serving ten at a time, while so many wait and so many VMs are up."""
    from broker.models import DesktopRequest
    from broker.operations import desktops

    pool = estate.pool(warm, warm=True, max_vms_per_user=1)
    rows.line_up(pool, crowd[:line])
    waiting = DesktopRequest.objects.filter(pool=pool).order_by("ticket")
    seconds = []
    for _turn in range(min(3, warm // AT_ONCE, max(1, line // AT_ONCE))):
        free = list(pool.vms.unassigned().values_list("pk", flat=True)[AT_ONCE:])
        pool.vms.filter(pk__in=free).update(hold="administrator")
        began = time.perf_counter()
        desktops.serve(pool_id=pool.pk)
        seconds.append(time.perf_counter() - began)
        pool.vms.filter(pk__in=free).update(hold=None)
    assert waiting.exclude(vm=None).exists()
    _forget(pool)
    return statistics.median(seconds)


def _with_hosts(place: Production, crowd: Sequence[Any], hosts: int) -> float:
    return _seconds_for_ten(rows.Estate(place.fleet, hosts=hosts), crowd, AT_ONCE, AT_ONCE)


def _curve(what: str, sizes: Sequence[int], seconds_at: Callable[[int], float]) -> Measured:
    seconds = [seconds_at(size) for size in sizes]
    told = ", ".join(f"{size:,}: {1000 * value:.1f} ms" for size, value in zip(sizes, seconds, strict=True))
    return Measured(
        f"time of serving {AT_ONCE}, by the {what}: exponent", value=exponent(sizes, seconds), unit="", note=told
    )


def _forget(pool: Any) -> None:
    """So that what is measured next does not lie in a fuller database."""
    from broker.models import Allocation, DesktopRequest, Event, VirtualMachine

    DesktopRequest.objects.filter(pool=pool)._raw_delete("default")
    Event.objects.filter(pool_id=pool.pk)._raw_delete("default")
    Allocation.objects.filter(pool=pool).delete()
    VirtualMachine.objects.filter(pool=pool).delete()


def _bare_sql(estate: rows.Estate, size: Size) -> float:
    """The same rows written with the barest statements: 100 updates and 200 lines of the record in each commit."""
    from django.db import connection, transaction

    from broker.models import DesktopRequest

    pool = estate.pool(size.core, warm=True)
    rows.line_up(pool, rows.people(size.core))
    keys = list(DesktopRequest.objects.filter(pool=pool).values_list("pk", flat=True))
    vms = list(pool.vms.values_list("pk", flat=True))
    update = (
        "update broker_desktoprequest wish set state = 'ready', ready_at = now(), vm_id = pair.vm"
        " from (select unnest(%s) as id, unnest(%s) as vm) pair where wish.id = pair.id"
    )
    insert = (
        "insert into broker_event (id, at, kind, severity, outcome, pool_id, request_id, subject_kind, facts)"
        " select gen_random_uuid(), now(), %s, 'info', 'done', %s, unnest(%s), '', '{}'"
    )
    began = time.perf_counter()
    for first in range(0, len(keys), 100):
        chunk = keys[first : first + 100]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("select 1 from broker_line where pool_id = %s for no key update", [pool.pk])
            cursor.execute(update, [chunk, vms[first : first + 100]])
            for kind in ("desktop.assigned", "desktop.ready"):
                cursor.execute(insert, [kind, pool.pk, chunk])
    seconds = time.perf_counter() - began
    _forget(pool)
    return len(keys) / seconds
