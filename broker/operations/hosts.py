"""Add and activate hosts, reserve their memory, and write down what they say."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events, grants, jobs, locks
from broker.drivers import hypervisor
from broker.drivers.hypervisor import (
    Acceleration,
    AccelerationVerdict,
    HostFacts,
    HostUnreachable,
    HostUsage,
    HypervisorError,
    fake_fleet,
)
from broker.errors import Conflict, Invalid
from broker.models import Cluster, Event, Host, StoragePool, VirtualMachine
from broker.operations import edits, intents, storage, turns
from broker.rules import hosts as rules
from broker.rules import pacing
from broker.rules.placement import Candidate
from broker.states import HostStatus, RunMode, StartRunningOn, VmStatus

PROBE_SECONDS = 20
OVERCOMMIT_PERCENT = (1, 1000)


@transaction.atomic
def add(
    *,
    cluster: Cluster,
    name: str,
    uri: str,
    display_address: str,
    by: Any = None,
    **more: Any,
) -> Host:
    """Add a host by its libvirt URI and activate it. `more`: description, comment, acceleration_mode, overcommit."""
    edits.require_name(name, Host.objects.all())
    values = {"uri": uri, "display_address": display_address, **more}
    _require_reachable_way(values, Host.objects.all())
    host = Host.objects.create(cluster=cluster, name=name, **values)
    edits.record("created", host, by=by)
    activate(host=host, by=by)
    host.refresh_from_db()
    return host


def _require_reachable_way(values: dict[str, Any], others: Any) -> None:
    uri_problem = partial(rules.uri_problem, fakes=fake_fleet.allowed())
    checks: dict[str, Callable[[str], str | None]] = {
        "uri": uri_problem,
        "display_address": rules.address_problem,
    }
    found = [(field, text) for field, check in checks.items() if field in values and (text := check(values[field]))]
    percent = values.get("memory_overcommit_percent", 100)
    if not OVERCOMMIT_PERCENT[0] <= percent <= OVERCOMMIT_PERCENT[1]:
        low, high = OVERCOMMIT_PERCENT
        text = _("This must be a whole number from %(low)s to %(high)s.")
        found.append(("memory_overcommit_percent", text % {"low": low, "high": high}))
    if found:
        raise Invalid.fields(found)
    if "uri" in values and others.filter(uri=values["uri"]).exists():
        raise Conflict(_("A host with this URI exists already."), field="uri", code="URI_TAKEN")


@transaction.atomic
def change(*, host: Host, changes: dict[str, Any], expected: dict[str, Any] | None = None, by: Any = None) -> None:
    """Change how a host is called, described and reached; its address only while it runs nothing."""
    host = edits.lock(host)
    others = Host.objects.exclude(pk=host.pk)
    if changes.get("name", host.name) != host.name:
        edits.require_name(changes["name"], others)
    _require_reachable_way({name: value for name, value in changes.items() if getattr(host, name) != value}, others)
    if changes.get("uri", host.uri) != host.uri and VirtualMachine.objects.filter(host=host).exists():
        raise Conflict(_("%(host)s runs VMs. Put it into maintenance first.") % {"host": host}, field="uri")
    changed = edits.apply(host, changes, expected=expected)
    if changed:
        edits.record("changed", host, by=by, fields=", ".join(changed))
    if "memory_overcommit_percent" in changed:
        _wake_cluster(host)


@transaction.atomic
def activate(*, host: Host, by: Any = None) -> None:
    """Let a host run VMs, once a worker has looked at it; or let it stay up instead of going into maintenance."""
    host = edits.lock(host)
    if host.status in (HostStatus.UP, HostStatus.ACTIVATING):
        text = _("%(host)s is up already.") if host.status == HostStatus.UP else _("%(host)s is being activated.")
        raise Conflict(text % {"host": host}, code="WRONG_STATE")
    if host.status == HostStatus.PREPARING:
        host.move(HostStatus.UP, maintenance_asked=False)
        _wake_cluster(host)
        return
    host.move(HostStatus.ACTIVATING, status_reason="", maintenance_asked=False)
    events.record("host.activating", actor=by, host=host)
    jobs.later("broker.activate_host", host.pk)


@transaction.atomic
def maintain(*, host: Host, by: Any) -> None:
    """Take a host out of use: nothing starts there any more, prestarted VMs are ended, desktops in use stay.

    It is in maintenance as soon as nothing runs there.
    """
    host = edits.lock(host)
    if host.status in (HostStatus.MAINTENANCE, HostStatus.PREPARING):
        raise Conflict(_("%(host)s is in maintenance, or on its way there.") % {"host": host}, code="WRONG_STATE")
    if host.status == HostStatus.UP:
        host.move(HostStatus.PREPARING, maintenance_asked=True)
        events.record("host.preparing", actor=by, host=host)
        jobs.later("broker.monitor_host", host.pk)
        return
    if VirtualMachine.objects.filter(host=host).exists():
        text = _("%(host)s does not answer, and VMs are known to run there. It cannot be said that they do not.")
        raise Conflict(text % {"host": host}, code="WRONG_STATE")
    host.move(HostStatus.MAINTENANCE, status_reason="")
    events.record("host.maintenance", actor=by, host=host)


@transaction.atomic
def record_progress_to_maintenance(*, host: Host) -> None:
    """End what runs ahead on a host that is being prepared, and write when nothing runs there any more."""
    host = edits.lock(host)
    if host.status != HostStatus.PREPARING:
        return
    ahead = VirtualMachine.objects.filter(host=host, run_mode=RunMode.STATELESS).unassigned().order_by("pk")
    for vm in ahead.select_for_update(no_key=True, of=("self",)):
        intents.end_for(None, vm, "", at_once=True)
    if not VirtualMachine.objects.filter(host=host).exists():
        host.move(HostStatus.MAINTENANCE, status_reason="", maintenance_asked=False)
        events.record("host.maintenance", host=host)


@transaction.atomic
def remove(*, host: Host, by: Any) -> None:
    """Forget a host in maintenance; Conflict while VMs are there or are to start there."""
    host = edits.lock(host)
    if host.status in (HostStatus.UP, HostStatus.ACTIVATING, HostStatus.PREPARING):
        raise Conflict(_("Put %(host)s into maintenance first.") % {"host": host}, code="WRONG_STATE")
    tied = [*host.vms.order_by("name")[:10], *host.pool_settings.order_by("name")[:10]]
    tied += host.virtualmachine_settings.order_by("name")[:10]
    if tied:
        text = _("%(host)s is still needed by %(names)s.")
        raise Conflict(text % {"host": host, "names": ", ".join(map(str, tied))}, code="IN_USE")
    VirtualMachine.objects.filter(defined_on=host).update(defined_on=None)
    edits.record("removed", host, by=by)
    grants.forget(host)
    host.delete()


def candidates(cluster_id: UUID) -> list[Candidate]:
    """The hosts of a cluster for placement, locked, with what is reserved on each (I7, R033)."""
    rows = locks.hosts(cluster_id)
    reserved = dict(
        VirtualMachine.objects.filter(host__in=rows)
        .order_by()
        .values("host")
        .annotate(total=Sum("memory_mib"))
        .values_list("host", "total")
    )
    return [
        Candidate(
            id=host.pk,
            name=host.name,
            status=host.status,
            status_label=host.get_status_display(),
            usable_mib=host.memory_mib * host.memory_overcommit_percent // 100,
            reserved_mib=reserved.get(host.pk, 0),
        )
        for host in rows
    ]


def room(found: list[Candidate]) -> tuple[list[UUID], int]:
    """The hosts that take anything at all, and the largest gap among them in MiB."""
    up = [one for one in found if one.status == HostStatus.UP]
    return [one.id for one in up], max((one.free_mib for one in up), default=0)


def allowed(vm: VirtualMachine) -> frozenset[UUID] | None:
    """The hosts a VM may start on; null for any of its cluster (R073 to R075)."""
    if vm.start_running_on == StartRunningOn.ANY:
        return None
    return frozenset(host.pk for host in vm.hosts.all())


# -- in a worker -----------------------------------------------------------------------------------


def activate_on_host(*, host: Host) -> None:
    """Connect, make the data center's storage reachable, and find out how guests are accelerated."""
    if not host.cluster.allow_plain_spice and not host.spice_subject:
        text = _(
            "%(cluster)s wants displays encrypted, and this host has no certificate: see `manage.py certificates`."
        )
        record_unusable(host=host, reason=text % {"cluster": host.cluster})
        return
    try:
        driver = hypervisor.connect(host.uri)
        facts = driver.facts()
        pools = storage.make_reachable_on_host(host=host, driver=driver)
        verdict = _acceleration_on_host(host, driver, pools)
    except HostUnreachable as error:
        record_lost(host=host, reason=str(error))
    except HypervisorError as error:
        record_unusable(host=host, reason=str(error))
    else:
        record_up(host=host, facts=facts, verdict=verdict)


def _acceleration_on_host(host: Host, driver: hypervisor.Hypervisor, pools: list[StoragePool]) -> AccelerationVerdict:
    if host.acceleration_mode != Host.AccelerationMode.AUTOMATIC:
        return AccelerationVerdict(Acceleration(host.acceleration_mode), _("Chosen by an administrator."))
    image = Path(settings.PROBE_IMAGE) if settings.PROBE_IMAGE else None
    return driver.probe_acceleration(image, pools[0].name if pools else "", PROBE_SECONDS)


# -- what was seen ---------------------------------------------------------------------------------


@transaction.atomic
def record_up(*, host: Host, facts: HostFacts, verdict: AccelerationVerdict) -> None:
    """The host answered and may run VMs."""
    host.move(
        HostStatus.UP,
        status_reason="",
        memory_mib=facts.memory_mib,
        cpu_threads=facts.cpu_threads,
        pace=pacing.first(facts.cpu_threads),
        cpu_model=facts.cpu_model,
        cpu_sockets=facts.cpu_sockets,
        cpu_cores=facts.cpu_cores,
        numa_nodes=[asdict(node) for node in facts.numa_nodes],
        libvirt_version=facts.libvirt_version,
        qemu_version=facts.qemu_version,
        acceleration=verdict.acceleration,
        acceleration_reason=verdict.reason,
        last_seen_at=timezone.now(),
    )
    events.record("host.up", host=host, reason=verdict.reason)
    _wake_cluster(host)


@transaction.atomic
def record_answering(*, host: Host, at: datetime) -> None:
    """The host answers (again)."""
    Host.objects.filter(pk=host.pk).update(last_seen_at=at)
    if host.status != HostStatus.NON_RESPONSIVE:
        return
    if not host.acceleration:  # it was lost before anybody had looked at it
        activate(host=host)
        return
    # An order to go into maintenance outlives a host that was silent for a while.
    host.move(HostStatus.PREPARING if host.maintenance_asked else HostStatus.UP, status_reason="")
    events.record("host.up", host=host, reason="")
    _wake_cluster(host)


def record_usage(*, host: Host, usage: HostUsage) -> None:
    """How much of its memory and its processors is used, and how much of its work stands still."""
    busy = rules.busy_percent(
        busy_before=host.cpu_busy_ns,
        total_before=host.cpu_total_ns,
        busy=usage.cpu_busy_ns,
        total=usage.cpu_total_ns,
    )
    waiting = rules.busy_percent(
        busy_before=host.cpu_waiting_ns,
        total_before=host.cpu_total_ns,
        busy=usage.cpu_waiting_ns,
        total=usage.cpu_total_ns,
    )
    Host.objects.filter(pk=host.pk).update(
        memory_used_mib=usage.memory_used_mib,
        cpu_busy_percent=busy,
        cpu_busy_ns=usage.cpu_busy_ns,
        cpu_total_ns=usage.cpu_total_ns,
        cpu_waiting_ns=usage.cpu_waiting_ns,
    )
    stalled = pacing.pressure_percent(
        stalled_percent=usage.stalled_percent, waiting_percent=waiting or 0, busy_percent=busy or 0
    )
    turns.record_pressure(host_id=host.pk, pressure_percent=stalled)


@transaction.atomic
def record_lost(*, host: Host, reason: str) -> None:
    """The host does not answer: what it runs is unknown until it does."""
    if host.status == HostStatus.NON_RESPONSIVE:
        return
    host.move(HostStatus.NON_RESPONSIVE, status_reason=reason)
    VirtualMachine.objects.filter(host=host).update(status=VmStatus.UNKNOWN)
    events.record("host.lost", host=host, reason=reason, severity=Event.Severity.ERROR)


@transaction.atomic
def record_unusable(*, host: Host, reason: str) -> None:
    """The host answers but cannot run VMs."""
    host.move(HostStatus.NON_OPERATIONAL, status_reason=reason)
    events.record("host.failed", host=host, reason=reason, severity=Event.Severity.ERROR)


def _wake_cluster(host: Host) -> None:
    for pool_id in host.cluster.pools.values_list("pk", flat=True):
        jobs.wake_pool(pool_id)
    for vm_id in VirtualMachine.objects.filter(cluster=host.cluster).in_motion().values_list("pk", flat=True):
        jobs.wake_vm(vm_id)
    for vm_id in VirtualMachine.objects.filter(host=host).values_list("pk", flat=True):
        jobs.wake_vm(vm_id)
