"""Create, change and remove pools, and keep the promised number of VMs running ahead."""

import secrets
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from broker import config, events, jobs, live, locks
from broker.errors import Conflict, Invalid
from broker.models import (
    Cluster,
    Event,
    Job,
    JobItem,
    Line,
    Nic,
    Pool,
    Template,
    TemplateVersion,
    VirtualMachine,
    Volume,
)
from broker.operations import hosts, vms
from broker.rules import placement
from broker.rules import pools as rules
from broker.states import PoolType, RunMode, VmHold

MAC_PREFIX = "52:54:00"


@transaction.atomic
def create(
    *,
    cluster: Cluster,
    template: Template,
    name: str,
    size: int,
    template_version: TemplateVersion | None = None,
    description: str = "",
    comment: str = "",
    operating_system: str = "",
    optimized_for: str = "",
    prestarted_vms: int = 0,
    max_vms_per_user: int = 1,
    delete_protection: bool = False,
    type: str = PoolType.AUTOMATIC,
    by: Any = None,
) -> tuple[Pool, Job]:
    """Make a pool and ask for its VMs; what is not given comes from the template (R039).

    Invalid lists everything that is wrong; Conflict when the name is taken.
    """
    _check(name, type, size, prestarted_vms, max_vms_per_user)
    version = template_version or template.latest()
    if version is None:
        raise Invalid(_("The template has no version yet."), field="template")
    if template.data_center_id != cluster.data_center_id:
        raise Invalid(_("The template belongs to another data center than the cluster."), field="template")
    if version.template_id != template.pk:
        raise Invalid(_("This version belongs to another template."), field="template_version")
    if Pool.objects.filter(cluster__data_center=cluster.data_center_id, name=name).exists():
        raise Conflict(_("A pool named %(name)s exists already in this data center.") % {"name": name}, field="name")
    pool = Pool(
        cluster=cluster,
        template=template,
        template_version=template_version,
        name=name,
        description=description,
        comment=comment,
        type=type,
        operating_system=operating_system or template.operating_system,
        optimized_for=optimized_for or template.optimized_for,
        prestarted_vms=prestarted_vms,
        max_vms_per_user=max_vms_per_user,
        delete_protection=delete_protection,
    )
    try:
        with transaction.atomic():
            pool.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(_("A pool of this name was made this moment."), field="name") from error
    Line.objects.create(pool=pool)
    job = _add_vms(pool, version, size, kind="pool.create", by=by)
    events.record("pool.created", actor=by, pool=pool, size=size)
    return pool, job


@transaction.atomic
def change(*, pool: Pool, changes: dict[str, Any], increase_by: int = 0, by: Any = None) -> Job | None:
    """Change a pool; hardware of new VMs only, prestarting and limits at once (DESIGN 7). A job when it grows."""
    locks.line(pool.pk)
    pool.refresh_from_db()
    size = pool.vms.count() + increase_by
    for field, value in changes.items():
        setattr(pool, field, value)
    _check(pool.name, pool.type, size, pool.prestarted_vms, pool.max_vms_per_user)
    if increase_by < 0:
        raise Invalid(_("The number of VMs can only be increased here."), field="increase_by")
    if changes:
        pool.save(update_fields=list(changes))
    job = None
    if increase_by:
        version = pool.template_version or pool.template.latest()
        assert version is not None
        job = _add_vms(pool, version, increase_by, kind="pool.grow", by=by)
    events.record("pool.changed", actor=by, pool=pool)
    jobs.wake_pool(pool.pk)
    live.line_changed(pool.pk)
    return job


def _check(name: str, type: str, size: int, prestarted_vms: int, max_vms_per_user: int) -> None:
    values = rules.PoolValues(name, type, size, prestarted_vms, max_vms_per_user)
    problems = rules.problems(values, max_vms_in_pool=config.get("MaxVmsInPool"))
    if problems:
        raise Invalid.fields(problems)


def _add_vms(pool: Pool, version: TemplateVersion, count: int, *, kind: str, by: Any) -> Job:
    """Rows for the new VMs, on hold until a worker has made each of them."""
    storage_pool = version.volume.storage_pool
    taken = set(VirtualMachine.objects.values_list("name", flat=True))
    names = rules.vm_names(pool.name, count, taken=taken)
    if any(len(name) > rules.MAX_VM_NAME for _number, name in names):
        most = {"most": rules.MAX_VM_NAME}
        raise Invalid(_("The names of its VMs would exceed %(most)s characters.") % most, field="name")
    made = []
    for number, name in names:
        key = uuid4()
        disk = Volume(
            storage_pool=storage_pool,
            name=f"{name}-{key.hex[:8]}.qcow2",
            purpose=Volume.Purpose.DISK,
            backing=version.volume,
        )
        made.append(
            VirtualMachine(
                pk=key,
                pool=pool,
                cluster=pool.cluster,
                number=number,
                name=name,
                template_version=version,
                operating_system=pool.operating_system,
                optimized_for=pool.optimized_for,
                memory_mib=version.memory_mib,
                vcpus=version.vcpus,
                volume=disk,
                hold=VmHold.CREATING,
            )
        )
    try:
        with transaction.atomic():
            Volume.objects.bulk_create([vm.volume for vm in made])
            VirtualMachine.objects.bulk_create(made)
    except IntegrityError as error:
        raise Conflict(_("Somebody else made VMs of these names this moment. Please try again.")) from error
    addresses = _draw_macs(len(made))
    Nic.objects.bulk_create([Nic(vm=vm, mac=mac) for vm, mac in zip(made, addresses, strict=True)])
    job = Job.objects.create(kind=kind, pool=pool, started_by=by)
    JobItem.objects.bulk_create([JobItem(job=job, object_id=vm.pk, name=vm.name) for vm in made])
    for vm in made:
        jobs.wake_vm(vm.pk)
    return job


def _draw_macs(count: int) -> list[str]:
    """Addresses that no card has; the unique constraint has the last word (I8)."""
    drawn: set[str] = set()
    while len(drawn) < count:
        fresh = {
            f"{MAC_PREFIX}:{a:02x}:{b:02x}:{c:02x}"
            for a, b, c in (secrets.token_bytes(3) for _draw in range(count - len(drawn)))
        }
        drawn |= fresh - set(Nic.objects.filter(mac__in=fresh).values_list("mac", flat=True))
    return sorted(drawn)


@transaction.atomic
def prestart(*, pool_id: UUID) -> None:
    """Start as many VMs ahead as the pool promises and its line leaves over (R031)."""
    locks.line(pool_id)
    pool = Pool.objects.select_related("cluster").get(pk=pool_id)
    missing = rules.prestarts_missing(
        wanted=pool.prestarted_vms,
        have=VirtualMachine.objects.filter(pool=pool).prestarted().count(),
        waiting=pool.requests.unserved().count(),
        batch=config.get("VmPoolMonitorBatchSize"),
    )
    if not missing:
        return
    found = hosts.candidates(pool.cluster_id)
    free = VirtualMachine.objects.filter(pool=pool).unassigned().down_and_clean().best_first()
    started = []
    for vm in free.select_for_update(no_key=True, of=("self",))[:missing]:
        host = placement.choose(vm.memory_mib, found)
        if host is None:
            break
        host.reserved_mib += vm.memory_mib
        vms.begin_run(vm, mode=RunMode.STATELESS, host_id=host.id)
        started.append(vm)
    VirtualMachine.objects.bulk_update(started, vms.RUN_FIELDS)
    Event.objects.bulk_create([events.compose("vm.prestarting", pool=pool, vm=vm) for vm in started])
    for vm in started:
        jobs.wake_vm(vm.pk)
