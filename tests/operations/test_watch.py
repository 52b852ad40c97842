"""What a host tells wakes a worker where there is something to see, and nobody where a worker did it himself."""

import pytest

from broker.drivers.hypervisor import DomainEvent, EventKind
from broker.management.commands.watch import react
from broker.models import VirtualMachine
from broker.states import VmStatus
from tests.world import World


@pytest.fixture
def vm(world: World) -> VirtualMachine:
    """Somebody's desktop, on."""
    pool = world.pool(1)
    wish = world.take(world.person("agent01", pool), pool)
    world.settle()
    wish.refresh_from_db()
    assert wish.state == "ready"
    return pool.vms.get()


def wakes(world: World, vm: VirtualMachine, detail: str, kind: EventKind = EventKind.LIFECYCLE) -> bool:
    world.sent.clear()
    react(DomainEvent(kind, vm.pk, detail))
    return list(world.sent) == [("broker.converge", vm.pk)]


def test_a_vm_that_begins_to_run_because_it_should_is_no_news(world: World, vm: VirtualMachine) -> None:
    for detail in ("defined", "started", "resumed"):
        assert not wakes(world, vm, detail), detail
    for detail in ("stopped", "shutdown", "crashed", "suspended", "rebooted", "whatever comes next"):
        assert wakes(world, vm, detail), detail
    for detail in ("connected", "disconnected"):
        assert wakes(world, vm, detail, EventKind.AGENT), detail


@pytest.mark.parametrize(
    "values",
    [
        {"run_mode": None, "host": None},
        {"halted": True},
        {"suspended": True},
        {"status": VmStatus.PAUSED},
    ],
)
def test_a_vm_that_begins_to_run_and_should_not_or_was_paused_is_looked_at(
    world: World, vm: VirtualMachine, values: dict[str, object]
) -> None:
    VirtualMachine.objects.filter(pk=vm.pk).update(**values)
    assert wakes(world, vm, "started") and wakes(world, vm, "resumed")
