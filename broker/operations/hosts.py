"""Add and activate hosts, reserve their memory, and write down what they say."""

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events, jobs, locks
from broker.drivers import hypervisor
from broker.drivers.hypervisor import (
    Acceleration,
    AccelerationVerdict,
    HostFacts,
    HostUnreachable,
    HypervisorError,
)
from broker.errors import Conflict
from broker.models import Cluster, Event, Host, StoragePool, StoragePoolOnHost, VirtualMachine
from broker.rules.placement import Candidate
from broker.states import HostStatus, VmStatus

PROBE_SECONDS = 20


@transaction.atomic
def add(*, cluster: Cluster, name: str, uri: str, display_address: str, by: Any = None) -> Host:
    """Add a host and activate it. Adding one that is known by this name updates how it is reached."""
    host, _created = Host.objects.update_or_create(
        name=name, defaults={"cluster": cluster, "uri": uri, "display_address": display_address}
    )
    if host.status not in (HostStatus.ACTIVATING, HostStatus.UP):
        activate(host=host, by=by)
    return host


@transaction.atomic
def activate(*, host: Host, by: Any = None) -> None:
    """Let a host run VMs, once a worker has looked at it."""
    if host.status == HostStatus.UP:
        raise Conflict(_("%(host)s is up already.") % {"host": host}, code="WRONG_STATE")
    host.move(HostStatus.ACTIVATING, status_reason="")
    jobs.later("broker.activate_host", host.pk)


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


# -- in a worker -----------------------------------------------------------------------------------


def activate_on_host(*, host: Host) -> None:
    """Connect, make the data center's storage reachable, and find out how guests are accelerated."""
    try:
        driver = hypervisor.connect(host.uri)
        facts = driver.facts()
        pools = list(StoragePool.objects.filter(data_center=host.cluster.data_center).order_by("pk"))
        for pool in pools:
            capacity = driver.ensure_storage_pool(pool.spec())
            StoragePoolOnHost.objects.update_or_create(
                storage_pool=pool,
                host=host,
                defaults={
                    "active": True,
                    "capacity_bytes": capacity.capacity_bytes,
                    "available_bytes": capacity.available_bytes,
                    "seen_at": timezone.now(),
                },
            )
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
    host.move(HostStatus.UP, status_reason="")
    events.record("host.up", host=host, reason="")
    _wake_cluster(host)


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
