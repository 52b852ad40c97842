"""Open a console in the browser, and its sockets: of one's own desktop, of a VM that one runs, or of somebody's.

Whoever has the desktop is shown who looks at it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import access, config, events, live, locks
from broker.drivers import certificates
from broker.errors import Conflict, NotFound
from broker.models import ConsoleSession, DesktopRequest, Event, VirtualMachine
from broker.operations import console_sessions, consoles
from broker.rules import console_sessions as rules
from broker.rules.consoles import Tls
from broker.states import ConsoleKind, RequestState, RunMode

OPENED: dict[str, str] = {ConsoleKind.GRAPHICAL: "console.opened", ConsoleKind.TEXT: "console.text_opened"}
WATCHED = "console.watched"
TAKEN_OVER = "console.taken_over"


@dataclass(frozen=True)
class Wanted:
    """What is asked for. `replaces`: the session that the page had before; `take_over`: the answer to a question."""

    kind: str
    login: str
    replaces: UUID | None = None
    take_over: bool = False


@dataclass(frozen=True)
class Admission:
    """A socket of a session: where its bytes go."""

    session_id: UUID
    vm_id: UUID
    host_id: UUID
    kind: str
    address: str
    port: int | None
    tls: Tls | None = None

    def is_shown_by(self, certificate: bytes) -> bool:
        """Whether a certificate, as DER, is the host's own: its authority signs others as well."""
        return self.tls is not None and certificates.subject_of(certificate) == self.tls.subject


@transaction.atomic
def open_own(*, request: DesktopRequest, wanted: Wanted) -> ConsoleSession:
    """The console of a desktop that is ready, for its user.

    Conflict with the code CONSOLE_IN_USE asks whether to take it over from whoever has it.
    """
    request, vm = locks.wish_with_vm(request)
    return _open(consoles.openable(request, vm), request.user, request, wanted)


@transaction.atomic
def open_administered(*, vm: VirtualMachine, by: Any, wanted: Wanted) -> ConsoleSession:
    """A VM that administrators run, or the desktop of somebody, who is shown it: a right of its own."""
    vm = VirtualMachine.objects.select_for_update(no_key=True, of=("self",)).get(pk=vm.pk)
    serving = DesktopRequest.objects.filter(vm=vm, state=RequestState.READY)
    request = serving.select_related("user", "pool").first()
    action = "operate_vm" if request is None else "watch_desktops"
    if not access.can(by, action, vm):
        text = _("You see %(name)s but your roles do not allow you to open it.") % {"name": vm}
        raise access.denied(by, action, vm, text)
    if vm.ready_at is None or (request is None and vm.run_mode != RunMode.STATEFUL):
        text = _("%(vm)s can be opened while somebody has it, or while it was started from here, and once it is up.")
        raise Conflict(text % {"vm": vm}, code="NOT_READY")
    return _open(vm, by, request, wanted)


def _open(vm: VirtualMachine, user: Any, request: DesktopRequest | None, wanted: Wanted) -> ConsoleSession:
    before = _before(vm, user, wanted)
    holder = console_sessions.holder(vm, wanted.kind, now_gone=before)
    asked = rules.question(holder, user_id=user.pk, replaces=before, take_over=wanted.take_over)
    if asked:
        raise Conflict(asked, code="CONSOLE_IN_USE")
    others = ConsoleSession.objects.seen().filter(user=user).exclude(pk__in=[before] if before else [])
    if others.count() >= rules.MOST_OF_USER:
        text = _("You have %(most)s consoles open: close one of them first.")
        raise Conflict(text % {"most": rules.MOST_OF_USER}, code="TOO_MANY_CONSOLES")
    about = {"request": request, "vm": vm, "pool": vm.pool}
    if holder is not None and holder.session_id is None:
        events.record(TAKEN_OVER, actor=user, severity=Event.Severity.WARNING, holder=holder.name, **about)
    for session in vm.console_sessions.not_ended().filter(kind=wanted.kind).select_related("vm", "user", "request"):
        console_sessions.replaced(session, by=user, anew=session.pk == before)
    now = timezone.now()
    session = ConsoleSession.objects.create(
        user=user,
        login=wanted.login,
        vm=vm,
        run_number=vm.run_number,
        request=request,
        kind=wanted.kind,
        ticket=consoles.draw(vm, user) if wanted.kind == ConsoleKind.GRAPHICAL else None,
        created_at=now,
        expires_at=now + timedelta(seconds=config.get("TicketValiditySeconds")),
        seen_at=now,
    )
    if session.is_watching and request is not None:
        events.record(WATCHED, actor=user, severity=Event.Severity.WARNING, holder=request.user, **about)
    else:
        events.record(OPENED[wanted.kind], actor=user, **about)
    if request is not None:
        live.request_changed(request.pk)
    return session


def _before(vm: VirtualMachine, user: Any, wanted: Wanted) -> UUID | None:
    """The session that the same page had of this run, as it says itself."""
    if wanted.replaces is None:
        return None
    mine = vm.console_sessions.filter(pk=wanted.replaces, user=user, kind=wanted.kind, run_number=vm.run_number)
    return mine.values_list("pk", flat=True).first()


def admit(*, user: Any, login: str, session_id: UUID) -> Admission:
    """One more socket of a session; NotFound with another login, Conflict when it is over or it is too late."""
    session = console_sessions.of_user(user, session_id)
    if session.login != login:
        raise NotFound(_("There is no such console."))
    vm = session.vm
    if session.is_over() or session.expires_at <= timezone.now() or vm.host is None:
        raise Conflict(_("This console is closed."), code="CONSOLE_CLOSED")
    plain = vm.cluster.allow_plain_spice
    return Admission(
        session.pk,
        vm.pk,
        vm.host.pk,
        session.kind,
        vm.host.display_address,
        port=vm.display_port if plain else None,
        tls=None if plain else consoles.tls_of(vm),
    )
