"""What is wanted of a VM, and what administrators do with it.

`begin_run` and `end_run` change the wish; broker.operations.runs has what workers do about it, and what they saw.
"""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events, jobs, live, locks
from broker.errors import Conflict
from broker.models import DesktopRequest, VirtualMachine
from broker.operations import hosts
from broker.rules import placement
from broker.states import HOLDING, EndReason, RequestState, RunMode, VmHold, VmStatus

RUN_FIELDS = (
    "run_mode",
    "run_number",
    "hold",
    "hold_reason",
    "stop_at_once",
    "host",
    "run_started_at",
    "ready_at",
    "stop_asked_at",
    "layer_run",
    "domain_id",
    "display_port",
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
    _forget_sightings(vm)
    vm.stop_at_once = False


def end_run(vm: VirtualMachine, *, at_once: bool) -> None:
    """In memory: want it down and clean. Its memory stays reserved until it is proved to be off."""
    vm.run_mode = None
    vm.run_number += 1
    vm.hold = VmHold.RESETTING
    vm.stop_at_once = at_once
    _forget_sightings(vm)


def _forget_sightings(vm: VirtualMachine) -> None:
    vm.run_started_at = vm.ready_at = vm.stop_asked_at = None
    vm.domain_id = vm.display_port = None
    vm.intent_version += 1


@transaction.atomic
def start(*, vm: VirtualMachine, by: Any) -> None:
    """Run a VM statefully for an administrator: what it writes goes to its own disk and stays (R034)."""
    if vm.pool_id:
        locks.line(vm.pool_id)
    found = hosts.candidates(vm.cluster_id)
    vm = VirtualMachine.objects.select_for_update(no_key=True).get(pk=vm.pk)
    if vm.run_mode is not None or vm.hold is not None or vm.status != VmStatus.DOWN:
        raise Conflict(
            _("%(vm)s can only be started while it is down and nobody has it.") % {"vm": vm},
            code="WRONG_STATE",
        )
    host = placement.choose(vm.memory_mib, found)
    if host is None:
        reasons = " ".join(filter(None, (placement.refusal(vm.memory_mib, one) for one in found)))
        raise Conflict(_("No host can run VM %(vm)s. %(reasons)s") % {"vm": vm, "reasons": reasons}, code="NO_HOST")
    begin_run(vm, mode=RunMode.STATEFUL, host_id=host.id)
    vm.save(update_fields=RUN_FIELDS)
    events.record("vm.started", actor=by, vm=vm, pool=vm.pool)
    jobs.wake_vm(vm.pk)


@transaction.atomic
def stop(*, vm: VirtualMachine, by: Any, at_once: bool) -> None:
    """Shut a VM down, or turn it off; a desktop in use is thereby returned."""
    vm = _lock(vm)
    if vm.run_mode is None:
        raise Conflict(_("%(vm)s is not running.") % {"vm": vm}, code="WRONG_STATE")
    _end_with_request(vm, EndReason.SHUT_DOWN, at_once=at_once)
    events.record("vm.stopping", actor=by, vm=vm, pool=vm.pool)


@transaction.atomic
def release(*, vm: VirtualMachine, by: Any) -> None:
    """Return a VM to its pool: end what it does, clean it, and offer it again, whatever held it."""
    vm = _lock(vm)
    if vm.run_mode is None and vm.hold is None:
        raise Conflict(_("%(vm)s is down and free already.") % {"vm": vm}, code="WRONG_STATE")
    VirtualMachine.objects.filter(pk=vm.pk).update(failures=0)
    if vm.defined_on_id is None or vm.hold == VmHold.CREATING:  # it could not be made: it is made anew
        VirtualMachine.objects.filter(pk=vm.pk).update(hold=VmHold.CREATING, intent_version=F("intent_version") + 1)
    else:
        _end_with_request(vm, EndReason.RETURNED, at_once=False)
    events.record("vm.released", actor=by, vm=vm, pool=vm.pool)
    jobs.wake_vm(vm.pk)


@transaction.atomic
def reboot(*, vm: VirtualMachine, by: Any) -> None:
    """Restart the guest; the run, its layer and its owner stay."""
    vm = _lock(vm)
    if vm.ready_at is None:
        raise Conflict(_("%(vm)s cannot be restarted: it is not up yet.") % {"vm": vm}, code="NOT_READY")
    events.record("desktop.restarted", actor=by, vm=vm, pool=vm.pool)
    jobs.later("broker.reboot", vm.pk, vm.run_number)


def _lock(vm: VirtualMachine) -> VirtualMachine:
    if vm.pool_id:
        locks.line(vm.pool_id)
    return VirtualMachine.objects.select_for_update(no_key=True).get(pk=vm.pk)


def _end_with_request(vm: VirtualMachine, reason: str, *, at_once: bool) -> None:
    """Write the end of a run together with that of the wish it served, if there is one."""
    request = vm.requests.select_related("user", "pool").filter(state__in=HOLDING).first()
    end_for(request, vm, reason, at_once=at_once)


def end_for(request: DesktopRequest | None, vm: VirtualMachine, reason: str, *, at_once: bool) -> None:
    """End a run under the VM's lock; the wish it served, unless that is on its way back already, ends with it."""
    end_run(vm, at_once=at_once)
    vm.save(update_fields=RUN_FIELDS)
    if request is not None and request.state != RequestState.RETURNING:
        begin_return(request, vm, reason)
    jobs.wake_vm(vm.pk)


def begin_return(request: DesktopRequest, vm: VirtualMachine, reason: str) -> None:
    """Write that a desktop is on its way back; whoever ends its run calls this in the same transaction."""
    request.move(RequestState.RETURNING, end_reason=reason, returned_at=timezone.now())
    events.record("desktop.returning", actor=request.user, request=request, vm=vm, pool=request.pool, reason=reason)
    live.request_changed(request.pk)
    live.line_changed(request.pool_id)
