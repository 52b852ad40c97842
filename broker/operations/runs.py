"""The runs of a VM: what whoever holds its lease saw of it, and the acts on its host.

Each write carries the lease's term and the run that was looked at: a worker that was overtaken changes nothing.
"""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import config, events, jobs, live, locks
from broker.drivers.hypervisor import DomainFacts, VmSpec, VolumeFacts
from broker.models import UNASSIGNED, DesktopRequest, Event, Host, VirtualMachine, Volume
from broker.operations import certificates, deadlines, machines, storage, vms
from broker.operations.intents import RUN_FIELDS, begin_return, end_run, halt
from broker.operations.jobs import finish_item
from broker.operations.vm_leases import Held, Overtaken
from broker.states import HOLDING, EndReason, JobState, RequestState, RunMode, VmHold, VmStatus


def _write(held: Held, **values: Any) -> None:
    """Write what was seen, if the lease and the run that was looked at are still in force."""
    if not VirtualMachine.objects.leased(held.vm, held.term).update(**values):
        raise Overtaken
    for name, value in values.items():
        setattr(held.vm, name, value)


# -- what was seen ---------------------------------------------------------------------------------


def record_status(held: Held, *, status: str) -> None:
    """What the hypervisor says of it, when that has changed."""
    if held.vm.status != status:
        _write(held, status=status)


def record_halted(held: Held) -> None:
    """It is down for a while: its memory is free for others."""
    if held.vm.host_id is not None or held.vm.status != VmStatus.DOWN:
        _write(held, status=VmStatus.DOWN, host=None)


def record_defined(held: Held, *, host: Host) -> None:
    """Its domain is known to this host from now on."""
    if held.vm.defined_on_id != host.pk:
        _write(held, defined_on=host)


@transaction.atomic
def record_layer(held: Held, *, facts: VolumeFacts) -> None:
    """The layer of this run stands on the member's disk: certified before anybody can be given the desktop (I4)."""
    now = timezone.now()
    _write(held, disk_ready_at=held.vm.disk_ready_at or now)
    certificates.record_made(held.vm, facts, now)


@transaction.atomic
def record_created(held: Held) -> None:
    """Its disk and its domain exist: it may be offered."""
    vm = held.vm
    _write(held, hold=_hold_when_clean(vm), hold_reason=vm.fault, status=VmStatus.DOWN, failures=0)
    events.record("vm.created", vm=vm, pool=vm.pool)
    finish_item(vm.pk, JobState.DONE)
    _wake(vm)


@transaction.atomic
def record_create_failed(held: Held, *, reason: str) -> None:
    """It could not be made; after some failures in a row it is left for an administrator."""
    _record_failure(held, reason, "vm.create_failed")


@transaction.atomic
def record_running(held: Held, *, facts: DomainFacts) -> None:
    """Its domain runs; the guest is on its way."""
    now = timezone.now()
    _write(
        held,
        status=VmStatus.POWERING_UP,
        run_started_at=now,
        domain_id=facts.domain_id,
        display_port=facts.display_port,
        display_tls_port=facts.display_tls_port,
    )
    for request in _request_of(held.vm).filter(state=RequestState.STARTING):
        DesktopRequest.objects.filter(pk=request.pk).update(
            placed_at=held.vm.placed_at, disk_ready_at=held.vm.disk_ready_at, started_at=now
        )
        live.request_changed(request.pk)


@transaction.atomic
def record_ready(held: Held) -> None:
    """Its guest can be used: whoever it was assigned to has a desktop."""
    vm = held.vm
    now = timezone.now()
    _write(held, status=VmStatus.UP, ready_at=now, failures=0)
    for request in _request_of(vm).filter(state=RequestState.STARTING):
        request.ready_at = now
        planned = deadlines.plan(request, deadlines.limits_of(request.pool), now)
        request.move(RequestState.READY, ready_at=now, **planned)
        events.record("desktop.ready", actor=request.user, request=request, vm=vm, pool=request.pool)
        if request.mail_asked:
            jobs.later("broker.mail_ready", request.pk)
        live.request_changed(request.pk)
        live.line_changed(request.pool_id)
    _wake(vm)


@transaction.atomic
def record_start_failed(held: Held, *, reason: str) -> None:
    """Its start failed: whoever it was assigned to keeps first claim on another one (DESIGN 7).

    Whoever has worked on it already, in a manual pool, keeps it with all that is on it.
    """
    vm = held.vm
    told = {"vm": vm, "pool": vm.pool, "reason": reason, "severity": Event.Severity.WARNING}
    if vms.keeps_its_user(vm):
        _halt_seen_run(held, off=False)
        events.record("vm.start_failed", **told)
        return
    if vm.pool_id is not None:
        # A match that has read the line without whoever is back in it now would pass them over.
        locks.line(vm.pool_id)
    # The VM first, as everywhere: whoever serves the line locks VMs before it writes wishes.
    _end_seen_run(held, at_once=True, failures=vm.failures + 1, hold_reason=reason)
    for request in _request_of(vm).filter(state=RequestState.STARTING):
        DesktopRequest.objects.filter(pk=request.pk, state=RequestState.STARTING, vm=vm).update(
            **UNASSIGNED, attempts=F("attempts") + 1
        )
        live.request_changed(request.pk)
    events.record("vm.start_failed", **told)
    _wake(vm)


@transaction.atomic
def record_run_ended(held: Held, *, crashed: bool) -> None:
    """The guest shut down by itself, or crashed: in an automatic pool that returns the desktop (R063, R064)."""
    vm = held.vm
    if vms.keeps_its_user(vm):
        _halt_seen_run(held, off=True)
        return
    if vm.ready_at is None and vm.run_mode == RunMode.STATELESS:
        record_start_failed(held, reason=_("It went down before it was ready."))
        return
    reason = EndReason.FAILED if crashed else EndReason.SHUT_DOWN
    _end_seen_run(held, at_once=True)
    for request in _request_of(vm).filter(state__in=(RequestState.STARTING, RequestState.READY)):
        begin_return(request, vm, reason)


@transaction.atomic
def record_removed(held: Held) -> None:
    """Its domain and its layers are gone: so is its row. Its disk is deleted by whoever looks after its host."""
    vm = held.vm
    rows = VirtualMachine.objects.leased(vm, held.term).filter(hold=VmHold.REMOVING)
    if not rows.update(lease_until=None):
        raise Overtaken
    finish_item(vm.pk, JobState.DONE)
    certificates.record_destroyed(vm, timezone.now())
    events.record("vm.removed", vm=vm, pool=vm.pool)
    volume, pool = vm.volume_id, vm.pool
    for request in vm.requests.not_ended():
        # Nobody can hold it any more: whoever removes a VM has looked.
        DesktopRequest.objects.filter(pk=request.pk).update(vm=None)
    VirtualMachine.objects.filter(pk=vm.pk).delete()
    Volume.objects.filter(pk=volume).update(doomed_at=timezone.now())
    if pool is not None:
        # Under the line's lock, which is never waited for with a VM in hand.
        jobs.later("broker.tidy_pool", pool.pk)


@transaction.atomic
def record_remove_failed(held: Held, *, reason: str) -> None:
    """It could not be removed; after some failures in a row it is left for an administrator."""
    _record_failure(held, reason, "vm.held")


def _record_failure(held: Held, reason: str, kind: str) -> None:
    vm = held.vm
    _write(held, failures=vm.failures + 1, hold_reason=reason)
    if vm.failures >= config.get("VmPoolMaxSubsequentFailures"):
        _write(held, hold=VmHold.ERROR)
        finish_item(vm.pk, JobState.FAILED, reason)
        events.record(kind, vm=vm, pool=vm.pool, reason=reason, severity=Event.Severity.ERROR)


def _hold_when_clean(vm: VirtualMachine) -> str | None:
    """Decided behind the row's lock: somebody may have marked it as faulty since it was read."""
    row = VirtualMachine.objects.select_for_update(no_key=True).filter(pk=vm.pk)
    vm.fault = row.values_list("fault", flat=True).get()
    return vm.hold_when_clean


def record_trouble(held: Held, *, reason: str) -> None:
    """Something that will be tried again did not work: administrators see what."""
    if held.vm.hold is not None:
        _write(held, hold_reason=reason)


def record_stop_asked(held: Held) -> None:
    """The guest was asked to shut down; from now on its time runs."""
    _write(held, stop_asked_at=timezone.now(), status=VmStatus.POWERING_DOWN)


@transaction.atomic
def record_clean(held: Held) -> None:
    """It is off and its layer is gone: its last user's wish ends, and it may be offered again (I4)."""
    vm = held.vm
    had_layer = vm.layer_run is not None
    if had_layer:
        now = timezone.now()
        certificates.record_destroyed(vm, now)
        _write(held, cleaned_layer=vm.layer().name, cleaned_at=now)
    exhausted = vm.failures >= config.get("VmPoolMaxSubsequentFailures")
    _write(
        held,
        status=VmStatus.DOWN,
        host=None,
        layer_run=None,
        layer_key=None,
        stop_asked_at=None,
        stop_at_once=False,
        hold=VmHold.ERROR if exhausted else _hold_when_clean(vm),
        **({} if exhausted else {"hold_reason": vm.fault}),
    )
    if had_layer:
        events.record("vm.cleaned", vm=vm, pool=vm.pool)
    if exhausted:
        events.record("vm.held", vm=vm, pool=vm.pool, reason=vm.hold_reason, severity=Event.Severity.ERROR)
    for request in _request_of(vm).filter(state=RequestState.RETURNING):
        request.move(RequestState.ENDED, ended_at=timezone.now())
        events.record(
            "desktop.ended",
            actor=request.user,
            request=request,
            vm=vm,
            pool=request.pool,
            reason=request.end_reason,
        )
        live.request_changed(request.pk)
    _wake(vm)


def _end_seen_run(held: Held, **also: Any) -> None:
    vm = held.vm
    seen_run = vm.run_number
    end_run(vm, at_once=also.pop("at_once"))
    rows = VirtualMachine.objects.filter(pk=vm.pk, lease_term=held.term, run_number=seen_run)
    if not rows.update(**_ended(vm), **also):
        raise Overtaken
    for name, value in also.items():
        setattr(vm, name, value)


def _halt_seen_run(held: Held, *, off: bool) -> None:
    """It is down, or to go down, and its user keeps it: write that it may stay down, with its layer (R066)."""
    vm = held.vm
    seen_run = vm.run_number
    halt(vm, at_once=not off)
    rows = VirtualMachine.objects.filter(pk=vm.pk, lease_term=held.term, run_number=seen_run)
    seen: dict[str, Any] = {"status": VmStatus.DOWN, "host": None} if off else {}
    if not rows.update(**_ended(vm), **seen):
        raise Overtaken
    for name, value in seen.items():
        setattr(vm, name, value)
    for request in _request_of(vm):
        events.record("desktop.halted", actor=request.user, request=request, vm=vm, pool=request.pool)
        live.request_changed(request.pk)


def _ended(vm: VirtualMachine) -> dict[str, Any]:
    """What is written of a run that is over; whoever asked meanwhile for another look is not forgotten."""
    values = {name: getattr(vm, name) for name in RUN_FIELDS if name not in ("hold_reason", "host")}
    return values | {"intent_version": F("intent_version") + 1}


def _request_of(vm: VirtualMachine) -> Any:
    return vm.requests.select_related("user", "pool").filter(state__in=HOLDING)


def _wake(vm: VirtualMachine) -> None:
    if vm.pool_id:
        jobs.wake_pool(vm.pool_id)
        live.line_changed(vm.pool_id)


# -- on the host -----------------------------------------------------------------------------------


def create_on_host(held: Held, *, driver: Any, host: Host) -> None:
    """Make the VM's thin disk and define its domain at rest."""
    vm = held.vm
    assert vm.volume.backing is not None
    disk = driver.create_overlay(vm.volume.address(), vm.volume.backing.address())
    Volume.objects.filter(pk=vm.volume_id).update(capacity_bytes=disk.capacity_bytes, made_at=timezone.now())
    driver.define(_spec(vm, host, at_rest=True))
    record_defined(held, host=host)


def start_on_host(held: Held, *, driver: Any) -> DomainFacts:
    """Make the layer of this run, see that there is what its guest is told, and start; all may be repeated."""
    vm = held.vm
    assert vm.host is not None
    if vm.run_mode == RunMode.STATELESS:
        record_layer(held, facts=driver.create_overlay(vm.layer(), vm.volume.address()))
    drive = vm.config_drive()
    if drive is not None:
        storage.wait_for_clearing()
        driver.write_volume(*drive)
    record_defined(held, host=vm.host)
    return driver.start(_spec(vm, vm.host))


def clean_on_host(held: Held, *, driver: Any, host: Host) -> None:
    """Put the domain at rest on the VM's own disk, and destroy what the run wrote."""
    vm = held.vm
    driver.define(_spec(vm, host, at_rest=True))
    record_defined(held, host=host)
    for volume in vm.left_behind():
        driver.delete_volume(volume)


def remove_on_host(held: Held, *, driver: Any) -> None:
    """Forget the domain and destroy what its runs left; the disk itself goes when its row has gone."""
    driver.undefine(held.vm.pk, config.installation())
    for volume in held.vm.left_behind():
        driver.delete_volume(volume)


def _spec(vm: VirtualMachine, host: Host, *, at_rest: bool = False) -> VmSpec:
    migration = machines.migration_plan(vm, vm.cluster)
    return vm.spec(installation=config.installation(), host=host, migration=migration, at_rest=at_rest)
