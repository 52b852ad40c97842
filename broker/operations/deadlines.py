"""The time of a desktop: it runs, its user is warned, may put it off once, and then it goes to the next."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from broker import config, events, jobs, live, locks
from broker.drivers import hypervisor
from broker.drivers.hypervisor import HostUnreachable, HypervisorError
from broker.errors import Conflict
from broker.models import ConsoleSession, DesktopRequest, Host, Pool, VirtualMachine
from broker.operations import intents
from broker.rules import deadlines as rules
from broker.rules.deadlines import Deadline, Limits, Told, Use
from broker.states import WORKING, ConsoleKind, Ending, EndReason, RequestState

log = logging.getLogger(__name__)

PLAN = ("ends_at", "ending", "look_at", "warned_minutes")
SCREEN = ConsoleKind.GRAPHICAL
SHOWN = timedelta(seconds=10)  # in which a guest has surely shown what it was told


def limits_of(pool: Pool) -> Limits:
    """What applies to the desktops of a pool this moment; three queries."""

    def minutes(count: int | None) -> timedelta | None:
        return None if count is None else timedelta(minutes=count)

    return Limits(
        hold=timedelta(minutes=config.get("HoldMinutes")),
        connect=timedelta(minutes=config.get("ConnectMinutes")),
        disconnected=minutes(pool.disconnect_grace_minutes),
        session=minutes(pool.max_session_minutes),
        idle=minutes(pool.idle_limit_minutes),
        extension=minutes(pool.extension_minutes),
        first_minutes=config.get("WarningMinutes"),
    )


def use_of(request: DesktopRequest) -> Use:
    """What was seen of a desktop that is ready."""
    assert request.ready_at is not None
    return Use(
        waited=request.waited,
        ready_at=request.ready_at,
        connected_at=request.connected_at,
        viewer_left_at=request.viewer_left_at,
        busy_at=request.busy_at,
        extended=frozenset(request.extended),
        shift_ends_at=request.shift_ends_at,
    )


def plan(request: DesktopRequest, limits: Limits, now: datetime) -> dict[str, Any]:
    """In memory: what its columns of PLAN are to be from now on; warnings begin anew when its end moves."""
    end = _end(request, limits, now)
    planned: dict[str, Any] = dict.fromkeys(PLAN)
    if end is not None:
        first = limits.first_minutes
        is_same = (request.ends_at, request.ending) == (end.at, end.kind)
        warned = request.warned_minutes if is_same else None
        is_late = rules.warning_due(end, now, first_minutes=first, warned=warned) is not None
        due = now if is_late else rules.look_at(end, now, first_minutes=first)
        planned = {"ends_at": end.at, "ending": end.kind, "look_at": due, "warned_minutes": warned}
    for name, value in planned.items():
        setattr(request, name, value)
    return planned


def _end(request: DesktopRequest, limits: Limits, now: datetime) -> Deadline | None:
    """When it is taken back by what was seen of it, and not before its user was warned."""
    end = rules.deadline(use_of(request), limits)
    if end is None:
        return None
    told = Told(request.ending, request.ends_at, request.warned_minutes is not None)
    return rules.with_notice(end, told, now, first_minutes=limits.first_minutes)


def _save(request: DesktopRequest, limits: Limits, **changed: Any) -> None:
    """Write what was seen of a desktop whose VM is locked, and what follows for its time."""
    for name, value in changed.items():
        setattr(request, name, value)
    planned = plan(request, limits, timezone.now())
    DesktopRequest.objects.filter(pk=request.pk, state=RequestState.READY).update(**changed, **planned)
    live.request_changed(request.pk)


def _ready(request: DesktopRequest) -> tuple[DesktopRequest, VirtualMachine | None]:
    """Its wish and its VM, locked; no VM for what is not in its user's hands."""
    request, vm = locks.wish_with_vm(request)
    return request, vm if request.state == RequestState.READY and request.pool is not None else None


@transaction.atomic
def extend(*, request: DesktopRequest) -> None:
    """Put the end of a desktop off, once for each reason (SC 2.2.1); again changes nothing.

    Conflict when nothing ends it, or the pool allows no more time.
    """
    request, vm = _ready(request)
    if vm is None or request.pool is None or request.ending is None:
        raise Conflict(_("There is nothing to put off: the time of this desktop is not running."), code="NO_DEADLINE")
    if request.ending in request.extended:
        return
    if not rules.may_extend(request.ending, request.extended, request.pool.extension_minutes):
        raise Conflict(_("This pool does not allow more time. Save your work elsewhere."), code="NOT_EXTENDABLE")
    _save(request, limits_of(request.pool), extended=[*request.extended, request.ending])
    events.record("desktop.extended", actor=request.user, request=request, vm=vm, pool=request.pool)


def set_shift_end(*, request: DesktopRequest, at: datetime | None) -> None:
    """When the shift that a wish belongs to takes its desktop back; null for never. Called behind the pool's line."""
    if request.shift_ends_at == at:
        return
    request, vm = _ready(request)
    if vm is not None and request.pool is not None:
        _save(request, limits_of(request.pool), shift_ends_at=at)
    else:
        DesktopRequest.objects.filter(pk=request.pk).update(shift_ends_at=at)


@transaction.atomic
def record_viewers(*, vm_id: UUID, viewers: int, run: int | None = None) -> None:
    """So many people look at a desktop in use; when the first came and the last left is kept.

    `run`: that the host was asked about; of another one, which is somebody else's by now, it tells nothing.
    """
    found = DesktopRequest.objects.filter(vm=vm_id, state=RequestState.READY).first()
    if found is None:
        return
    request, vm = _ready(found)
    if vm is None or request.pool is None or vm.pk != vm_id or run not in (None, vm.run_number):
        return
    # A display has one viewer: while somebody else looks, it is not its user who came, or is there.
    if viewers and ConsoleSession.objects.seen().of_watchers().filter(request=request, kind=SCREEN).exists():
        return
    about = {"actor": request.user, "request": request, "pool": request.pool, "vm": vm}
    now = timezone.now()
    if viewers and request.connected_at is None:
        _save(request, limits_of(request.pool), connected_at=now, viewer_left_at=None)
        events.record("desktop.connected", **about)
    elif viewers and request.viewer_left_at is not None:
        again = [kind for kind in request.extended if kind != Ending.DISCONNECTED]
        _save(request, limits_of(request.pool), viewer_left_at=None, extended=again)
        events.record("desktop.viewer_back", **about)
    elif not viewers and request.connected_at is not None and request.viewer_left_at is None:
        _save(request, limits_of(request.pool), viewer_left_at=now)
        events.record("desktop.viewer_left", **about)


def record_activity(*, host: Host, processor_ns: dict[UUID, int]) -> None:
    """Which desktops did something since the last look, told from the time that their processors ran.

    Of one that was not looked at before in this run nobody knows: it counts as busy. To show a warning keeps a guest
    busy as well, and is nobody's work: or none would ever be idle for longer than it takes until it is warned.
    """
    watched = DesktopRequest.objects.filter(
        vm__host=host, vm__in=list(processor_ns), state=RequestState.READY, pool__idle_limit_minutes__isnull=False
    )
    now, percent = timezone.now(), config.get("IdleProcessorPercent")
    seen: list[VirtualMachine] = []
    limits: dict[UUID, Limits] = {}
    for request in watched.select_related("vm", "pool"):
        vm, pool = request.vm, request.pool
        assert vm is not None and pool is not None
        share = _share(vm, processor_ns[vm.pk], now)
        shows = vm.told_at and vm.processor_seen_at and vm.processor_seen_at < vm.told_at + SHOWN
        vm.processor_ns, vm.processor_seen_at = processor_ns[vm.pk], now
        seen.append(vm)
        if share is not None and (share * 100 < percent or shows):
            continue
        # Whoever changed its time this moment is looked at again at the next look.
        as_read = {name: getattr(request, name) for name in ("ends_at", "warned_minutes", "viewer_left_at")}
        unchanged = DesktopRequest.objects.filter(pk=request.pk, state=RequestState.READY, **as_read)
        request.busy_at = now
        request.extended = [kind for kind in request.extended if kind != Ending.IDLE]
        limits[pool.pk] = limits.get(pool.pk) or limits_of(pool)
        planned = plan(request, limits[pool.pk], now)
        unchanged.update(busy_at=now, extended=request.extended, **planned)
        if as_read["warned_minutes"] is not None:
            live.request_changed(request.pk)
    VirtualMachine.objects.bulk_update(seen, ("processor_ns", "processor_seen_at"))


def _share(vm: VirtualMachine, processor_ns: int, now: datetime) -> float | None:
    """How much of one processor it used since the last look; null when there was none in this run."""
    if vm.processor_ns is None or vm.processor_seen_at is None or processor_ns < vm.processor_ns:
        return None
    if vm.run_started_at is None or vm.processor_seen_at < vm.run_started_at:
        return None
    seconds = (now - vm.processor_seen_at).total_seconds()
    return (processor_ns - vm.processor_ns) / (seconds * 1e9) if seconds > 0 else 0.0


def limits_changed(pool: Pool) -> None:
    """The limits of a pool act at once on the desktops that are in use; its line is locked."""
    limits, now = limits_of(pool), timezone.now()
    in_use = DesktopRequest.objects.filter(pool=pool, state=RequestState.READY)
    # Whoever writes down this moment what was seen of one reads the pool behind the lock of its VM.
    vms = VirtualMachine.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=in_use.values("vm"))
    list(vms.order_by("pk").values_list("pk"))
    changed = list(in_use)
    for request in changed:
        plan(request, limits, now)
        live.request_changed(request.pk)
    DesktopRequest.objects.bulk_update(changed, PLAN, batch_size=500)


# -- when the time has come ---------------------------------------------------------------------------


def due(now: datetime, *, most: int) -> Iterable[UUID]:
    """The keys of desktops of which a warning, or the end, is due, the longest overdue first.

    Those of a silent host wait for its answer: only it knows who looks, and asking it would keep workers waiting.
    """
    rows = DesktopRequest.objects.filter(state=RequestState.READY, look_at__lte=now).order_by("look_at", "pk")
    rows = rows.filter(Q(vm__host=None) | Q(vm__host__status__in=WORKING))
    return rows.values_list("pk", flat=True)[:most]


@transaction.atomic
def act(*, request_id: UUID) -> None:
    """Warn, or take the desktop back, if it is time for that by what the rows say now; else look again when it is."""
    found = DesktopRequest.objects.filter(pk=request_id).first()
    if found is None:
        return
    if found.pool_id is not None:
        locks.line(found.pool_id)
    request, vm = _ready(found)
    if vm is None or request.pool is None:
        return
    if vm.halted:
        # Its user shut it down and keeps it: of manual pools an administrator returns it.
        DesktopRequest.objects.filter(pk=request.pk).update(**dict.fromkeys(PLAN))
        return
    now, limits = timezone.now(), limits_of(request.pool)
    end = _end(request, limits, now)
    if end is not None and end.at <= now:
        _take_back(request, vm, end)
        return
    plan(request, limits, now)
    first = limits.first_minutes
    minutes = end and rules.warning_due(end, now, first_minutes=first, warned=request.warned_minutes)
    if end is not None and minutes:
        request.warned_minutes = minutes
        request.look_at = rules.look_at(end, now, first_minutes=first)
        _warn(request, vm, minutes)
    request.save(update_fields=PLAN)


def _take_back(request: DesktopRequest, vm: VirtualMachine, end: Deadline) -> None:
    request.ending, request.ends_at = end.kind, end.at
    DesktopRequest.objects.filter(pk=request.pk).update(ending=end.kind, ends_at=end.at)
    # Where nobody ever was there is nothing to save.
    intents.end_for(request, vm, EndReason.EXPIRED, at_once=end.kind in rules.UNUSED)


def _warn(request: DesktopRequest, vm: VirtualMachine, minutes: int) -> None:
    about = {"actor": request.user, "request": request, "vm": vm, "pool": request.pool}
    events.record("desktop.warned", minutes=minutes, **about)
    live.request_changed(request.pk)
    if request.ending in rules.SOMEBODY_WORKS:
        jobs.later("broker.tell_guest", request.pk)


# -- on the host --------------------------------------------------------------------------------------


def _ready_vm(vm_id: UUID) -> VirtualMachine | None:
    """The VM with its host; null unless its guest has booted, for before that there is nothing to see."""
    return VirtualMachine.objects.select_related("host").filter(pk=vm_id, ready_at__isnull=False).first()


def look_at_display_on_host(*, vm_id: UUID) -> None:
    """Ask the host who looks at a desktop, and write it down: events that tell of it may be lost."""
    vm = _ready_vm(vm_id)
    if vm is None or vm.host is None:
        return
    driver = hypervisor.connect(vm.host.uri)
    viewers = driver.viewers(vm.pk, config.installation(), run=vm.run_number)
    record_viewers(vm_id=vm_id, viewers=viewers, run=vm.run_number)


def displays_to_look_at(host: Host) -> QuerySet[DesktopRequest]:
    """Desktops whose time depends on who looks at them, or where nobody came yet: events that tell of it may be lost.

    Whoever came may go before the time is over.
    """
    in_use = DesktopRequest.objects.filter(vm__host=host, vm__ready_at__isnull=False, state=RequestState.READY)
    return in_use.filter(Q(pool__disconnect_grace_minutes__isnull=False) | Q(connected_at=None))


def look_at_displays_on_host(*, host: Host) -> None:
    """Ask the host who looks at which of them, and write down what differs from what was seen before."""
    driver, installation = hypervisor.connect(host.uri), config.installation()
    seen = ("connected_at", "viewer_left_at", "vm__name", "vm__run_number")
    for request in displays_to_look_at(host).select_related("vm").only(*seen).order_by("pk"):
        vm = request.vm
        assert vm is not None
        try:
            viewers = driver.viewers(vm.pk, installation, run=vm.run_number)
        except HostUnreachable:
            raise
        except HypervisorError as error:
            log.warning("nobody knows who looks at %s: %s", vm, error)
            continue
        was_there = request.connected_at is not None and request.viewer_left_at is None
        if bool(viewers) != was_there:
            record_viewers(vm_id=vm.pk, viewers=viewers, run=vm.run_number)


def look_at_work_on_host(*, vm_id: UUID) -> None:
    """Ask the host whether anything happened on a desktop: the monitor may not have looked for long."""
    vm = _ready_vm(vm_id)
    if vm is None or vm.host is None:
        return
    times = hypervisor.connect(vm.host.uri).processor_times(config.installation())
    if vm_id in times:
        record_activity(host=vm.host, processor_ns={vm_id: times[vm_id]})


def tell_guest_on_host(*, request_id: UUID) -> None:
    """Say the last warning on the desktop itself, in its user's language; where its guest cannot, the page has it."""
    request = DesktopRequest.objects.select_related("vm__host").get(pk=request_id)
    vm = request.vm
    if request.state != RequestState.READY or vm is None or vm.host is None or request.ending is None:
        return
    with translation.override(request.language or None):
        text = rules.warning(request.ending, request.warned_minutes or rules.LAST_WARNING_MINUTES)
    say_on_host(vm, text)


def tell_asked_back_on_host(*, request_id: UUID) -> None:
    """Say on the desktop that somebody asks for its return, in its user's language."""
    request = DesktopRequest.objects.select_related("vm__host", "asked_back_by").get(pk=request_id)
    if request.state != RequestState.READY or request.vm is None or request.asked_back_at is None:
        return
    with translation.override(request.language or None):
        text = rules.asked_back(request.asked_back_by)
    say_on_host(request.vm, text)


def say_on_host(vm: VirtualMachine, text: str) -> None:
    """Show a text on the screen of a desktop; what its guest cannot show is on its page."""
    if vm.host is None:
        return
    VirtualMachine.objects.filter(pk=vm.pk).update(told_at=timezone.now())
    try:
        hypervisor.connect(vm.host.uri).tell(vm.pk, config.installation(), text, run=vm.run_number)
    except HypervisorError as error:
        log.warning("%s was not told on its screen: %s", vm, error)
