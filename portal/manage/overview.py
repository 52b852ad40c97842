"""The dashboard, and everything as a tree."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from broker import access
from broker.models import Cluster, DataCenter, DesktopRequest, Event, Host, Pool, VirtualMachine, attach_counts
from portal.manage.resource import SEE
from portal.manage.views import page, require_administrator

MOST = 100
MOST_WAITS = 50_000
HOURS = 24
MOST_ROWS = 1000  # of one kind in the tree; beyond that lists are the better way


@never_cache
@login_required
@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """Is there enough, does anybody wait, and does anything fail?"""
    user = request.user
    require_administrator(user)
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    seen = access.visible(user, Pool, SEE)
    pools: list[Any] = list(seen.order_by("name", "pk")[:MOST])
    attach_counts(pools, None)
    waits, by_hour = _waits(seen, today)
    failures = Counter(
        Event.objects.filter(kind="vm.start_failed", at__gte=today, pool_id__in=seen.values("pk"))
        .order_by()
        .values_list("pool_id", flat=True)[:MOST_WAITS]
    )
    for pool in pools:
        pool.other = max(0, pool.size - pool.in_use - pool.free)
        pool.parts = [
            ("used", pool.in_use),
            ("ready", pool.ready),
            ("free", pool.free - pool.ready),
            ("other", pool.other),
        ]
        pool.wait_half, pool.wait_most = _percentiles(waits[pool.pk])
        pool.start_failures = failures[pool.pk]
    hosts: list[Any] = list(access.visible(user, Host, SEE).order_by("name", "pk")[:MOST])
    for host in hosts:
        host.cpu_parts = [("used", host.cpu_busy_percent or 0)]
        host.memory_parts = [("used", host.memory_used_mib)]
    everyone = [wait for of_pool in waits.values() for wait in of_pool]
    half, most = _percentiles(everyone)
    context = {
        "pools": pools,
        "largest": max((pool.size for pool in pools), default=0),
        "hosts": hosts,
        "totals": {
            "free": sum(pool.free for pool in pools),
            "used": sum(pool.in_use for pool in pools),
            "line": sum(pool.queue_length for pool in pools),
            "failures": sum(failures.values()),
            "wait_half": half,
            "wait_most": most,
        },
        "hours": list(enumerate(by_hour)),
        "by_hour": by_hour,
        "busiest": max(by_hour, default=0),
    }
    return page(request, "manage/dashboard.html", None, context)


def _waits(pools: Any, since: datetime) -> tuple[dict[Any, list[timedelta]], list[int]]:
    """How long those who became ready today had waited, by pool, and how many there were in each hour."""
    rows = DesktopRequest.objects.filter(pool__in=pools, ready_at__gte=since).order_by("-ready_at")
    found: dict[Any, list[timedelta]] = defaultdict(list)
    by_hour = [0] * HOURS
    for pool_id, asked, ready in rows.values_list("pool_id", "requested_at", "ready_at")[:MOST_WAITS]:
        found[pool_id].append(ready - asked)
        by_hour[timezone.localtime(ready).hour] += 1
    return found, by_hour


def _percentiles(waits: list[timedelta]) -> tuple[timedelta | None, timedelta | None]:
    """Half of them waited no longer than the first, 95 of 100 no longer than the second."""
    ordered = sorted(waits)
    if not ordered:
        return None, None
    return tuple(  # type: ignore[return-value]
        timedelta(seconds=ceil(ordered[ceil(part * len(ordered)) - 1].total_seconds())) for part in (0.5, 0.95)
    )


# -- the tree ------------------------------------------------------------------------------------------


@dataclass
class Branch:
    """Something, and what is in it."""

    kind: str
    icon: str
    name: str
    url: str
    inside: list["Branch"] = field(default_factory=list)


@never_cache
@login_required
@require_safe
def tree(request: HttpRequest) -> HttpResponse:
    """Data centers, their clusters, and in them hosts and pools with their VMs (R113)."""
    user = request.user
    require_administrator(user)
    seen = access.visible
    branches: dict[Any, Branch] = {}
    roots: list[Branch] = []

    def add(kind: str, icon: str, row: Any, *parents: Any) -> None:
        branch = Branch(kind, icon, row.name, reverse("manage-details", args=(kind, row.pk)))
        branches[row.pk] = branch
        # Whoever sees a pool but not its cluster finds it at the top.
        above = next((branches[parent] for parent in parents if parent in branches), None)
        (above.inside if above else roots).append(branch)

    for row in seen(user, DataCenter, SEE).order_by("name", "pk"):
        add("data-centers", "server", row)
    for row in seen(user, Cluster, SEE).order_by("name", "pk"):
        add("clusters", "boxes", row, row.data_center_id)
    for row in seen(user, Host, SEE).order_by("name", "pk")[:MOST_ROWS]:
        add("hosts", "hard-drive", row, row.cluster_id)
    for row in seen(user, Pool, SEE).order_by("name", "pk")[:MOST_ROWS]:
        add("pools", "layers", row, row.cluster_id)
    vms = seen(user, VirtualMachine, SEE).only("pk", "name", "pool_id", "cluster_id").order_by("name", "pk")
    for row in vms[:MOST_ROWS]:
        add("vms", "monitor", row, row.pool_id, row.cluster_id)
    return page(request, "manage/tree.html", None, {"tree": True, "branches": roots, "cut": vms.count() > MOST_ROWS})
