"""Turns on a host: who may be started, reset, made or deleted there now, as its pace allows (broker.rules.pacing)."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from broker import jobs, locks, orders
from broker.models import Host, Turn, VirtualMachine
from broker.rules import pacing
from broker.rules.pacing import Noticed


@transaction.atomic
def take(*, vm_id: UUID, host_id: UUID) -> bool:
    """Whether it is this VM's turn on the host; if not, it waits, and is woken when it is."""
    host = locks.host(host_id)
    # Under that lock, and with its lease in hand, nobody else makes one.
    turn = Turn.objects.filter(pk=vm_id).first() or Turn.objects.create(vm_id=vm_id, host=host)
    if turn.host_id != host_id:
        Turn.objects.filter(pk=vm_id).update(host=host, given_at=None)
    elif turn.given_at is not None:
        return True
    return vm_id in _deal(host, _under_way(host), but=vm_id)


@transaction.atomic
def leave(*, vm_id: UUID, host_id: UUID, noticed: Sequence[Noticed], booting: bool) -> None:
    """Write what a worker noticed on the host; and, unless the guest still boots, let others have the turn."""
    host = locks.host(host_id)
    under_way = _under_way(host)
    if noticed:
        full, at_ease = _room(host, under_way) < 1, pacing.at_ease(host.pressure_percent)
        host.pace, host.usual_seconds = pacing.after_steps(
            host.pace, host.usual_seconds, noticed, full=full, at_ease=at_ease
        )
        Host.objects.filter(pk=host.pk).update(pace=host.pace, usual_seconds=host.usual_seconds)
    if not booting:
        Turn.objects.filter(pk=vm_id).delete()
        under_way.discard(vm_id)
    _deal(host, under_way)


@transaction.atomic
def record_pressure(*, host_id: UUID, pressure_percent: int) -> None:
    """After a look at a host: how much of its work stands still."""
    host = locks.host(host_id)
    under_way = _under_way(host)
    pace = pacing.after_look(host.pace, pressure_percent, full=_room(host, under_way) < 1)
    Host.objects.filter(pk=host_id).update(pace=pace, pressure_percent=pressure_percent)
    host.pace = pace
    _deal(host, under_way)


def mend() -> None:
    """Take turns back that nobody uses any more, and deal those that a lost message left lying."""
    Turn.objects.exclude(given_at=None).exclude(vm__in=VirtualMachine.objects.in_motion()).delete()
    for host_id in Turn.objects.waiting().values_list("host", flat=True).distinct().order_by():
        with transaction.atomic():
            host = locks.host(host_id)
            _deal(host, _under_way(host))


def _under_way(host: Host) -> set[UUID]:
    since = timezone.now() - timedelta(seconds=pacing.patience_seconds(host.usual_seconds))
    return set(host.turns.under_way(since).values_list("pk", flat=True))


def _room(host: Host, under_way: set[UUID]) -> int:
    return int(host.pace) - len(under_way)


def _deal(host: Host, under_way: set[UUID], *, but: UUID | None = None) -> list[UUID]:
    """Give as many turns as the host bears, under its lock, and wake whoever got one; all that did."""
    room = _room(host, under_way)
    if room < 1:
        return []
    dealt = list(host.turns.waiting().in_order().values_list("pk", flat=True)[:room])
    if dealt:
        Turn.objects.filter(pk__in=dealt).update(given_at=timezone.now())
    with orders.by_itself():  # whoever left it their turn did so for other reasons
        for vm_id in dealt:
            if vm_id != but:
                jobs.wake_vm(vm_id)
    return dealt
