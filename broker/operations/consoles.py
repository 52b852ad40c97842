"""Open the display of a desktop: one-time tickets, set on the host by a worker of their own queue."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import access, config, events, jobs
from broker.drivers import hypervisor
from broker.drivers.hypervisor import HypervisorError
from broker.errors import Busy, Conflict, Denied
from broker.models import ConsoleOptions, ConsoleTicket, DesktopRequest, Event, Host, Pool, VirtualMachine
from broker.rules import consoles
from broker.rules.consoles import Display
from broker.states import RequestState, RunMode


@transaction.atomic
def issue(*, request: DesktopRequest) -> ConsoleTicket:
    """Make the newest ticket of a desktop that is ready; every earlier one is void from then on."""
    vm = VirtualMachine.objects.select_for_update(no_key=True, of=("self",)).filter(requests=request).first()
    request = DesktopRequest.objects.select_related("user", "pool").get(pk=request.pk)
    _require_pool(request)
    if request.state != RequestState.READY or vm is None or vm.ready_at is None:
        raise Conflict(_("The desktop cannot be opened: it is not ready."), code="NOT_READY")
    return _file(vm, request.user, request)


def _require_pool(request: DesktopRequest) -> None:
    if request.pool is not None:  # of a pool that was removed nothing is left to open
        access.require(request.user, "use_pool", request.pool)


@transaction.atomic
def issue_to_administrator(*, vm: VirtualMachine, by: Any) -> ConsoleTicket:
    """Open a VM that an administrator runs (R034); nobody looks over the shoulder of a desktop's user."""
    vm = VirtualMachine.objects.select_for_update(no_key=True, of=("self",)).get(pk=vm.pk)
    access.require(by, "operate_vm", vm)
    if vm.run_mode != RunMode.STATEFUL or vm.ready_at is None:
        raise Conflict(
            _("%(vm)s can be opened from here only while it was started from here, and once it is up.") % {"vm": vm},
            code="NOT_READY",
        )
    return _file(vm, by, None)


def _file(vm: VirtualMachine, user: Any, request: DesktopRequest | None) -> ConsoleTicket:
    ticket = draw(vm, user)
    events.record("console.ticket", actor=user, request=request, pool=vm.pool, vm=vm)
    return ticket


def draw(vm: VirtualMachine, user: Any) -> ConsoleTicket:
    """The newest ticket of a VM whose row is locked, for somebody who may open it; a worker sets it on the host."""
    last = vm.console_tickets.aggregate(last=Max("number"))["last"] or 0
    ticket = ConsoleTicket.objects.create(vm=vm, run_number=vm.run_number, number=last + 1, user=user)
    jobs.later("broker.set_ticket", ticket.pk)
    return ticket


def display(*, ticket: ConsoleTicket) -> Display | None:
    """What the connection file says, once a worker has set the ticket; null until then.

    Conflict when the desktop is gone or a newer ticket was made; Busy when the host refused.
    """
    ticket = ConsoleTicket.objects.select_related("vm__host", "vm__pool", "vm__cluster", "user").get(pk=ticket.pk)
    vm = ticket.vm
    if vm.run_number != ticket.run_number or vm.host is None:
        raise Conflict(_("The desktop was given back meanwhile."), code="NOT_READY")
    if ticket.revoked_at is not None:
        raise Denied(_("Your permission on %(name)s was removed.") % {"name": vm})
    if ticket.refusal:
        raise Busy(_("The display does not answer yet. Please try again in a moment."))
    if vm.console_tickets.filter(number__gt=ticket.number).exists():
        raise Conflict(_("A newer connection file was made meanwhile; use that one."), code="SUPERSEDED")
    if ticket.set_at is None or vm.display_port is None:
        return None
    options = options_of(user=ticket.user, pool=vm.pool)
    return Display(
        title=vm.name,
        host=vm.host.display_address,
        port=vm.display_port,
        password=consoles.password(settings.SECRET_KEY, ticket.pk),
        valid_seconds=config.get("TicketValiditySeconds"),
        fullscreen=options.fullscreen,
        remap_ctrl_alt_del=options.remap_ctrl_alt_del,
        proxy=_proxy(vm),
    )


@transaction.atomic
def revoke(*, ticket: ConsoleTicket) -> None:
    """Close the display that somebody opened who may not open it any more; a worker does it, the sweep sees to it."""
    vm = VirtualMachine.objects.select_for_update(no_key=True, of=("self",)).get(pk=ticket.vm_id)
    revoke_all(vm, ticket.user)


def revoke_all(vm: VirtualMachine, user: Any) -> None:
    """Every ticket of a user for the present run of a VM whose row is locked."""
    open_ones = vm.console_tickets.filter(user=user, run_number=vm.run_number, revoked_at=None)
    keys = list(open_ones.values_list("pk", flat=True))
    open_ones.update(revoked_at=timezone.now())
    for key in keys[-1:]:  # closing a display once closes it for all of them
        events.record("console.revoked", actor=user, vm=vm, pool=vm.pool, severity=Event.Severity.WARNING)
        jobs.later("broker.close_display", key)


def _proxy(vm: VirtualMachine) -> str:
    of_pool = vm.pool.spice_proxy if vm.pool is not None and vm.pool.override_spice_proxy else ""
    return consoles.proxy_in_force(
        pool=of_pool, cluster=vm.cluster.spice_proxy, default=config.get("SpiceProxyDefault")
    )


def options_of(*, user: Any, pool: Pool | None) -> ConsoleOptions:
    """How this user opens desktops of this pool; the defaults while nothing was chosen (R028)."""
    return ConsoleOptions.objects.filter(user=user, pool=pool).first() or ConsoleOptions(user=user, pool=pool)


def choose_options(*, user: Any, pool: Pool, fullscreen: bool, remap_ctrl_alt_del: bool) -> ConsoleOptions:
    """Remember how this user opens desktops of this pool; other pools and other people are not touched."""
    chosen = {"fullscreen": fullscreen, "remap_ctrl_alt_del": remap_ctrl_alt_del}
    options, _created = ConsoleOptions.objects.update_or_create(user=user, pool=pool, defaults=chosen)
    return options


# -- in a worker -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """The display a ticket is for, as the rows say this moment."""

    newest_id: UUID
    vm: VirtualMachine
    host: Host


def set_on_host(*, ticket_id: UUID) -> None:
    """Set the newest ticket of the same run, and look again: what was overtaken meanwhile is undone.

    A ticket whose run is over is made worthless, in case an earlier try was killed right after setting it.
    """
    target = _target(ticket_id)
    if target is None:
        _void(ticket_id)
    while target is not None:
        driver = hypervisor.connect(target.host.uri)
        try:
            _set(driver, target, config.get("TicketValiditySeconds"))
        except HypervisorError as error:
            _mark(target, refusal=str(error))
            return
        now = _target(ticket_id)
        if now is None:
            _void(ticket_id)
        elif now.newest_id == target.newest_id:
            _mark(target, set_at=timezone.now())
            return
        target = now


def _target(ticket_id: UUID) -> _Target | None:
    ticket = ConsoleTicket.objects.select_related("vm__host").filter(pk=ticket_id).first()
    if ticket is None or ticket.run_number != ticket.vm.run_number:
        return None
    vm = ticket.vm
    newest = vm.console_tickets.filter(run_number=vm.run_number).order_by("-number").first()
    if newest is None or newest.revoked_at is not None or vm.host is None or vm.ready_at is None:
        return None
    return _Target(newest.pk, vm, vm.host)


def _set(driver: Any, target: _Target, valid_seconds: int) -> None:
    driver.set_ticket(
        target.vm.pk,
        config.installation(),
        password=consoles.password(settings.SECRET_KEY, target.newest_id),
        valid_seconds=valid_seconds,
        disconnect=False,
        run=target.vm.run_number,
    )


def _void(ticket_id: UUID) -> None:
    """Nobody may get in with a ticket of a run that is over, should its domain still be on."""
    ticket = ConsoleTicket.objects.select_related("vm__host").filter(pk=ticket_id).first()
    if ticket is None or ticket.vm.host is None:
        return
    try:
        close_on_host(driver=hypervisor.connect(ticket.vm.host.uri), vm=ticket.vm, run=ticket.run_number)
    except HypervisorError:
        return  # that run is off, and its display with it


def close_revoked_on_host(*, ticket_id: UUID) -> None:
    """Close the display of a ticket whose user lost the right to it; until that was done the sweep asks again.

    Others who look at it are thrown out as well, and may open it anew.
    """
    ticket = ConsoleTicket.objects.to_close().select_related("vm__host").filter(pk=ticket_id).first()
    if ticket is None:
        return
    vm = ticket.vm
    if vm.run_number == ticket.run_number and vm.host is not None:
        close_on_host(driver=hypervisor.connect(vm.host.uri), vm=vm, run=vm.run_number)
    same_run = vm.console_tickets.to_close().filter(user=ticket.user_id, run_number=ticket.run_number)
    same_run.update(closed_at=timezone.now())


def close_on_host(*, driver: Any, vm: VirtualMachine, run: int) -> None:
    """Throw the viewer of a run out and make every ticket worthless."""
    driver.set_ticket(
        vm.pk,
        config.installation(),
        password=secrets.token_urlsafe(24),
        valid_seconds=0,
        disconnect=True,
        run=run,
    )


def _mark(target: _Target, *, set_at: datetime | None = None, refusal: str = "") -> None:
    ConsoleTicket.objects.filter(pk=target.newest_id).update(set_at=set_at, refusal=refusal)
