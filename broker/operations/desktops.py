"""Take a desktop, stand in line for it, be served in order, give it back."""

import logging
from collections import deque
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from broker import access, config, events, jobs, live, locks, orders
from broker.errors import Busy, Conflict, Invalid
from broker.models import (
    UNASSIGNED,
    Allocation,
    DesktopRequest,
    Event,
    Line,
    Pool,
    VirtualMachine,
    verdicts,
    write_all,
)
from broker.operations import allocations, consoles, deadlines, hosts, intents, vms
from broker.rules import placement
from broker.states import LIVE, NOT_READY, Ending, EndReason, OfferRule, RequestState, RunMode

log = logging.getLogger(__name__)

MOST_PROBLEM = 2000  # characters
MOST_REASON = 300
BATCH = 100  # people served under one lock
SPARE = 20  # VMs looked at beyond that, for those that no host can run now
KEY_LIFETIME = timedelta(hours=24)
ASSIGNED_FIELDS = (
    *("vm", "vm_name", "state", "waited", "allocation", "rule", "certificate"),
    *("assigned_at", "placed_at", "disk_ready_at", "started_at", "ready_at"),
    *deadlines.PLAN,
)
MAINTENANCE_SECONDS = 300  # after which asking again makes sense


def take(*, user: Any, pool: Pool, idempotency_key: str | None = None) -> tuple[DesktopRequest, bool]:
    """Ask for a desktop; returns the wish and whether it is new. A VM is matched with it by a worker, at once.

    A repeat with the same key within a day is answered with the same wish. Conflict when the user has or waits for
    `max_vms_per_user` desktops of this pool already (R060), Busy during maintenance.
    """
    notice = config.get("MaintenanceNotice")
    try:
        return _take(user, pool, idempotency_key, notice)
    except IntegrityError:
        # The line keeps the repeats in one pool apart; the same key at the same moment for another pool is not kept.
        if idempotency_key:
            _earlier(user, pool, idempotency_key)
        raise


@transaction.atomic
def _take(user: Any, pool: Pool, idempotency_key: str | None, notice: str) -> tuple[DesktopRequest, bool]:
    """All that is done while others wait for the line: no more than must be."""
    line = locks.line(pool.pk)
    pool = line.pool
    if pool.removing:
        raise Conflict(_("This pool is being removed."), code="POOL_REMOVED")
    if idempotency_key:
        earlier = _earlier(user, pool, idempotency_key)
        if earlier is not None:
            return earlier, False
    if notice:
        raise Busy(notice, code="MAINTENANCE", retry_after=MAINTENANCE_SECONDS)
    used = set(DesktopRequest.objects.filter(pool=pool, user=user, state__in=LIVE).values_list("slot", flat=True))
    if len(used) >= pool.max_vms_per_user:
        raise Conflict(
            _("User is already attached to maximum number of VMs from this VM-Pool."), code="LIMIT_REACHED"
        )
    request = DesktopRequest(
        pool=pool,
        pool_name=pool.name,
        user=user,
        ticket=line.next_ticket,
        slot=next(slot for slot in range(1, pool.max_vms_per_user + 1) if slot not in used),
        idempotency_key=idempotency_key or None,
        language=get_language() or "",
    )
    request.save(force_insert=True)
    Line.objects.filter(pk=pool.pk).update(next_ticket=line.next_ticket + 1)
    events.record("desktop.asked", actor=user, request=request, pool=pool, ticket=request.ticket)
    jobs.wake_pool(pool.pk)
    live.line_changed(pool.pk)
    return request, True


def _earlier(user: Any, pool: Pool, key: str) -> DesktopRequest | None:
    earlier = DesktopRequest.objects.filter(user=user, idempotency_key=key).first()
    if earlier is None:
        return None
    if earlier.requested_at < timezone.now() - KEY_LIFETIME:
        DesktopRequest.objects.filter(pk=earlier.pk).update(idempotency_key=None)
        return None
    if earlier.pool_id != pool.pk:
        raise Conflict(
            _("This Idempotency-Key was used for another pool. Use a new one for each wish."),
            code="IDEMPOTENCY_KEY_REUSED",
        )
    return earlier


@transaction.atomic
def serve(*, pool_id: UUID) -> bool:
    """Match the head of the line with the pool's free VMs, in order; True when there may be more to do.

    The pool's line is locked, so nobody is overtaken (I2) and no VM is given twice (I1).
    """
    line = locks.line(pool_id)
    unserved = DesktopRequest.objects.filter(pool=pool_id).unserved().in_order()
    waiting = deque(unserved.select_related("user", "pool__cluster")[:BATCH])
    if not waiting:
        return False
    pool = waiting[0].pool
    assert pool is not None
    found = hosts.candidates(pool.cluster_id)
    seen = [{"name": host.name, "status": host.status, "free_mib": max(host.free_mib, 0)} for host in found]
    members = VirtualMachine.objects.filter(pool=pool)
    free = members.offerable().placeable(*hosts.room(found)).best_first()
    locked = free.select_for_update(no_key=True, of=("self",)).prefetch_related("hosts")
    rows = list(locked[: len(waiting) + SPARE])
    served, started = [], []
    for vm in rows:
        if not waiting:
            break
        rule = _rule(vm)
        if vm.run_mode is None:
            host = placement.choose(vm.memory_mib, found, hosts.allowed(vm))
            if host is None:
                continue
            host.reserved_mib += vm.memory_mib
            intents.begin_run(vm, mode=RunMode.STATELESS, host_id=host.id)
            started.append(vm)
        served.append(_assign(waiting.popleft(), vm, rule, line))
    if waiting:
        # Whoever is left had to wait from now on, with all who came after.
        Line.objects.filter(pk=line.pk).update(waited_below=line.next_ticket)
    counts = verdicts(members)
    unplaced = counts.get("off", 0) - len(started)
    if waiting and unplaced > 0:
        # Somebody waits on, so whatever is off and was not started had no host.
        counts |= {"no_room": unplaced, "off": len(started)}
    allocation = allocations.keep(pool, counts, seen, assigned=len(served), waiting=len(waiting))
    _save(served, started, pool, allocation)
    return len(served) == BATCH


def _rule(vm: VirtualMachine) -> OfferRule:
    """Which rule puts a VM where it is among those that are offered."""
    if vm.run_mode is None:
        return OfferRule.OFF
    return OfferRule.STARTING if vm.ready_at is None else OfferRule.READY


def _assign(request: DesktopRequest, vm: VirtualMachine, rule: OfferRule, line: Line) -> DesktopRequest:
    request.vm = vm
    request.vm_name = vm.name
    request.rule = rule
    request.waited = request.waited or request.ticket < line.waited_below
    request.assigned_at = timezone.now()
    request.placed_at = vm.placed_at
    request.disk_ready_at = vm.disk_ready_at
    request.started_at = vm.run_started_at
    request.certificate_id = vm.layer_key
    if vm.ready_at is None:
        request.state = RequestState.STARTING
    else:
        request.state = RequestState.READY
        request.ready_at = request.assigned_at
    return request


def _save(
    served: list[DesktopRequest], started: list[VirtualMachine], pool: Pool, allocation: Allocation | None
) -> None:
    if not served:
        return
    limits = deadlines.limits_of(pool)
    for request in served:
        request.allocation = allocation
        if request.state == RequestState.READY:
            deadlines.plan(request, limits, timezone.now())
    write_all(started, intents.RUN_FIELDS)
    write_all(served, ASSIGNED_FIELDS)
    written = []
    came_with = events.orders_of(request.pk for request in served)
    for request in served:
        is_ready = request.state == RequestState.READY
        kinds = ["desktop.assigned", "desktop.ready"] if is_ready else ["desktop.assigned"]
        about: dict[str, Any] = {"actor": request.user, "request": request, "pool": pool, "vm": request.vm}
        with orders.following(came_with.get(request.pk)):
            written += [events.compose(kind, **about) for kind in kinds]
            if is_ready and request.mail_asked:
                jobs.later("broker.mail_ready", request.pk)
            if request.vm is not None and request.rule == OfferRule.OFF:
                jobs.wake_vm(request.vm.pk)
        live.request_changed(request.pk)
    Event.objects.bulk_create(written)
    live.line_changed(pool.pk)


@transaction.atomic
def give_back(*, request: DesktopRequest, by: Any = None, reason: str = "") -> None:
    """Leave the line, or return the desktop: its viewer is thrown out and what was written is destroyed (R018).

    In a manual pool the return is asked for, and an administrator does it (R065). Asking again while it is on its way
    changes nothing; Conflict when it has ended already. `by` is whoever returns it for its user, who reads the
    `reason`; places in line are given up by nobody else.
    """
    if len(reason) > MOST_REASON:
        raise Invalid(_("Say it in at most %(most)s characters.") % {"most": MOST_REASON}, field="reason")
    _lock_line(request)
    request, vm = locks.wish_with_vm(request)
    by = by or request.user
    if request.state == RequestState.ENDED:
        raise Conflict(_("This desktop was given back already."), code="ENDED")
    if request.state == RequestState.RETURNING:
        return
    if vm is None and by.pk != request.user_id:
        text = _("%(user)s is still in line and keeps the place: only desktops can be returned for others.")
        raise Conflict(text % {"user": request.user}, code="IN_LINE")
    if vm is None:
        _leave_line(request, EndReason.CANCELLED, "desktop.cancelled")
        return
    if by.pk != request.user_id:
        _return_for(request, vm, by, reason.strip())
    if vms.keeps_its_user(vm):
        _ask_for_return(request, vm, by)
        return
    # A guest that nobody has seen yet has nothing to save: it is turned off at once.
    intents.end_for(request, vm, EndReason.RETURNED, at_once=request.state == RequestState.STARTING, by=by)


def _return_for(request: DesktopRequest, vm: VirtualMachine, by: Any, reason: str) -> None:
    """Its user reads who returned it, and why."""
    request.returned_by, request.return_reason = by, reason
    DesktopRequest.objects.filter(pk=request.pk).update(returned_by=by, return_reason=reason)
    about = {"request": request, "vm": vm, "pool": request.pool, "holder": request.user, "reason": reason or "–"}
    events.record("desktop.returned_for", actor=by, severity=Event.Severity.WARNING, **about)


@transaction.atomic
def ask_back(*, request: DesktopRequest, by: Any) -> None:
    """Ask whoever has a desktop to return it: on its page, by notification and on its screen. Again asks again."""
    request, vm = locks.wish_with_vm(request)
    if request.state != RequestState.READY or vm is None:
        raise Conflict(_("Nobody has this desktop in hand now."), code="NOT_READY")
    DesktopRequest.objects.filter(pk=request.pk).update(asked_back_at=timezone.now(), asked_back_by=by)
    about = {"request": request, "vm": vm, "pool": request.pool, "holder": request.user}
    events.record("desktop.asked_back", actor=by, **about)
    live.request_changed(request.pk)
    jobs.later("broker.tell_asked_back", request.pk)
    if request.pool_id is not None:
        live.line_changed(request.pool_id)


@transaction.atomic
def end_with_shift(*, request: DesktopRequest) -> None:
    """End the wish of somebody whose shift is over and who has no desktop in hand yet; else change nothing."""
    _lock_line(request)
    request, vm = locks.wish_with_vm(request)
    if request.state not in NOT_READY:
        return
    now = timezone.now()
    DesktopRequest.objects.filter(pk=request.pk).update(ending=Ending.SHIFT, ends_at=now)
    if vm is None:
        _leave_line(request, EndReason.EXPIRED, "desktop.left_by_shift")
    else:
        intents.end_for(request, vm, EndReason.EXPIRED, at_once=True)


def _leave_line(request: DesktopRequest, reason: str, kind: str) -> None:
    request.move(RequestState.ENDED, end_reason=reason, ended_at=timezone.now())
    events.record(kind, actor=request.user, request=request, pool=request.pool)
    live.request_changed(request.pk)
    if request.pool_id is not None:
        live.line_changed(request.pool_id)


@transaction.atomic
def end_unpermitted(*, request_id: UUID) -> None:
    """End the wish of somebody who may not use the pool any more: place and desktop are gone at once (R146).

    In a manual pool the desktop is kept for an administrator to return, and only its display is closed.
    """
    request = DesktopRequest.objects.get(pk=request_id)
    _lock_line(request)
    request, vm = locks.wish_with_vm(request)
    pool = request.pool
    if request.state not in LIVE or pool is None or access.can(request.user, "use_pool", pool):
        return
    if vm is None:
        _leave_line(request, EndReason.REVOKED, "desktop.revoked")
    elif vms.keeps_its_user(vm):
        DesktopRequest.objects.filter(pk=request.pk, revoked_at=None).update(revoked_at=timezone.now())
        consoles.revoke_all(vm, request.user)
        events.record("desktop.kept", actor=request.user, request=request, vm=vm, pool=pool)
        live.request_changed(request.pk)
    else:
        intents.end_for(request, vm, EndReason.REVOKED, at_once=True)


def _lock_line(request: DesktopRequest) -> None:
    if request.pool_id is not None:  # the pool of a wish that has ended may be gone
        locks.line(request.pool_id)


def _ask_for_return(request: DesktopRequest, vm: VirtualMachine, by: Any) -> None:
    if request.return_asked_at is not None:
        return
    DesktopRequest.objects.filter(pk=request.pk).update(return_asked_at=timezone.now())
    events.record("desktop.return_asked", actor=by, request=request, vm=vm, pool=request.pool)
    live.request_changed(request.pk)


@transaction.atomic
def restart(*, request: DesktopRequest) -> None:
    """Restart the guest of a desktop in use, or start it again where a manual pool's was shut down (R066).

    What was written stays until it is returned.
    """
    if request.pool is not None:
        access.require(request.user, "use_pool", request.pool)
    _lock_line(request)
    halted = VirtualMachine.objects.filter(requests=request, halted=True)
    found = [host for cluster in halted.values_list("cluster", flat=True) for host in hosts.candidates(cluster)]
    request, vm = locks.wish_with_vm(request)
    if request.state != RequestState.READY or vm is None:
        raise Conflict(_("The desktop can be restarted once it is ready."), code="NOT_READY")
    if not vm.halted:
        vms.reboot(vm=vm, by=request.user)
        return
    if vm.host_id is not None:
        raise Conflict(_("The desktop is still shutting down. Try again in a moment."), code="NOT_READY")
    intents.switch_on(vm, host_id=vms.host_for(vm, found).id)
    vm.save(update_fields=intents.RUN_FIELDS)
    events.record("desktop.switched_on", actor=request.user, request=request, vm=vm, pool=request.pool)
    jobs.wake_vm(vm.pk)
    live.request_changed(request.pk)


@transaction.atomic
def report_problem(*, request: DesktopRequest, text: str) -> None:
    """Tell the help desk what is wrong with a desktop; how it came to be goes with it. Invalid for an empty text."""
    text = text.strip()
    if not text:
        raise Invalid(_("Say in a few words what is wrong."), field="text")
    if len(text) > MOST_PROBLEM:
        raise Invalid(_("Say it in at most %(most)s characters.") % {"most": MOST_PROBLEM}, field="text")
    moments = ("requested_at", "assigned_at", "started_at", "ready_at", "connected_at", "returned_at", "ended_at")
    timeline = ", ".join(f"{name} {at:%H:%M:%S}" for name in moments if (at := getattr(request, name)) is not None)
    events.record(
        "desktop.problem",
        actor=request.user,
        request=request,
        pool=request.pool,
        vm=request.vm,
        severity=Event.Severity.WARNING,
        text=text,
        state=request.state,
        timeline=timeline,
        vm_name=request.vm_name,
    )


@transaction.atomic
def recover(*, request_id: UUID) -> None:
    """Free a wish from a VM that does nothing for it; that this is needed at all is a defect of ours, and logged."""
    line = DesktopRequest.objects.values_list("pool", flat=True).get(pk=request_id)
    locks.line(line)
    request, vm = locks.wish_with_vm(DesktopRequest(pk=request_id))
    if vm is None or not DesktopRequest.objects.abandoned().filter(pk=request_id).exists():
        return
    log.error("%s was abandoned in state %s on %s", request, request.state, vm)
    if request.state == RequestState.STARTING:
        DesktopRequest.objects.filter(pk=request_id).update(**UNASSIGNED)
    elif request.state == RequestState.READY:
        intents.end_for(request, vm, EndReason.FAILED, at_once=True)
    else:
        request.move(RequestState.ENDED, ended_at=timezone.now())
    jobs.wake_pool(line)
    live.request_changed(request_id)
