"""Why: what each match of a line found is kept, in words for whoever waits and as a table for administrators."""

from typing import Any

import pytest

from broker.models import Allocation, DesktopRequest, Host, Pool, VirtualMachine, attach_counts
from broker.operations import desktops
from broker.rules import allocations
from broker.states import HostStatus, VmHold
from portal import requests as shown
from tests.world import World


def told(wish: DesktopRequest) -> str:
    return shown.reason(shown.own(wish.user, wish.pk))


@pytest.mark.req("R003")
def test_every_assignment_keeps_the_rule_and_what_there_was(world: World) -> None:
    pool = world.pool(4, prestarted_vms=1)
    VirtualMachine.objects.filter(number=4).update(hold=VmHold.ERROR)
    first, second = (world.take(person, pool) for person in world.people(2, pool))
    desktops.serve(pool_id=pool.pk)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.rule, second.rule) == ("ready", "off")
    assert first.allocation == second.allocation
    match = first.allocation
    assert match is not None and (match.assigned, match.waiting) == (2, 0)
    assert match.members == {"ready": 1, "off": 2, "error": 1}
    assert match.hosts == [{"name": "host", "status": "up", "free_mib": 64 * 1024 - 128}]
    assert allocations.table(match.members) == [
        ("on hold after an error", 1),
        ("offered: running and ready", 1),
        ("offered: off and clean", 2),
    ]
    assert "helpdesk-1 was given to ticket 1" in shown.why(first)


def test_a_wait_keeps_its_reasons_once_however_often_the_line_is_looked_at(world: World) -> None:
    pool = world.pool(1)
    first, second = (world.take(person, pool) for person in world.people(2, pool))
    world.settle()
    for _look in range(5):
        desktops.serve(pool_id=pool.pk)
    second.refresh_from_db()
    waits = list(shown.waits_of(second))
    assert [one.members for one in waits] == [{"off": 1}, {"in_use": 1}]
    desktops.give_back(request=first)
    desktops.serve(pool_id=pool.pk)
    assert [one.members for one in shown.waits_of(second)] == [{"off": 1}, {"in_use": 1}]
    world.settle()
    second.refresh_from_db()
    assert second.waited and second.allocation not in waits
    first.refresh_from_db()
    assert not first.waited


def test_each_reason_for_waiting_has_its_sentence(world: World) -> None:
    pool = world.pool(2)
    wishes = [world.take(person, pool) for person in world.people(3, pool)]
    world.settle()
    assert told(wishes[2]) == "All 2 desktops are in use."
    wishes[1].refresh_from_db()
    VirtualMachine.objects.filter(pk=wishes[1].vm_id).update(hold=VmHold.ERROR)
    DesktopRequest.objects.filter(pk=wishes[1].pk).update(state="ended", end_reason="failed")
    assert "1 desktops are in use, and 1 cannot be offered" in told(wishes[2])
    Host.objects.update(status=HostStatus.MAINTENANCE)
    assert "in maintenance" in told(wishes[2])
    Host.objects.update(status=HostStatus.NON_RESPONSIVE)
    assert "do not answer" in told(wishes[2])


@pytest.mark.req("R033")
def test_a_host_without_room_is_told_as_such(world: World) -> None:
    pool = world.pool(3)
    Host.objects.update(memory_mib=128)
    wishes = [world.take(person, pool) for person in world.people(2, pool)]
    world.settle()
    wishes[0].refresh_from_db()
    assert wishes[0].state == "ready"
    match = Allocation.objects.filter(waiting__gt=0).first()
    assert match is not None and match.members.get("no_room") == 2
    assert told(wishes[1]) == "Desktops are free, but no host has room for another one. Your place is kept."
    assert allocations.host_words(match.hosts[0]).startswith("host: ")
    wish = shown.own(wishes[1].user, wishes[1].pk)
    assert wish.ground.coming == 0, "what no host has room for comes to nobody"
    card = Pool.objects.get(pk=pool.pk)
    attach_counts([card], wishes[1].user)
    assert shown.outlook({pool.pk: card}, {0: (pool.pk, 1)})[0].coming == 0


def test_who_stands_behind_is_counted_no_further_than_it_is_shown(
    world: World, django_assert_num_queries: Any
) -> None:
    pool = world.pool(1)
    first, *_others = (world.take(person, pool) for person in world.people(4, pool))
    with django_assert_num_queries(1) as asked:
        assert shown.people_behind(first, 2) == 2
    assert "LIMIT 2" in asked.captured_queries[0]["sql"]
