"""What is counted of pools: counted for some, or annotated for a list, it is the same."""

from typing import Any

from broker.models import DesktopRequest, Host, Pool, VirtualMachine, attach_counts, counts, unplaced, with_counts
from broker.operations import desktops
from broker.states import HostStatus
from tests.world import World

ANNOTATED = (*counts.MEMBERS, *counts.WISHES, *counts.HOSTS, "mine")


def counted(person: Any) -> dict[str, Any]:
    pools = list(Pool.objects.order_by("name"))
    attach_counts(pools, person)
    return {pool.name: pool for pool in pools}


def check_annotations_say_the_same(person: Any) -> None:
    found = counted(person)
    for pool in with_counts(Pool.objects.all(), person):
        for name in ANNOTATED:
            assert getattr(found[pool.name], name) == getattr(pool, name), (pool.name, name)
        assert found[pool.name].free == VirtualMachine.objects.filter(pool=pool).offerable().count()


def test_a_pool_is_counted_as_a_list_of_pools_is(world: World) -> None:
    busy, idle = world.pool(5, name="busy", prestarted_vms=1), world.pool(2, name="idle")
    first, second = world.people(2, busy)
    wishes = [world.take(person, busy) for person in (first, second)]
    world.settle()
    VirtualMachine.objects.filter(pool=busy, name="busy-5").update(hold="error")
    world.person("third", idle)
    check_annotations_say_the_same(first)
    found = counted(first)
    assert (found["busy"].size, found["busy"].in_use, found["busy"].mine) == (5, 2, 1)
    assert (found["busy"].failed, found["busy"].held, found["busy"].ready) == (1, 1, 1)
    assert (found["idle"].size, found["idle"].in_use, found["idle"].mine) == (2, 0, 0)
    assert found["idle"].hosts_up == 1 and found["idle"].hosts_in_maintenance == 0
    # Given back, and not clean yet; and a line where no host is up.
    desktops.give_back(request=wishes[0])
    check_annotations_say_the_same(first)
    Host.objects.update(status=HostStatus.MAINTENANCE)
    world.take(second, idle)
    check_annotations_say_the_same(second)
    found = counted(second)
    assert (found["idle"].queue_length, found["idle"].mine) == (1, 1)
    assert found["idle"].hosts_up == 0 and found["idle"].hosts_in_maintenance == 1
    assert found["busy"].free == 1, "what runs on a host that is not up is offered to nobody"


def test_many_pools_are_counted_in_three_statements(world: World, django_assert_num_queries: Any) -> None:
    for number in range(4):
        world.pool(1, name=f"pool{number}")
    pools, person = list(Pool.objects.all()), world.person("agent")
    with django_assert_num_queries(3):
        attach_counts(pools, person)
    with django_assert_num_queries(0):
        attach_counts([], None)
    with django_assert_num_queries(1):
        assert unplaced([pool.pk for pool in pools]) == {pool.pk: 0 for pool in pools}
    assert not DesktopRequest.objects.exists()
