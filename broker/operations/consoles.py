"""Open the display of a desktop: one-time tickets, set on the host by a worker of their own queue."""

import secrets
from dataclasses import dataclass, replace
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
from broker.errors import Busy, Conflict, Denied, Invalid
from broker.models import ConsoleOptions, ConsoleTicket, DesktopRequest, Event, Host, Pool, VirtualMachine
from broker.rules import consoles
from broker.rules.consoles import Display, Options, Tls
from broker.states import Graphics, RequestState, RunMode

DISPLAYED = ("vm__host", "vm__pool__cluster", "vm__cluster", "vm__template_version", "user")


@transaction.atomic
def issue(*, request: DesktopRequest) -> ConsoleTicket:
    """Make the newest ticket of a desktop that is ready; every earlier one is void from then on."""
    vm = VirtualMachine.objects.select_for_update(no_key=True, of=("self",)).filter(requests=request).first()
    request = DesktopRequest.objects.select_related("user", "pool").get(pk=request.pk)
    return _file(openable(request, vm), request.user, request)


def openable(request: DesktopRequest, vm: VirtualMachine | None) -> VirtualMachine:
    """The VM of a wish that its user may open now; Denied without the right to the pool, Conflict while not ready."""
    if request.pool is not None:  # of a pool that was removed nothing is left to open
        access.require(request.user, "use_pool", request.pool)
    if request.state != RequestState.READY or vm is None or vm.ready_at is None:
        raise Conflict(_("The desktop cannot be opened: it is not ready."), code="NOT_READY")
    return vm


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


@transaction.atomic
def rdp_address(*, request: DesktopRequest) -> str:
    """Where the guest of a desktop that is ready offers RDP; Conflict where its template says of none."""
    request = DesktopRequest.objects.select_related("user", "pool", "vm__template_version").get(pk=request.pk)
    vm = openable(request, request.vm)
    if not vm.template_version.rdp_address:
        raise Conflict(_("This desktop does not offer RDP."), code="NO_RDP")
    events.record("console.rdp", actor=request.user, request=request, pool=vm.pool, vm=vm)
    return consoles.rdp_address(vm.template_version.rdp_address, vm.name)


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
    ticket = ConsoleTicket.objects.select_related(*DISPLAYED).get(pk=ticket.pk)
    vm = ticket.vm
    if vm.run_number != ticket.run_number or vm.host is None:
        raise Conflict(_("The desktop was given back meanwhile."), code="NOT_READY")
    if ticket.revoked_at is not None:
        raise Denied(_("Your permission on %(name)s was removed.") % {"name": vm})
    if ticket.refusal:
        raise Busy(_("The display does not answer yet. Please try again in a moment."))
    if vm.console_tickets.filter(number__gt=ticket.number).exists():
        raise Conflict(_("A newer connection file was made meanwhile; use that one."), code="SUPERSEDED")
    plain = vm.display_port if vm.cluster.allow_plain_spice else None
    tls = tls_of(vm)
    if plain is None and tls is None:
        raise Conflict(_not_encrypted(vm), code="NOT_ENCRYPTED")
    if ticket.set_at is None:
        return None
    options = options_of(user=ticket.user, of=vm.pool or vm)
    # The pool may offer smart cards since after this VM was made.
    options = replace(options, smartcard=options.smartcard and vm.smartcard)
    return Display(
        title=vm.name,
        host=vm.host.display_address,
        port=plain,
        password=consoles.password(settings.SECRET_KEY, ticket.pk),
        valid_seconds=config.get("TicketValiditySeconds"),
        type=vm.graphics,
        options=options,
        usb_filter=(vm.pool or vm).usb_filter,
        tls=tls,
        proxy=proxy_of(vm.pool or vm) if options.use_proxy else "",
    )


def tls_of(vm: VirtualMachine) -> Tls | None:
    """How its display is opened encrypted; null where it cannot be."""
    if vm.graphics != Graphics.SPICE:
        return None
    host, ca = vm.host, vm.cluster.spice_ca
    if host is None or vm.display_tls_port is None or not host.spice_subject or not ca:
        return None
    return Tls(vm.display_tls_port, host.spice_subject, ca)


def _not_encrypted(vm: VirtualMachine) -> str:
    names = {"cluster": vm.cluster, "vm": vm, "host": vm.host}
    if vm.graphics == Graphics.VNC:
        text = _("%(cluster)s wants displays encrypted, and the display of %(vm)s is VNC, which is not.")
    elif vm.host is not None and vm.host.spice_subject and vm.cluster.spice_ca:
        text = _("%(cluster)s wants displays encrypted, and %(vm)s was started without. It must be started anew.")
    else:
        text = _("%(cluster)s wants displays encrypted, and %(host)s has no certificate. Ask an administrator.")
    return text % names


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


def proxy_of(of: Pool | VirtualMachine) -> str:
    """The SPICE proxy that is in force for a pool, or for a VM of none; blank for none."""
    of_pool = of.spice_proxy if isinstance(of, Pool) and of.override_spice_proxy else ""
    return consoles.proxy_in_force(
        pool=of_pool, cluster=of.cluster.spice_proxy, default=config.get("SpiceProxyDefault")
    )


def options_of(*, user: Any, of: Pool | VirtualMachine) -> Options:
    """How this user opens desktops of a pool, or a VM of none: as chosen, else by the defaults of it (R028)."""
    chosen = ConsoleOptions.objects.filter(user=user, pool=of).first() if isinstance(of, Pool) else None
    defaults = {name: value for name, value in of.settings().items() if name in ConsoleOptions.CHOICES}
    return consoles.options_in_force(defaults, chosen.chosen() if chosen else {})


def choose_options(*, user: Any, pool: Pool, chosen: dict[str, Any]) -> Options:
    """Remember how this user opens desktops of this pool; other pools and other people are not touched.

    What is absent or null is left to the pool again. Invalid for a smart card where the pool offers none.
    """
    if chosen.get("smartcard") and not pool.smartcard:
        raise Invalid(_("The desktops of this pool have no smart card reader."), field="smartcard")
    values = {name: chosen.get(name) for name in ConsoleOptions.CHOICES}
    values["smartcard"] = None if chosen.get("smartcard") else chosen.get("smartcard")  # it can only be left out
    if values["disabled_effects"] is not None:
        values["disabled_effects"] = list(consoles.in_order(values["disabled_effects"]))
    ConsoleOptions.objects.update_or_create(user=user, pool=pool, defaults=values)
    return options_of(user=user, of=pool)


def change_options(*, user: Any, pool: Pool, wanted: Options) -> None:
    """Remember what differs from how it is opened now; what the user left as it was stays the pool's to say."""
    now = options_of(user=user, of=pool)
    differing = {name: value for name, value in vars(wanted).items() if value != getattr(now, name)}
    if differing:
        before = ConsoleOptions.objects.filter(user=user, pool=pool).first()
        choose_options(user=user, pool=pool, chosen={**(before.chosen() if before else {}), **differing})


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
