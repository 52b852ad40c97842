"""What administrators do with VMs: run them, change them, take them out of their pool, rebuild and remove them."""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import config, events, grants, jobs, live, locks
from broker.errors import Conflict, Invalid
from broker.models import Cluster, Event, Host, Job, Pool, Template, TemplateVersion, VirtualMachine, Volume
from broker.operations import edits, hosts, machines
from broker.operations import jobs as job_operations
from broker.operations.intents import RUN_FIELDS, begin_run, end_for, halt
from broker.rules import placement
from broker.rules import pools as pool_rules
from broker.rules.placement import Candidate
from broker.states import HOLDING, EndReason, PoolType, RequestState, RunMode, VmHold, VmStatus

MOST_REASON = 300
# What keeps a VM from users keeps no administrator from running it: that is how it is looked into.
STARTABLE = (None, VmHold.ADMINISTRATOR, VmHold.FAULTY)
ALWAYS_EDITABLE = ("description", "comment", "delete_protection")


@transaction.atomic
def start(*, vm: VirtualMachine, by: Any) -> None:
    """Run a VM statefully for an administrator: what it writes goes to its own disk and stays (R034)."""
    if vm.pool_id:
        locks.line(vm.pool_id)
    found = hosts.candidates(vm.cluster_id)
    vm = VirtualMachine.objects.select_for_update(no_key=True).get(pk=vm.pk)
    if vm.run_mode is not None or vm.hold not in STARTABLE or vm.status != VmStatus.DOWN:
        raise Conflict(
            _("%(vm)s can only be started while it is down and nobody has it.") % {"vm": vm},
            code="WRONG_STATE",
        )
    begin_run(vm, mode=RunMode.STATEFUL, host_id=host_for(vm, found).id)
    vm.changed_by, vm.changed_at = by, timezone.now()
    vm.save(update_fields=(*RUN_FIELDS, "changed_by", "changed_at"))
    events.record("vm.started", actor=by, vm=vm, pool=vm.pool)
    jobs.wake_vm(vm.pk)


def host_for(vm: VirtualMachine, found: list[Candidate]) -> Candidate:
    """The host of these to start a VM on; Conflict with a reason for each that cannot run it (R074)."""
    allowed = hosts.allowed(vm)
    host = placement.choose(vm.memory_mib, found, allowed)
    if host is not None:
        return host
    reasons = " ".join(filter(None, (placement.refusal(vm.memory_mib, one, allowed) for one in found)))
    raise Conflict(_("No host can run VM %(vm)s. %(reasons)s") % {"vm": vm, "reasons": reasons}, code="NO_HOST")


@transaction.atomic
def stop(*, vm: VirtualMachine, by: Any, at_once: bool) -> None:
    """Shut a VM down, or turn it off.

    A desktop in use is thereby returned; in a manual pool it stays with its user (R065).
    """
    vm = _lock(vm)
    if vm.run_mode is None or vm.halted:
        raise Conflict(_("%(vm)s is not running.") % {"vm": vm}, code="WRONG_STATE")
    if keeps_its_user(vm):
        halt(vm, at_once=at_once)
        vm.save(update_fields=RUN_FIELDS)
        jobs.wake_vm(vm.pk)
    else:
        _end_with_request(vm, EndReason.SHUT_DOWN, at_once=at_once)
    events.record("vm.stopping", actor=by, vm=vm, pool=vm.pool)


def keeps_its_user(vm: VirtualMachine) -> bool:
    """Whether its user keeps it, and its layer, over a shutdown: in manual pools, once it was handed over."""
    manual = vm.pool is not None and vm.pool.type == PoolType.MANUAL
    return manual and vm.requests.filter(state=RequestState.READY).exists()


@transaction.atomic
def release(*, vm: VirtualMachine, by: Any) -> None:
    """Return a VM to its pool: end what it does, clean it, and offer it again, whatever held it.

    What an administrator changed on its disk is thereby released on purpose, and the record says so.
    """
    vm = _lock(vm)
    if vm.run_mode is None and vm.hold is None:
        raise Conflict(_("%(vm)s is down and free already.") % {"vm": vm}, code="WRONG_STATE")
    if vm.hold in (VmHold.REMOVING, VmHold.MAINTENANCE):
        text = _("%(vm)s cannot be returned now: %(hold)s.")
        raise Conflict(text % {"vm": vm, "hold": vm.get_hold_display()}, code="WRONG_STATE")
    changed = vm.has_unreleased_changes
    values = {"failures": 0, "fault": "", **({"released_by": by, "released_at": timezone.now()} if changed else {})}
    VirtualMachine.objects.filter(pk=vm.pk).update(**values)
    job_operations.give_up_items(vm.pk)
    if vm.pool_id is not None and vm.hold == VmHold.ERROR:
        Pool.objects.filter(pk=vm.pool_id, removing=True).update(removing=False)
    if vm.run_mode is None and vm.layer_run is None and _has_no_disk(vm):  # it could not be made: it is made anew
        VirtualMachine.objects.filter(pk=vm.pk).update(hold=VmHold.CREATING, intent_version=F("intent_version") + 1)
    else:
        _end_with_request(vm, EndReason.RETURNED, at_once=False)
    kind = "vm.released_changed" if changed else "vm.released"
    events.record(kind, actor=by, vm=vm, pool=vm.pool, changed_by=vm.changed_by or "–")
    jobs.wake_vm(vm.pk)


@transaction.atomic
def mark_faulty(*, vm: VirtualMachine, reason: str, by: Any) -> None:
    """Keep a pool's VM from everybody until it is released; whoever has it now keeps it until they return it."""
    reason = reason.strip()
    if not reason or len(reason) > MOST_REASON or not reason.isprintable():
        text = _("Say in one line, of at most %(most)s characters, what is wrong with it.")
        raise Invalid(text % {"most": MOST_REASON}, field="reason")
    vm = _lock(vm)
    if vm.pool_id is None or vm.hold in (VmHold.CREATING, VmHold.REMOVING, VmHold.MAINTENANCE):
        raise Conflict(_("%(vm)s cannot be marked as faulty now.") % {"vm": vm}, code="WRONG_STATE")
    vm.fault = reason
    VirtualMachine.objects.filter(pk=vm.pk).update(fault=reason)
    if vm.hold is None and not vm.requests.filter(state__in=HOLDING).exists():
        if vm.run_mode is None and vm.is_clean:
            VirtualMachine.objects.filter(pk=vm.pk).update(hold=VmHold.FAULTY, hold_reason=reason)
        else:
            _end_with_request(vm, EndReason.RETURNED, at_once=True)
    events.record("vm.faulty", actor=by, vm=vm, pool=vm.pool, reason=reason, severity=Event.Severity.WARNING)
    jobs.wake_pool(vm.pool_id)
    live.line_changed(vm.pool_id)


@transaction.atomic
def clear_fault(*, vm: VirtualMachine, by: Any) -> None:
    """Offer a VM again that was marked as faulty; whoever has it meanwhile keeps it. Again changes nothing."""
    vm = _lock(vm)
    if not vm.fault:
        return
    vm.fault = ""
    freed = {"hold": vm.hold_when_clean, "hold_reason": ""} if vm.hold == VmHold.FAULTY else {}
    VirtualMachine.objects.filter(pk=vm.pk).update(fault="", **freed)
    events.record("vm.sound", actor=by, vm=vm, pool=vm.pool)
    if vm.pool_id is not None:
        jobs.wake_pool(vm.pool_id)
        live.line_changed(vm.pool_id)


def _has_no_disk(vm: VirtualMachine) -> bool:
    # Its size is written when it has been made.
    return vm.defined_on_id is None or vm.hold == VmHold.CREATING or not vm.volume.capacity_bytes


@transaction.atomic
def reboot(*, vm: VirtualMachine, by: Any) -> None:
    """Restart the guest; the run, its layer and its owner stay."""
    vm = _lock(vm)
    if vm.ready_at is None or vm.suspended:
        raise Conflict(_("%(vm)s cannot be restarted: it is not up yet.") % {"vm": vm}, code="NOT_READY")
    events.record("desktop.restarted", actor=by, vm=vm, pool=vm.pool)
    jobs.later("broker.reboot", vm.pk, vm.run_number)


@transaction.atomic
def suspend(*, vm: VirtualMachine, by: Any) -> None:
    """Pause an independent VM in its host's memory (R231)."""
    vm = _lock(vm)
    if vm.pool_id is not None:
        raise Conflict(_("Cannot suspend VM that belongs to a VM-Pool."), code="VM_IN_POOL")
    if vm.ready_at is None or vm.suspended:
        raise Conflict(_("%(vm)s cannot be suspended: it is not up.") % {"vm": vm}, code="WRONG_STATE")
    _want_suspended(vm, True)
    events.record("vm.suspended", actor=by, vm=vm)


@transaction.atomic
def resume(*, vm: VirtualMachine, by: Any) -> None:
    """Let a suspended VM go on (R232)."""
    vm = _lock(vm)
    if not vm.suspended and vm.status != VmStatus.PAUSED:
        raise Conflict(_("%(vm)s is not suspended.") % {"vm": vm}, code="WRONG_STATE")
    _want_suspended(vm, False)
    events.record("vm.resumed", actor=by, vm=vm)


def _want_suspended(vm: VirtualMachine, suspended: bool) -> None:
    VirtualMachine.objects.filter(pk=vm.pk).update(suspended=suspended, intent_version=F("intent_version") + 1)
    jobs.wake_vm(vm.pk)


def _lock(vm: VirtualMachine) -> VirtualMachine:
    if vm.pool_id:
        locks.line(vm.pool_id)
    return VirtualMachine.objects.select_for_update(no_key=True).get(pk=vm.pk)


def _end_with_request(vm: VirtualMachine, reason: str, *, at_once: bool) -> None:
    """Write the end of a run together with that of the wish it served, if there is one."""
    request = vm.requests.select_related("user", "pool").filter(state__in=HOLDING).first()
    end_for(request, vm, reason, at_once=at_once)


# -- make, change, and take out ----------------------------------------------------------------------


@transaction.atomic
def create(
    *,
    cluster: Cluster,
    template: Template,
    name: str,
    template_version: TemplateVersion | None = None,
    hosts: list[Host] | None = None,
    by: Any = None,
    **given: Any,
) -> tuple[VirtualMachine, Job]:
    """Make an independent VM from a template; what is not given comes from there."""
    problem = pool_rules.vm_name_problem(name, max_vm_name=config.get("MaxVmNameLength"))
    if problem:
        raise Invalid(problem, field="name")
    version = machines.usable_version(template, template_version, cluster)
    settings = machines.settings_from(template, version, given)
    problems = machines.problems(settings, cluster, hosts or [])
    if problems:
        raise Invalid.fields(problems)
    if VirtualMachine.objects.filter(name=name).exists():
        raise Conflict(_("The name %(name)s is used already.") % {"name": name}, field="name", code="NAME_TAKEN")
    [vm] = machines.make(machines.Plan(cluster, version, settings, hosts or []), [(0, name)], pool=None)
    job = job_operations.begin("vm.create", [vm], about=vm.name, by=by, template=template)
    edits.record("created", vm, by=by)
    return vm, job


@transaction.atomic
def change(*, vm: VirtualMachine, changes: dict[str, Any], expected: dict[str, Any] | None = None, by: Any) -> None:
    """Change an independent VM; its hardware from its next start on. A pool's members are all alike: only words.

    `changes` holds names of MachineSettings, and `hosts` as a list.
    """
    vm = edits.lock(vm)
    present = sorted(vm.hosts.all(), key=lambda host: host.name)
    edits.require_unchanged({**vm.settings(), "hosts": present}, expected)
    chosen = changes.pop("hosts", present)
    differing = {name for name, value in changes.items() if getattr(vm, name) != value}
    if set(chosen) != set(present):
        differing.add("hosts")
    if vm.pool_id is not None and differing - set(ALWAYS_EDITABLE):
        text = _("VMs of a pool have the settings of their pool. Detach it first.")
        raise Invalid.fields([(name, text) for name in sorted(differing - set(ALWAYS_EDITABLE))])
    problems = machines.problems({**vm.settings(), **changes}, vm.cluster, chosen)
    if problems and vm.pool_id is None:
        raise Invalid.fields(problems)
    edits.apply(vm, changes, expected=None)
    vm.hosts.set(chosen)
    if differing:
        events.record("vm.changed", actor=by, vm=vm, pool=vm.pool, fields=", ".join(sorted(differing)))


@transaction.atomic
def detach(*, vms: list[VirtualMachine], by: Any) -> None:
    """Make members independent VMs, which keep their disks: all, or none when one cannot be (R122 to R124)."""
    for pool_id in sorted({vm.pool_id for vm in vms if vm.pool_id}):
        locks.line(pool_id)
    rows = VirtualMachine.objects.select_for_update(no_key=True, of=("self",)).select_related("pool")
    locked = list(rows.filter(pk__in=[vm.pk for vm in vms]).order_by("pk"))
    refusals = [text for vm in locked if (text := _why_not_detached(vm))]
    if refusals:
        raise Conflict(" ".join(refusals), code="CANNOT_DETACH")
    for vm in locked:
        events.record("vm.detached", actor=by, vm=vm, pool=vm.pool)
    pools = {vm.pool for vm in locked if vm.pool}
    # What held it back from the pool's users is nothing against an independent VM.
    VirtualMachine.objects.filter(pk__in=[vm.pk for vm in locked]).update(
        pool=None, number=0, hold=None, hold_reason="", fault=""
    )
    for pool in pools:
        lower_prestarted(pool)
        jobs.wake_pool(pool.pk)


def _why_not_detached(vm: VirtualMachine) -> str | None:
    if vm.pool is None:
        return _("%(vm)s is not attached to the VM-Pool.") % {"vm": vm}
    busy = vm.run_mode is not None or vm.status != VmStatus.DOWN
    if busy or vm.requests.filter(state__in=HOLDING).exists():
        return _("Cannot detach VM from VM-Pool. VM is running. (%(vm)s)") % {"vm": vm}
    if vm.hold not in STARTABLE:
        return _("Cannot detach %(vm)s: %(hold)s.") % {"vm": vm, "hold": vm.get_hold_display()}
    return None


def lower_prestarted(pool: Pool) -> None:
    """A pool never promises more prestarted VMs than it has (R118)."""
    size = pool.vms.staying().count()
    Pool.objects.filter(pk=pool.pk, prestarted_vms__gt=size).update(prestarted_vms=size)


@transaction.atomic
def rebuild(*, vm: VirtualMachine, by: Any) -> Job:
    """Give a VM that is down a new disk from its template version; what was written on the old one is dropped."""
    vm = _lock(vm)
    if not _is_at_rest(vm):
        text = _("%(vm)s can only be rebuilt while it is down and nobody has it.")
        raise Conflict(text % {"vm": vm}, code="WRONG_STATE")
    renew(vm, vm.template_version)
    job = job_operations.begin("vm.rebuild", [vm], about=vm.name, by=by, pool=vm.pool)
    events.record("vm.rebuilding", actor=by, vm=vm, pool=vm.pool, version=vm.template_version)
    return job


def _is_at_rest(vm: VirtualMachine) -> bool:
    free = vm.hold in (None, VmHold.ADMINISTRATOR, VmHold.ERROR, VmHold.FAULTY)
    return free and vm.is_clean


def renew(vm: VirtualMachine, version: TemplateVersion) -> None:
    """Want a new disk from this version for a locked VM at rest; a worker deletes the old one."""
    former = vm.volume
    vm.volume = machines.disk_of(vm, version)
    vm.volume.save(force_insert=True)
    vm.template_version = version
    vm.hold, vm.hold_reason, vm.failures = VmHold.CREATING, "", 0
    vm.changed_by = vm.changed_at = vm.released_by = vm.released_at = None
    vm.cleaned_layer, vm.cleaned_at = "", None
    vm.run_number += 1
    vm.intent_version += 1
    vm.save()
    Volume.objects.filter(pk=former.pk).update(doomed_at=timezone.now())
    jobs.wake_vm(vm.pk)


@transaction.atomic
def remove(*, vm: VirtualMachine, by: Any) -> Job:
    """Remove an independent VM that is down, with its disk; delete protection and pools stand against it (R061)."""
    vm = _lock(vm)
    if vm.delete_protection:
        raise Conflict(protected(vm), code="DELETE_PROTECTED")
    if vm.pool_id is not None:
        raise Conflict(_("Cannot remove VM. VM is attached to a VM Pool."), code="VM_IN_POOL")
    busy = vm.hold in (VmHold.REMOVING, VmHold.MAINTENANCE)
    if vm.run_mode is not None or vm.status != VmStatus.DOWN or busy:
        raise Conflict(_("%(vm)s can only be removed while it is down.") % {"vm": vm}, code="WRONG_STATE")
    want_removed(vm)
    events.record("vm.removing", actor=by, vm=vm)
    return job_operations.begin("vm.remove", [vm], about=vm.name, by=by)


def protected(row: Any) -> str:
    """Why a protected pool or VM cannot be removed."""
    text = _(
        "Cannot remove %(name)s. Delete protection is enabled. In order to delete, disable Delete protection first."
    )
    return text % {"name": row}


def want_removed(vm: VirtualMachine) -> None:
    """Want a locked VM gone, with its domain, its disk and every layer; roles on it end now."""
    vm.run_mode = None
    vm.run_number += 1
    vm.intent_version += 1
    vm.hold, vm.hold_reason = VmHold.REMOVING, ""
    vm.halted = vm.suspended = False
    vm.failures = 0
    vm.save()
    grants.forget(vm)
    jobs.wake_vm(vm.pk)
