"""What is wanted of a VM: the wish that is written here is what workers converge to (DESIGN 1.4)."""

from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from broker import events, jobs, live
from broker.models import DesktopRequest, VirtualMachine
from broker.states import EndReason, RequestState, RunMode, VmHold

RUN_FIELDS = (
    "run_mode",
    "run_number",
    "hold",
    "hold_reason",
    "stop_at_once",
    "halted",
    "suspended",
    "central_data",
    "host",
    "placed_at",
    "disk_ready_at",
    "run_started_at",
    "ready_at",
    "stop_asked_at",
    "layer_run",
    "layer_key",
    "domain_id",
    "display_port",
    "display_tls_port",
    "intent_version",
)


def begin_run(vm: VirtualMachine, *, mode: str, host_id: UUID) -> None:
    """In memory: want a new run on this host. The caller saves RUN_FIELDS under its locks."""
    vm.run_mode = mode
    vm.run_number += 1
    vm.host_id = host_id
    vm.hold = VmHold.ADMINISTRATOR if mode == RunMode.STATEFUL else None
    # Written before the layer can exist, so that no crash leaves one that the row does not know of.
    vm.layer_run = vm.run_number if mode == RunMode.STATELESS else None
    vm.layer_key = uuid4() if mode == RunMode.STATELESS else None
    vm.placed_at = timezone.now()
    vm.disk_ready_at = None
    vm.central_data = vm.pool.central_data if mode == RunMode.STATELESS and vm.pool is not None else ""
    _forget_sightings(vm)
    vm.stop_at_once = vm.halted = vm.suspended = False


def end_run(vm: VirtualMachine, *, at_once: bool) -> None:
    """In memory: want it down and clean. Its memory stays reserved until it is proved to be off."""
    vm.run_mode = None
    vm.run_number += 1
    vm.hold = VmHold.RESETTING
    vm.stop_at_once = at_once
    vm.halted = vm.suspended = False
    _forget_sightings(vm)


def halt(vm: VirtualMachine, *, at_once: bool) -> None:
    """In memory: want it down for a while; its layer and its user stay (R066)."""
    vm.run_number += 1
    vm.halted = True
    vm.suspended = False
    vm.stop_at_once = at_once
    _forget_sightings(vm)


def switch_on(vm: VirtualMachine, *, host_id: UUID) -> None:
    """In memory: want a halted one to run again on this host, with the layer it had."""
    vm.run_number += 1
    vm.host_id = host_id
    vm.halted = vm.stop_at_once = False
    vm.central_data = vm.pool.central_data if vm.pool is not None else ""
    _forget_sightings(vm)


def _forget_sightings(vm: VirtualMachine) -> None:
    vm.run_started_at = vm.ready_at = vm.stop_asked_at = None
    vm.domain_id = vm.display_port = vm.display_tls_port = None
    vm.intent_version += 1


def end_for(
    request: DesktopRequest | None, vm: VirtualMachine, reason: str, *, at_once: bool, by: Any = None
) -> None:
    """End a run under the VM's lock; the wish it served, unless that is on its way back already, ends with it."""
    end_run(vm, at_once=at_once)
    vm.save(update_fields=RUN_FIELDS)
    if request is not None and request.state != RequestState.RETURNING:
        begin_return(request, vm, reason, by=by)
    jobs.wake_vm(vm.pk)


def begin_return(request: DesktopRequest, vm: VirtualMachine, reason: str, *, by: Any = None) -> None:
    """Write that a desktop is on its way back; whoever ends its run calls this in the same transaction."""
    over = {} if reason == EndReason.EXPIRED else {"ends_at": None, "ending": None}
    request.move(RequestState.RETURNING, end_reason=reason, returned_at=timezone.now(), look_at=None, **over)
    about = {"request": request, "vm": vm, "pool": request.pool}
    events.record("desktop.returning", actor=by or request.user, reason=reason, **about)
    live.request_changed(request.pk)
    if request.pool_id is not None:
        live.line_changed(request.pool_id)
