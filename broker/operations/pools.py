"""Create, change, grow and remove pools, and keep the promised number of VMs running ahead."""

from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from broker import config, events, grants, jobs, leases, live, locks
from broker.errors import Conflict, Invalid
from broker.models import (
    Cluster,
    DesktopRequest,
    Event,
    Host,
    Job,
    Line,
    Pool,
    Template,
    TemplateVersion,
    VirtualMachine,
    write_all,
)
from broker.operations import deadlines, edits, hosts, intents, machines, vms
from broker.operations import jobs as job_operations
from broker.rules import deadlines as deadline_rules
from broker.rules import placement
from broker.rules import pools as rules
from broker.states import HOLDING, EndReason, PoolType, RequestState, RunMode, StartRunningOn, VersionState, VmHold

NAMED = 10  # VMs that a refusal names one by one
SPARE = 20  # VMs looked at beyond what is missing, for those that no host can run now
FIXED = {
    "name": gettext_noop("Cannot change VM-Pool name."),
    "type": gettext_noop("Cannot change VM-Pool type."),
    "cluster": gettext_noop("Cannot change the cluster of a VM-Pool."),
    "template": gettext_noop("Cannot change the template of a VM-Pool; choose another version of it instead."),
}


@transaction.atomic
def create(
    *,
    cluster: Cluster,
    template: Template,
    name: str,
    size: int,
    template_version: TemplateVersion | None = None,
    prestarted_vms: int = 0,
    max_vms_per_user: int = 1,
    type: str = PoolType.AUTOMATIC,
    override_spice_proxy: bool = False,
    spice_proxy: str = "",
    disconnect_grace_minutes: int | None = None,
    max_session_minutes: int | None = None,
    idle_limit_minutes: int | None = None,
    extension_minutes: int | None = None,
    central_data: str = "",
    hosts: list[Host] | None = None,
    by: Any = None,
    **given: Any,
) -> tuple[Pool, Job]:
    """Make a pool and ask for its VMs; settings that are not given come from the template (R039).

    Invalid lists everything that is wrong; Conflict when the name is taken.
    """
    version = machines.usable_version(template, template_version, cluster)
    pool = Pool(
        cluster=cluster,
        template=template,
        template_version=template_version,
        name=name,
        type=type,
        prestarted_vms=prestarted_vms,
        max_vms_per_user=max_vms_per_user,
        override_spice_proxy=override_spice_proxy,
        spice_proxy=spice_proxy,
        disconnect_grace_minutes=disconnect_grace_minutes,
        max_session_minutes=max_session_minutes,
        idle_limit_minutes=idle_limit_minutes,
        extension_minutes=extension_minutes,
        central_data=central_data,
        **machines.settings_from(template, version, given),
    )
    _check(pool, size, hosts or [])
    if Pool.objects.filter(cluster__data_center=cluster.data_center_id, name=name).exists():
        text = _("A pool named %(name)s exists already in this data center.")
        raise Conflict(text % {"name": name}, field="name", code="NAME_TAKEN")
    try:
        with transaction.atomic():
            pool.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(_("A pool of this name was made this moment."), field="name", code="NAME_TAKEN") from error
    pool.hosts.set(hosts or [])
    Line.objects.create(pool=pool)
    job = _add_vms(pool, version, size, kind="pool.create", by=by)
    events.record("pool.created", actor=by, pool=pool, size=size)
    return pool, job


@transaction.atomic
def change(
    *,
    pool: Pool,
    changes: dict[str, Any],
    increase_by: int = 0,
    expected: dict[str, Any] | None = None,
    by: Any = None,
) -> Job | None:
    """Change a pool; hardware of new VMs only, prestarting and limits at once (DESIGN 7). A job when it grows.

    `changes` holds fields of the pool, and `hosts` as a list. Another version reaches each VM once it is free.
    """
    locks.line(pool.pk)
    pool = edits.lock(pool)
    if pool.removing:
        raise Conflict(_("This pool is being removed already."), code="WRONG_STATE")
    present = sorted(pool.hosts.all(), key=lambda host: host.name)
    edits.require_unchanged({**vars(pool), "template_version": pool.template_version, "hosts": present}, expected)
    if increase_by < 0:
        raise Invalid(_("Cannot decrease VMs from VM-Pool."), field="increase_by")
    changes = _followed(dict(changes))
    chosen = changes.pop("hosts", present)
    _refuse_fixed(pool, changes)
    size = pool.vms.staying().count() + increase_by
    changed = [name for name, value in changes.items() if getattr(pool, name) != value]
    for name in changed:
        setattr(pool, name, changes[name])
    _check(pool, size, chosen, size_field="increase_by")
    if changed:
        pool.save(update_fields=changed)
    if set(chosen) != set(present):
        pool.hosts.set(chosen)
        changed.append("hosts")
    if "delete_protection" in changed:
        pool.vms.update(delete_protection=pool.delete_protection)
    if "central_data" in changed:
        _end_those_told_otherwise(pool)
    if changed:
        events.record("pool.changed", actor=by, pool=pool, fields=", ".join(changed))
    if not set(deadline_rules.TIME_FIELDS).isdisjoint(changed):
        deadlines.limits_changed(pool)
    job = grow(pool, increase_by, by=by) if increase_by else None
    jobs.wake_pool(pool.pk)
    live.line_changed(pool.pk)
    return job


def _end_those_told_otherwise(pool: Pool) -> None:
    """What runs ahead was told the former location: nobody is to be given it any more."""
    ahead = pool.vms.unassigned().filter(run_mode=RunMode.STATELESS, hold=None)
    for vm in ahead.select_for_update(no_key=True, of=("self",)):
        intents.end_for(None, vm, "", at_once=True)


def _followed(changes: dict[str, Any]) -> dict[str, Any]:
    """What follows from a change: no address without the override, no chosen hosts where any will do."""
    if changes.get("override_spice_proxy") is False:
        changes.setdefault("spice_proxy", "")
    if changes.get("start_running_on") == StartRunningOn.ANY:
        changes.setdefault("hosts", [])
    return changes


def _refuse_fixed(pool: Pool, changes: dict[str, Any]) -> None:
    found = [
        (name, _(text)) for name, text in FIXED.items() if name in changes and changes[name] != getattr(pool, name)
    ]
    version = changes.get("template_version", pool.template_version)
    if version is not None and version.template_id != pool.template_id:
        found.append(("template_version", _("This version belongs to another template.")))
    elif version != pool.template_version and pool.delete_protection:
        text = _("Cannot change the VM Template when the VMs created are set to Delete Protected.")
        found.append(("template_version", text))
    elif version is not None and version.state != VersionState.READY:
        found.append(("template_version", _("%(version)s cannot be used yet.") % {"version": version}))
    if found:
        raise Invalid.fields(found)


def grow(pool: Pool, count: int, *, by: Any) -> Job:
    """Add VMs to a pool whose line is locked."""
    version = target_version(pool)
    assert version is not None
    events.record("pool.grown", actor=by, pool=pool, size=count)
    return _add_vms(pool, version, count, kind="pool.grow", by=by)


def _check(pool: Pool, size: int, chosen: list[Host], *, size_field: str = "size") -> None:
    values = rules.PoolValues(
        name=pool.name,
        type=pool.type,
        size=size,
        prestarted_vms=pool.prestarted_vms,
        max_vms_per_user=pool.max_vms_per_user,
        override_spice_proxy=pool.override_spice_proxy,
        spice_proxy=pool.spice_proxy,
        central_data=pool.central_data,
    )
    most, longest = config.get("MaxVmsInPool"), config.get("MaxVmNameLength")
    found = rules.problems(values, max_vms_in_pool=most, max_vm_name=longest)
    # A pool that has lost its last VM can still be edited, and grown again.
    emptied = size == 0 and size_field == "increase_by"
    found = [
        (size_field if field == "size" else field, text) for field, text in found if not (field == "size" and emptied)
    ]
    found += deadline_rules.problems(pool.type, {name: getattr(pool, name) for name in deadline_rules.TIME_FIELDS})
    found += machines.problems(pool.settings(), pool.cluster, chosen)
    if found:
        raise Invalid.fields(found)


def _add_vms(pool: Pool, version: TemplateVersion, count: int, *, kind: str, by: Any) -> Job:
    """Rows for the new VMs, and a job that shows how they come into being."""
    plan = machines.Plan(pool.cluster, version, pool.settings(), list(pool.hosts.all()))
    taken = set(VirtualMachine.objects.values_list("name", flat=True))
    made = machines.make(plan, rules.vm_names(pool.name, count, taken=taken), pool=pool)
    return job_operations.begin(kind, list(made), about=pool.name, by=by, pool=pool, template=pool.template)


# -- removal ------------------------------------------------------------------------------------------


@transaction.atomic
def remove(*, pool: Pool, by: Any) -> None:
    """Remove an empty pool; Conflict naming its VMs while it has any (R128). Those who wait are told."""
    locks.line(pool.pk)
    pool = edits.lock(pool)
    names = list(pool.vms.order_by("number", "name").values_list("name", flat=True))
    if names:
        text = _("Cannot remove VM-Pool while it has VMs: %(names)s. Detach or remove them first.")
        raise Conflict(text % {"names": _listed(names)}, code="POOL_NOT_EMPTY")
    forget(pool, by=by)


def forget(pool: Pool, *, by: Any) -> None:
    """Drop the row of a pool without VMs. What people did with it stays in their history."""
    now = timezone.now()
    waiting = DesktopRequest.objects.filter(pool=pool).not_ended()
    for request in waiting:
        live.request_changed(request.pk)
    waiting.update(state=RequestState.ENDED, end_reason=EndReason.REMOVED, ended_at=now)
    live.line_changed(pool.pk)
    grants.forget(pool)
    events.record("pool.removed", actor=by, pool=pool)
    pool.delete()


@transaction.atomic
def tidy(*, pool_id: UUID) -> None:
    """After VMs went: a pool promises no more than it has, and goes with the last of them if that was asked for."""
    try:
        locks.line(pool_id)
    except Line.DoesNotExist:
        return
    pool = Pool.objects.get(pk=pool_id)
    if pool.removing and not pool.vms.exists():
        forget(pool, by=None)
    else:
        vms.lower_prestarted(pool)


def untidy() -> list[UUID]:
    """Pools that `tidy` would change, should its wake-up have been lost."""
    staying = Count("vms", filter=~Q(vms__hold=VmHold.REMOVING) | Q(vms__hold=None))
    rows = Pool.objects.annotate(staying=staying, members=Count("vms"))
    return list(
        rows.filter(Q(removing=True, members=0) | Q(prestarted_vms__gt=F("staying"))).values_list("pk", flat=True)
    )


@transaction.atomic
def remove_with_vms(*, pool: Pool, by: Any) -> Job:
    """Remove a pool together with its VMs: everything is checked before anything is touched (DESIGN 7)."""
    locks.line(pool.pk)
    pool = edits.lock(pool)
    members = list(pool.vms.select_for_update(no_key=True).order_by("pk"))
    under_way = bool(members) and all(vm.hold == VmHold.REMOVING for vm in members)
    if under_way or not members:
        text = _("This pool is being removed already.") if members else _("This pool has no VMs: remove it as it is.")
        raise Conflict(text, code="WRONG_STATE")
    guarded = [vm for vm in members if vm.delete_protection]
    if pool.delete_protection or guarded:
        raise Conflict(vms.protected(_listed([vm.name for vm in guarded]) or pool), code="DELETE_PROTECTED")
    used = set(DesktopRequest.objects.filter(vm__in=members, state__in=HOLDING).values_list("vm", flat=True))
    busy = [vm.name for vm in members if vm.pk in used or vm.run_mode == RunMode.STATEFUL]
    if busy:
        text = _("Cannot remove VM-Pool while its VMs are in use: %(names)s.")
        raise Conflict(text % {"names": _listed(busy)}, code="POOL_IN_USE")
    Pool.objects.filter(pk=pool.pk).update(removing=True, prestarted_vms=0)
    for vm in members:
        vms.want_removed(vm)
    events.record("pool.removing", actor=by, pool=pool)
    return job_operations.begin("pool.remove", list(members), about=pool.name, by=by, pool=pool)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return (
        shown
        if len(names) <= NAMED
        else _("%(names)s and %(more)s more") % {"names": shown, "more": len(names) - NAMED}
    )


# -- prestarting --------------------------------------------------------------------------------------


@transaction.atomic
def renew(*, pool_id: UUID) -> None:
    """Give VMs that are free a disk of the version the pool follows: a limited number at a time, never under a user.

    It stops at the first that could not be renewed, or does not start, until that one works again.
    """
    pool = Pool.objects.select_related("template", "template_version__template").get(pk=pool_id)
    version = target_version(pool)
    outdated = pool.vms.outdated().order_by("number", "pk")
    if version is None or pool.removing or not outdated.exists():
        return
    locks.line(pool_id)
    if renewal_stopped(pool, version):
        return
    under_way = pool.vms.filter(hold=VmHold.CREATING).count()
    room = config.get("TemplateRenewalBatchSize") - under_way
    if room <= 0:
        return
    # Those that wait running are ended first: once clean they are free, and prestarted again when they are renewed.
    for vm in outdated.filter(run_mode=RunMode.STATELESS).select_for_update(no_key=True, of=("self",))[:room]:
        intents.end_for(None, vm, "", at_once=True)
    for vm in outdated.down_and_clean().select_for_update(no_key=True, of=("self",))[:room]:
        vms.renew(vm, version)
        events.record("vm.rebuilding", vm=vm, pool=pool, version=version)


def target_version(pool: Pool) -> TemplateVersion | None:
    """The version that the pool's VMs are to be made of."""
    return pool.template_version or pool.template.latest()


def renewal_stopped(pool: Pool, version: TemplateVersion) -> bool:
    """Whether a VM of the newer version failed: no further one is touched while that is so."""
    failed = Q(hold=VmHold.ERROR) | Q(failures__gt=0)
    return pool.vms.filter(failed, template_version=version).exists()


@transaction.atomic
def prestart(*, pool_id: UUID) -> None:
    """Start as many VMs ahead as the pool promises and its line leaves over (R031)."""
    locks.line(pool_id)
    pool = Pool.objects.select_related("cluster", "template", "template_version").get(pk=pool_id)
    missing = rules.prestarts_missing(
        wanted=pool.prestarted_vms,
        have=VirtualMachine.objects.filter(pool=pool).prestarted().count(),
        waiting=pool.requests.unserved().count(),
        batch=config.get("VmPoolMonitorBatchSize"),
    )
    if not missing:
        return
    found = hosts.candidates(pool.cluster_id)
    clean = VirtualMachine.objects.filter(pool=pool).unassigned().down_and_clean()
    free = clean.placeable(*hosts.room(found)).best_first()
    version = target_version(pool)
    if version is not None and not renewal_stopped(pool, version):
        free = free.filter(template_version=version)  # the others are about to be renewed
    started: list[VirtualMachine] = []
    for vm in free.select_for_update(no_key=True, of=("self",)).prefetch_related("hosts")[: missing + SPARE]:
        host = placement.choose(vm.memory_mib, found, hosts.allowed(vm)) if len(started) < missing else None
        if host is None:
            continue
        host.reserved_mib += vm.memory_mib
        intents.begin_run(vm, mode=RunMode.STATELESS, host_id=host.id)
        started.append(vm)
    write_all(started, intents.RUN_FIELDS)
    Event.objects.bulk_create([events.compose("vm.prestarting", pool=pool, vm=vm) for vm in started])
    for vm in started:
        jobs.wake_vm(vm.pk)


def report_short(*, minutes: int) -> None:
    """Tell of pools that have fewer prestarted VMs than they promise, once in so many minutes."""
    if not leases.hold("prestart monitor", seconds=60 * minutes, holder=str(uuid4())):
        return
    warm = VirtualMachine.objects.prestarted().filter(ready_at__isnull=False)
    pools = Pool.objects.filter(prestarted_vms__gt=0).annotate(have=Count("vms", filter=Q(vms__in=warm)))
    for pool in pools.filter(prestarted_vms__gt=F("have")):
        severity = Event.Severity.WARNING
        events.record("pool.short", pool=pool, have=pool.have, wanted=pool.prestarted_vms, severity=severity)
