"""Bring one VM where its row wants it, a step at a time (DESIGN 1.4).

Safe to run at any time, any number of times, from any worker, after any crash.
"""

import logging
import time
from uuid import UUID

from django.utils import timezone

from broker import config, events, jobs, orders
from broker.drivers import hypervisor
from broker.drivers.hypervisor import (
    DomainFacts,
    DomainState,
    HostUnreachable,
    Hypervisor,
    HypervisorError,
)
from broker.models import Host, VirtualMachine
from broker.operations import consoles, runs, turns, vm_leases
from broker.operations.vm_leases import Held, Overtaken
from broker.rules.convergence import Seen, Step, Wish, next_step
from broker.rules.pacing import BOOT, Noticed
from broker.states import WORKING, HostStatus, ReadyWhen, StartRunningOn, VmHold, VmStatus

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 0.7
# For an agent, whose coming the host tells.
FIRST_LOOK_SECONDS = 2.0
SELDOM_SECONDS = 5.0
SHARE = 0.15  # of the time that a guest has been booting
AFTER_FAILURE_SECONDS = 2.0
# More than any real chain of steps, or of wishes that change meanwhile: bounds, so that nothing can spin here.
MAX_STEPS = 12
MAX_ROUNDS = 6
# What strains a host: taken only in the VM's turn there.
HEAVY = (Step.CREATE, Step.START, Step.CLEAN, Step.REMOVE)
SERIAL_LIMIT_BYTES = 64 * 1024

STATUS = {
    DomainState.PAUSED: VmStatus.PAUSED,
    DomainState.SHUTTING_DOWN: VmStatus.POWERING_DOWN,
}


def converge(vm_id: UUID) -> None:
    """Take steps until the VM is where it should be, or something must be waited for."""
    held = vm_leases.hold(vm_id)
    if held is None:
        return
    try:
        with orders.following(events.order_behind(vm_id)), config.as_begun():
            wait = _rounds(held)
    except Overtaken:
        return  # the lease is somebody else's, who looks for himself
    finally:
        # Whatever happened, nobody waits for this lease to lapse; a lease that was let go or lost is not touched.
        vm_leases.drop(held)
    if wait is not None:
        jobs.look_again(vm_id, seconds=wait)


def _rounds(held: Held) -> float | None:
    """Look until nobody asked for another look meanwhile; Overtaken when the lease is lost."""
    for round_number in range(MAX_ROUNDS):
        if round_number:  # whoever took the lease has just looked
            vm_leases.look_again(held)
        try:
            wait = _steps(held)
        except HypervisorError as error:
            wait = _try_again_later(held, error)
        except Overtaken:
            continue  # the wish changed: the next look shows the new one, or that the lease is lost
        _leave_turn(held)
        if vm_leases.let_go(held):
            return wait
    return 0.0


def _has_turn(held: Held, host: Host) -> bool:
    mine = held.has_turn_on(host) or turns.take(vm_id=held.vm.pk, host_id=host.pk)
    held.turn_on = host.pk if mine else None  # one that waits keeps its place
    return mine


def _leave_turn(held: Held) -> None:
    """A guest that boots strains its host: until it is ready its VM keeps the turn."""
    vm = held.vm
    booting = vm.run_mode is not None and vm.run_started_at is not None and vm.ready_at is None
    if held.turn_on is not None and (held.noticed or not booting):
        turns.leave(vm_id=vm.pk, host_id=held.turn_on, noticed=held.noticed, booting=booting)
        held.noticed = []


def _try_again_later(held: Held, error: HypervisorError) -> float:
    log.warning("%s: %s", held.vm, error)
    try:
        runs.record_trouble(held, reason=str(error))
    except Overtaken:
        return 0.0
    return AFTER_FAILURE_SECONDS


def _steps(held: Held) -> float | None:
    """Seconds after which to look again; null when all is as wanted."""
    for _step in range(MAX_STEPS):
        host = _host(held.vm)
        if host is None or host.status not in WORKING:
            return None  # the host's return wakes it: until then it would only keep a worker waiting
        driver = hypervisor.connect(host.uri)
        facts = driver.domain(held.vm.pk, config.installation())
        step = next_step(_wish(held.vm), _seen(held.vm, facts, driver))
        if step == Step.REST:
            _record_at_rest(held, facts)
            return None
        if step == Step.WAIT:
            return _until_next_look(held.vm)
        if step in HEAVY and not _has_turn(held, host):
            return None  # whoever leaves one wakes it
        log.debug("%s: %s", held.vm, step.name)
        began, failures = time.monotonic(), held.vm.failures
        again = _take(step, held, facts, driver, host)
        if step in HEAVY:
            # A start that fails is not counted against a VM whose user keeps it.
            failed = held.vm.failures > failures or (step == Step.START and held.vm.run_started_at is None)
            held.noticed.append(Noticed(step.name.lower(), time.monotonic() - began, failed))
        if again is not None:
            return again
        vm_leases.keep_up(held)
    return LOOK_AGAIN_SECONDS


def _until_next_look(vm: VirtualMachine) -> float:
    """Seconds. A host tells when an agent comes, and is asked all the same, because events are lost.

    The longer a guest boots the less often: hundreds of them in the morning would keep the workers from all else.
    """
    booting = vm.run_started_at is not None and vm.ready_at is None
    if not booting or vm.template_version.ready_when != ReadyWhen.AGENT:
        return LOOK_AGAIN_SECONDS
    return min(SELDOM_SECONDS, max(FIRST_LOOK_SECONDS, SHARE * vm.running_for(timezone.now())))


def _host(vm: VirtualMachine) -> Host | None:
    """Where the VM is, or where its domain is known, or any host that can make it."""
    if vm.host is not None:
        return vm.host
    # A host in maintenance was seen to be empty: what it knows of the VM is out of date, and does no harm.
    if vm.defined_on is not None and vm.defined_on.status != HostStatus.MAINTENANCE:
        return vm.defined_on
    up = Host.objects.filter(cluster=vm.cluster_id, status=HostStatus.UP).order_by("name")
    if vm.start_running_on == StartRunningOn.SPECIFIC:
        return up.filter(pk__in=[host.pk for host in vm.hosts.all()]).first() or up.first()
    return up.first()


def _wish(vm: VirtualMachine) -> Wish:
    now = timezone.now()
    asked = None if vm.stop_asked_at is None else (now - vm.stop_asked_at).total_seconds()
    return Wish(
        runs=vm.run_mode is not None,
        halted=vm.halted,
        suspended=vm.suspended,
        run_number=vm.run_number,
        hold=vm.hold,
        seen_running=vm.run_started_at is not None,
        ready=vm.ready_at is not None,
        running_seconds=vm.running_for(now),
        start_timeout_seconds=vm.template_version.start_timeout_seconds,
        stop_at_once=vm.stop_at_once,
        stop_asked_seconds=asked,
        graceful_seconds=config.get("VmGracefulShutdownTimeout"),
    )


def _seen(vm: VirtualMachine, facts: DomainFacts | None, driver: Hypervisor) -> Seen:
    if facts is None:
        return Seen(state=None, run=0, guest_ready=False)
    pending = vm.run_mode is not None and vm.run_started_at is not None and vm.ready_at is None
    ready = pending and facts.state == DomainState.RUNNING and _guest_ready(vm, driver)
    return Seen(state=facts.state, run=facts.run, guest_ready=ready)


def _guest_ready(vm: VirtualMachine, driver: Hypervisor) -> bool:
    """What the template calls ready: the display alone comes long before the guest has booted."""
    version = vm.template_version
    if version.ready_when == ReadyWhen.DELAY:
        return vm.running_for(timezone.now()) >= version.ready_delay_seconds
    if version.ready_when == ReadyWhen.SERIAL:
        written = driver.read_volume(vm.console_log(), SERIAL_LIMIT_BYTES)
        return version.ready_text.encode() in written
    return driver.guest_agent_answers(vm.pk, config.installation())


def _take(step: Step, held: Held, facts: DomainFacts | None, driver: Hypervisor, host: Host) -> float | None:
    """One step. Null: look at once for the next; else the seconds to wait first."""
    installation = config.installation()
    match step:
        case Step.CREATE:
            return _create(held, driver, host)
        case Step.START:
            return _start(held, driver, host)
        case Step.SEE_RUNNING:
            assert facts is not None
            runs.record_running(held, facts=facts)
        case Step.SEE_READY:
            held.noticed.append(Noticed(BOOT, held.vm.running_for(timezone.now())))
            runs.record_ready(held)
        case Step.GIVE_UP_START:
            held.noticed.append(Noticed(BOOT, held.vm.running_for(timezone.now()), failed=True))
            runs.record_start_failed(held, reason="Its guest was not ready in time.")
        case Step.END_RUN:
            crashed = facts is None or facts.state == DomainState.CRASHED
            runs.record_run_ended(held, crashed=crashed)
        case Step.ASK_TO_STOP:
            # Written first: a display or a guest that hangs must not put off the end of its time.
            runs.record_stop_asked(held)
            assert facts is not None
            _ask_to_stop(held, driver, facts)
        case Step.TURN_OFF:
            assert facts is not None
            driver.destroy(held.vm.pk, installation, run=facts.run)
        case Step.SUSPEND:
            driver.suspend(held.vm.pk, installation, run=held.vm.run_number)
        case Step.RESUME:
            driver.resume(held.vm.pk, installation, run=held.vm.run_number)
            return AFTER_FAILURE_SECONDS  # what paused it may pause it again
        case Step.REMOVE:
            return _remove(held, driver)
        case Step.CLEAN:
            runs.clean_on_host(held, driver=driver, host=host)
            runs.record_clean(held)
    return None


def _ask_to_stop(held: Held, driver: Hypervisor, facts: DomainFacts) -> None:
    try:
        consoles.close_on_host(driver=driver, vm=held.vm, run=facts.run)
        driver.shutdown(held.vm.pk, config.installation(), run=facts.run)
    except HostUnreachable:
        raise
    except HypervisorError as error:
        # What cannot be closed is turned off: a viewer must not stay in a desktop that was returned.
        log.warning("%s is turned off: %s", held.vm, error)
        driver.destroy(held.vm.pk, config.installation(), run=facts.run)


def _create(held: Held, driver: Hypervisor, host: Host) -> float | None:
    try:
        runs.create_on_host(held, driver=driver, host=host)
    except HostUnreachable:
        raise
    except HypervisorError as error:
        runs.record_create_failed(held, reason=str(error))
        return AFTER_FAILURE_SECONDS if held.vm.hold == VmHold.CREATING else None
    runs.record_created(held)
    return None


def _remove(held: Held, driver: Hypervisor) -> float | None:
    try:
        runs.remove_on_host(held, driver=driver)
    except HostUnreachable:
        raise
    except HypervisorError as error:
        runs.record_remove_failed(held, reason=str(error))
        return AFTER_FAILURE_SECONDS if held.vm.hold == VmHold.REMOVING else None
    runs.record_removed(held)
    _leave_turn(held)
    return None


def _start(held: Held, driver: Hypervisor, host: Host) -> float | None:
    _forget_elsewhere(held, host)
    log.info("%s starts on %s (run %s).", held.vm, host, held.vm.run_number, extra={"vm": held.vm.pk})
    try:
        facts = runs.start_on_host(held, driver=driver)
    except HostUnreachable:
        raise
    except HypervisorError as error:
        runs.record_start_failed(held, reason=str(error))
        return None
    runs.record_running(held, facts=facts)
    return _until_next_look(held.vm) if held.vm.template_version.ready_when == ReadyWhen.AGENT else None


def _forget_elsewhere(held: Held, host: Host) -> None:
    """A domain is defined on one host only: where it runs next."""
    former = held.vm.defined_on
    if former is None or former.pk == host.pk:
        return
    try:
        driver = hypervisor.connect(former.uri)
        # Whatever is on there is an earlier run, started late by a call that outlived its worker.
        driver.destroy(held.vm.pk, config.installation())
        driver.undefine(held.vm.pk, config.installation())
    except HypervisorError as error:
        log.warning("%s stays defined on %s: %s", held.vm, former, error)


def _record_at_rest(held: Held, facts: DomainFacts | None) -> None:
    if facts is None or facts.state in (DomainState.OFF, DomainState.CRASHED):
        if held.vm.halted:
            runs.record_halted(held)
        runs.record_status(held, status=VmStatus.DOWN)
    else:
        runs.record_status(held, status=STATUS.get(facts.state, VmStatus.UP))
