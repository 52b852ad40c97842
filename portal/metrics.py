"""What Prometheus reads at /metrics: what the rows say, how long the queues are, and what this web process did.

The rows are the same whichever web process is asked; what a process counts itself is its own, so each is asked.
"""

import ipaddress
from collections.abc import Iterator, Mapping

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from broker import measures

Families = Iterator[GaugeMetricFamily]

REDIS_SECONDS = 1
MINUTES = int(measures.RECENT.total_seconds() // 60)
RECENT = f"in the last {MINUTES} minutes"

registry = CollectorRegistry()
ProcessCollector(registry=registry)

# -- of this process -------------------------------------------------------------------------------
websockets = Gauge("hotdesk_websockets", "Open websockets of this web process.", registry=registry)
answers = Counter(
    "hotdesk_http_answers", "Answers of this web process.", ("method", "route", "status"), registry=registry
)
answer_seconds = Histogram(
    "hotdesk_http_answer_seconds",
    "How long this web process took to answer, in seconds.",
    ("route",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=registry,
)


def metrics(request: HttpRequest) -> HttpResponse:
    """For whoever asks from this machine or has the token; for all others there is nothing here."""
    if not _may_read(request):
        raise Http404
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if settings.METRICS_TOKEN and constant_time_compare(token, settings.METRICS_TOKEN):
        return True
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False  # asked through a proxy, which may well run on this machine
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


# -- of all of Hotdesk, read when it is asked for ----------------------------------------------------


class _Rows(Collector):
    def collect(self) -> Families:
        """What the database says; that it does not answer is said too."""
        try:
            found = [*_now(), *_lately()]
        except (DatabaseError, InterfaceError):
            found = []
        yield _one("hotdesk_database_up", "Whether the database answers.", float(bool(found)))
        yield from found


class _Queues(Collector):
    def collect(self) -> Families:
        """What waits in Redis, which is asked once and not for long."""
        names = [queue.name for queue in settings.CELERY_TASK_QUEUES]
        try:
            with Redis.from_url(
                settings.REDIS_URL, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS
            ) as redis:
                pipeline = redis.pipeline(transaction=False)
                for name in names:
                    pipeline.llen(name)
                lengths = dict(zip(names, pipeline.execute(), strict=True))
        except (RedisError, OSError):
            lengths = {}
        yield _one("hotdesk_redis_up", "Whether Redis answers.", float(bool(lengths)))
        by_queue = {(name,): length for name, length in lengths.items()}
        yield _many("hotdesk_queue_length", "Wake-ups that wait for a worker.", ("queue",), by_queue)


def _now() -> Families:
    lines = measures.lines()
    length = {(pool,): line.length for pool, line in lines.items()}
    oldest = {(pool,): line.oldest_seconds for pool, line in lines.items()}
    yield _many("hotdesk_line_length", "People who wait for a desktop.", ("pool",), length)
    yield _many("hotdesk_line_oldest_seconds", "The longest wait of those who wait now.", ("pool",), oldest)
    yield _many("hotdesk_requests", "Wishes that have not ended.", ("pool", "state"), measures.requests())
    yield _many("hotdesk_vms", "Virtual machines.", ("pool", "status", "hold"), measures.vms())
    yield _many("hotdesk_hosts", "Hosts.", ("status",), measures.hosts())
    yield _one("hotdesk_jobs_running", "Long jobs that have not ended.", measures.running_jobs())
    held, lapsed = measures.vm_leases()
    yield _one("hotdesk_vm_leases_held", "VMs that a worker is at work on.", held)
    yield _one("hotdesk_vm_leases_lapsed", "VMs that a worker left in the middle of its work.", lapsed)
    silent = {(name,): seconds for name, seconds in measures.silent_seconds().items()}
    yield _many("hotdesk_silent_seconds", "Since when beat and sweep were not heard of.", ("process",), silent)


def _lately() -> Families:
    steps = measures.recent_steps()
    counts = {(step,): spread.count for step, spread in steps.items()}
    parts = {(step, str(part)): value for step, spread in steps.items() for part, value in spread.quantiles.items()}
    help_text = f"Desktops that became ready {RECENT}, of which the step is known."
    yield _many("hotdesk_recent_steps", help_text, ("step",), counts)
    help_text = f"How long the steps from wish to desktop took for those that became ready {RECENT}, in seconds."
    yield _many("hotdesk_recent_step_seconds", help_text, ("step", "quantile"), parts)
    help_text = f"What was recorded {RECENT}, starts and failures among it."
    yield _many("hotdesk_recent_events", help_text, ("kind", "outcome"), measures.recent_events())
    help_text = f"Why desktops came back {RECENT}."
    yield _many("hotdesk_recent_ends", help_text, ("reason",), measures.recent_ends())


def _one(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)


def _many(
    name: str, help_text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


registry.register(_Rows())
registry.register(_Queues())
