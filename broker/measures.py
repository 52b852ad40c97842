"""How things stand, in numbers, for whoever watches Hotdesk. Each function is a fixed number of queries.

Nothing is counted where work is done: what is told of the recent past is read from rows of the last minutes, so that
every process tells the same, and no restart forgets. Nobody's name is told.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Min
from django.db.models.fields.json import KeyTextTransform
from django.utils import timezone

from broker import leases
from broker.models import DesktopRequest, Event, Host, Job, Lease, Pool, VirtualMachine
from broker.states import HOLDING, JobState, RequestState

RECENT = timedelta(minutes=15)
MOST = 5000  # of the newest desktops that are looked at
QUANTILES = (0.5, 0.9, 0.99)
# What lies between wish and desktop: (step, from, to).
STEPS = (
    ("wait", "requested_at", "assigned_at"),
    ("place", "assigned_at", "placed_at"),
    ("disk", "placed_at", "disk_ready_at"),
    ("start", "disk_ready_at", "started_at"),
    ("boot", "started_at", "ready_at"),
    ("all", "requested_at", "ready_at"),
    ("connect", "ready_at", "connected_at"),
)
MOMENTS = tuple(dict.fromkeys(name for _step, *ends in STEPS for name in ends))

Counts = dict[tuple[str, ...], int]


@dataclass(frozen=True)
class Line:
    """The people who wait for a desktop of a pool now; `oldest_seconds` is the longest wait of them."""

    length: int
    oldest_seconds: float


@dataclass(frozen=True)
class Spread:
    """Durations in seconds, how many of them, and below which of them lie these parts of all."""

    count: int
    quantiles: dict[float, float]


def lines() -> dict[str, Line]:
    """By the name of the pool, empty lines too: two queries."""
    now = timezone.now()
    found = {name: Line(0, 0.0) for name in Pool.objects.order_by("name").values_list("name", flat=True)}
    waiting = DesktopRequest.objects.unserved().order_by().values("pool__name")
    for row in waiting.annotate(length=Count("pk"), oldest=Min("requested_at")):
        found[row["pool__name"] or ""] = Line(row["length"], (now - row["oldest"]).total_seconds())
    return found


def requests() -> Counts:
    """Wishes that have not ended, by pool and state: two queries, each on an index that leaves the history out."""
    wishes = DesktopRequest.objects
    live = (wishes.filter(state=RequestState.QUEUED), wishes.filter(state__in=HOLDING))
    return {of: count for rows in live for of, count in _counted(rows, "pool__name", "state").items()}


def vms() -> Counts:
    """VMs by pool, status and hold; blank for no pool and no hold: one query."""
    return _counted(VirtualMachine.objects.all(), "pool__name", "status", "hold")


def hosts() -> Counts:
    """Hosts by status: one query."""
    return _counted(Host.objects.all(), "status")


def running_jobs() -> int:
    """Long jobs that have not ended: one query."""
    return Job.objects.filter(state=JobState.RUNNING).count()


def vm_leases() -> tuple[int, int]:
    """How many VMs are being worked on, and how many a worker left in the middle: two queries."""
    now = timezone.now()
    return (
        VirtualMachine.objects.filter(lease_until__gt=now).count(),
        VirtualMachine.objects.filter(lease_until__lte=now).count(),
    )


def silent_seconds() -> dict[str, float]:
    """For how long beat and sweep have not been heard of; infinite when they never were: one query."""
    lasts = {"beat": settings.BEAT_LEASE_SECONDS, leases.HEARTBEAT: leases.patience().total_seconds()}
    until = dict(Lease.objects.filter(pk__in=lasts).values_list("pk", "expires_at"))
    return {
        "sweep" if name == leases.HEARTBEAT else name: _since(until.get(name), seconds)
        for name, seconds in lasts.items()
    }


def _since(until: datetime | None, seconds: float) -> float:
    return math.inf if until is None else max(0.0, (timezone.now() - until).total_seconds() + seconds)


# -- the last minutes --------------------------------------------------------------------------------


def recent_steps() -> dict[str, Spread]:
    """How long each step took for desktops that became ready lately: two queries."""
    since = timezone.now() - RECENT
    pools = list(Pool.objects.values_list("pk", flat=True))  # the index on what became ready begins with the pool
    ready = DesktopRequest.objects.filter(pool__in=pools, ready_at__gte=since).order_by("-ready_at", "pk")
    durations: dict[str, list[float]] = defaultdict(list)
    for row in ready.values(*MOMENTS)[:MOST]:
        for step, begin, end in STEPS:
            if row[begin] is not None and row[end] is not None:
                # What was done before somebody asked, for a prestarted desktop, took that person no time.
                begun = max(row[begin], row["requested_at"])
                durations[step].append(max(0.0, (row[end] - begun).total_seconds()))
    return {step: _spread(durations[step]) for step, _begin, _end in STEPS}


def recent_events() -> Counts:
    """What was recorded lately, by kind and outcome: one query."""
    return _counted(Event.objects.filter(at__gte=timezone.now() - RECENT), "kind", "outcome")


def recent_ends() -> Counts:
    """Why desktops were given back or taken back lately: one query."""
    rows = Event.objects.filter(at__gte=timezone.now() - RECENT, kind="desktop.returning")
    return _counted(rows.annotate(why=KeyTextTransform("reason", "facts")), "why")


def _counted(rows: Any, *fields: str) -> Counts:
    counts: Counter[tuple[str, ...]] = Counter()
    for row in rows.order_by().values(*fields).annotate(n=Count("pk")):
        counts[tuple(row[name] or "" for name in fields)] += row["n"]
    return dict(counts)


def _spread(durations: Iterable[float]) -> Spread:
    ordered = sorted(durations)
    return Spread(len(ordered), {part: ordered[math.ceil(part * len(ordered)) - 1] for part in QUANTILES if ordered})
