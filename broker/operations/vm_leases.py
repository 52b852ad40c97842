"""The lease of a VM: only the worker that holds it acts on a host for the VM, or writes what it saw there."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from broker.models import Host, VirtualMachine
from broker.rules.pacing import Noticed


class Overtaken(Exception):
    """The lease lapsed or the wish changed while a worker was at it: it must look again, or leave."""


@dataclass
class Held:
    """A VM whose lease this worker holds, as it looked when it was last read."""

    vm: VirtualMachine
    term: int
    in_force: bool = True
    turn_on: UUID | None = None
    noticed: list[Noticed] = field(default_factory=list)

    def has_turn_on(self, host: Host) -> bool:
        """Whether it was given its turn there when it was last read; nobody takes that back from a VM in motion."""
        turn = getattr(self.vm, "turn", None)
        return turn is not None and turn.host_id == host.pk and turn.given_at is not None


def hold(vm_id: UUID) -> Held | None:
    """Take the VM's lease; while another worker has it, tell that one to look again instead."""
    rows = VirtualMachine.objects.filter(pk=vm_id)
    while True:
        now = timezone.now()
        until = now + timedelta(seconds=settings.VM_LEASE_SECONDS)
        free = rows.filter(Q(lease_until=None) | Q(lease_until__lte=now))
        if free.update(lease_term=F("lease_term") + 1, lease_until=until):
            vm = look(vm_id)
            turn = getattr(vm, "turn", None)
            return Held(vm, vm.lease_term, turn_on=turn and turn.host_id)
        if rows.filter(lease_until__gt=now).update(intent_version=F("intent_version") + 1):
            return None
        if not rows.exists():
            return None
        # Let go between the two: it is free now.


def look(vm_id: UUID) -> VirtualMachine:
    """The VM with what every step reads, as its row is now."""
    related = (
        *("volume__storage_pool", "volume__backing__storage_pool", "template_version__template"),
        *("host", "defined_on", "pool", "cluster", "turn"),
    )
    return VirtualMachine.objects.select_related(*related).get(pk=vm_id)


def look_again(held: Held) -> None:
    """Read the row anew; Overtaken when it is gone or the lease is somebody else's by now."""
    try:
        held.vm = look(held.vm.pk)
    except VirtualMachine.DoesNotExist as error:
        raise Overtaken from error
    if held.vm.lease_term != held.term:
        raise Overtaken


def keep_up(held: Held) -> None:
    """After a step: read the row anew if others changed what is wanted; what was written here is known here."""
    as_read = {"lease_term": held.term, "intent_version": held.vm.intent_version}
    if not VirtualMachine.objects.filter(pk=held.vm.pk, **as_read).exists():
        look_again(held)


def let_go(held: Held) -> bool:
    """Give the lease back; False, and it is kept, when somebody asked meanwhile for another look."""
    mine = VirtualMachine.objects.filter(pk=held.vm.pk, lease_term=held.term)
    held.in_force = not mine.filter(intent_version=held.vm.intent_version).update(lease_until=None)
    return not held.in_force


def drop(held: Held) -> None:
    """Give the lease back although another look was asked for: a message for that look is on its way."""
    if held.in_force:
        VirtualMachine.objects.filter(pk=held.vm.pk, lease_term=held.term).update(lease_until=None)
