"""Removing a right acts at once: places in line, desktops and displays that depended on it end with a reason."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group

from broker import grants
from broker.drivers.hypervisor import HypervisorError
from broker.errors import Conflict, Denied, NotFound
from broker.models import ConsoleTicket, DesktopRequest, Event, Pool, Role, VirtualMachine
from broker.operations import consoles, desktops, groups, pools, roles, users, vms
from tests.world import World


def fresh(wish: DesktopRequest) -> DesktopRequest:
    wish.refresh_from_db()
    return wish


def ended(wish: DesktopRequest) -> tuple[str, str | None]:
    fresh(wish)
    return wish.state, wish.end_reason


@pytest.mark.req("R146", "R002")
def test_a_desktop_and_a_place_in_line_end_and_others_move_up(world: World) -> None:
    pool = world.pool(1)
    first, second, third = world.people(3, pool)
    held, waiting, behind = (world.take(person, pool) for person in (first, second, third))
    world.settle()
    layer = VirtualMachine.objects.get().layer()
    for person in (first, second):
        grants.revoke(role="UserRole", to=person, on=pool)
    world.settle()
    assert ended(held) == ("ended", "revoked")
    assert ended(waiting) == ("ended", "revoked")
    assert fresh(behind).state == "ready"
    assert layer not in world.driver.volume_table
    assert set(Event.objects.filter(kind="desktop.revoked").values_list("actor__username", flat=True)) == {"agent02"}


Act = Callable[[World, Pool, Any], object]


def leave_group(world: World, pool: Pool, person: Any) -> None:
    group = Group.objects.get(name="staff")
    groups.change(group=group, users=[], by=world.superuser())


def be_taken_from_groups(world: World, pool: Pool, person: Any) -> None:
    users.change(user=person, changes={}, groups=[], by=world.superuser())


def group_loses_role(world: World, pool: Pool, person: Any) -> None:
    grants.revoke(role="Taker", to=Group.objects.get(name="staff"), on=pool)


def role_loses_action(world: World, pool: Pool, person: Any) -> None:
    role = Role.objects.get(name="Taker")
    roles.change(role=role, changes={"actions": ["view_inventory"]}, by=world.superuser())


def be_disabled(world: World, pool: Pool, person: Any) -> None:
    users.change(user=person, changes={"is_active": False}, by=world.superuser())


@pytest.mark.req("R021", "R146")
@pytest.mark.parametrize(
    "lose", [leave_group, be_taken_from_groups, group_loses_role, role_loses_action, be_disabled]
)
@pytest.mark.parametrize("messages", ["arrive", "are lost"])
def test_whatever_way_the_right_goes_the_desktop_goes(world: World, lose: Act, messages: str) -> None:
    pool = world.pool(1)
    Role.objects.create(name="Taker", actions=["use_pool"])
    group = Group.objects.create(name="staff")
    person, other = world.person("minji"), world.person("other", pool)
    group.user_set.add(person)
    grants.grant(role="Taker", to=group, on=pool)
    wish, next_one = world.take(person, pool), world.take(other, pool)
    world.settle()
    lose(world, pool, person)
    if messages == "are lost":
        world.lose_all_messages()
        world.sweep()
    world.settle()
    world.sweep()
    assert ended(wish) == ("ended", "revoked")
    assert fresh(next_one).state == "ready"


@pytest.mark.req("R146")
def test_another_role_that_says_the_same_keeps_everything(world: World) -> None:
    pool = world.pool(1)
    [person] = world.people(1, pool)
    grants.grant(role="VmPoolAdmin", to=person, on=world.cluster)
    wish = world.take(person, pool)
    world.settle()
    grants.revoke(role="UserRole", to=person, on=pool)
    world.settle()
    world.sweep()
    assert fresh(wish).state == "ready"
    grants.revoke(role="VmPoolAdmin", to=person, on=world.cluster)
    world.settle()
    assert ended(wish) == ("ended", "revoked")


def test_desktops_of_other_pools_stay(world: World) -> None:
    pool, other = world.pool(1), world.pool(1, name="other")
    [person] = world.people(1, pool)
    grants.grant(role="UserRole", to=person, on=other)
    wishes = [world.take(person, one) for one in (pool, other)]
    world.settle()
    grants.revoke(role="UserRole", to=person, on=pool)
    world.settle()
    assert [fresh(wish).state for wish in wishes] == ["ended", "ready"]


def test_a_right_that_comes_back_in_time_costs_nothing(world: World) -> None:
    pool = world.pool(1)
    [person] = world.people(1, pool)
    wish = world.take(person, pool)
    world.settle()
    grants.revoke(role="UserRole", to=person, on=pool)
    grants.grant(role="UserRole", to=person, on=pool)
    world.settle()
    assert fresh(wish).state == "ready"


@pytest.mark.req("R065", "R146")
def test_a_manual_pool_keeps_the_desktop_and_closes_its_display(world: World) -> None:
    pool = world.pool(1, type="manual")
    [person] = world.people(1, pool)
    wish = world.take(person, pool)
    world.settle()
    vm = VirtualMachine.objects.get()
    ticket = consoles.issue(request=fresh(wish))
    world.settle()
    assert world.driver.domain_table[vm.pk].ticket is not None
    grants.revoke(role="UserRole", to=person, on=pool)
    world.settle()
    ticket.refresh_from_db()
    assert world.driver.domain_table[vm.pk].ticket is None
    assert ticket.revoked_at is not None and ticket.closed_at is not None
    assert fresh(wish).state == "ready" and wish.revoked_at is not None
    with pytest.raises(Denied):
        consoles.display(ticket=ticket)
    with pytest.raises(Denied):
        consoles.issue(request=wish)
    world.run("broker.set_ticket", ticket.pk)  # a worker that is late opens nothing
    assert world.driver.domain_table[vm.pk].ticket is None
    world.sweep()
    assert Event.objects.filter(kind="desktop.kept").count() == 1
    grants.grant(role="UserRole", to=person, on=pool)
    world.sweep()
    assert fresh(wish).revoked_at is None
    consoles.issue(request=wish)
    vms.release(vm=vm, by=world.superuser())
    world.settle()
    assert fresh(wish).state == "ended"


def opened_by_administrator(world: World) -> tuple[Any, VirtualMachine, ConsoleTicket]:
    world.pool(1)
    person = world.person("operator")
    grants.grant(role="ClusterAdmin", to=person, on=world.cluster)
    vm = VirtualMachine.objects.get()
    vms.start(vm=vm, by=person)
    world.settle()
    ticket = consoles.issue_to_administrator(vm=vm, by=person)
    world.settle()
    assert world.driver.domain_table[vm.pk].ticket is not None
    return person, vm, ticket


def test_the_display_that_an_administrator_opened_is_closed(world: World) -> None:
    person, vm, ticket = opened_by_administrator(world)
    grants.revoke(role="ClusterAdmin", to=person, on=world.cluster)
    world.settle()
    ticket.refresh_from_db()
    assert world.driver.domain_table[vm.pk].ticket is None
    assert ticket.closed_at is not None
    assert Event.objects.filter(kind="console.revoked", vm_id=vm.pk).count() == 1
    vm.refresh_from_db()
    assert vm.run_mode == "stateful"  # what runs for others goes on
    with pytest.raises(Denied):
        consoles.issue_to_administrator(vm=vm, by=person)


def test_a_host_that_does_not_answer_is_asked_again_until_the_display_is_closed(world: World) -> None:
    person, vm, ticket = opened_by_administrator(world)
    world.driver.unreachable = True
    grants.revoke(role="ClusterAdmin", to=person, on=world.cluster)
    with pytest.raises(HypervisorError):
        world.settle()
    ticket.refresh_from_db()
    assert ticket.revoked_at is not None and ticket.closed_at is None
    world.driver.unreachable = False
    world.sweep()
    ticket.refresh_from_db()
    assert ticket.closed_at is not None
    assert world.driver.domain_table[vm.pk].ticket is None


def test_who_leads_a_shift_returns_desktops_but_moves_nobody_in_the_line(world: World) -> None:
    pool = world.pool(1)
    first, second = world.people(2, pool)
    lead = world.person("lead", pool, role="HelpDeskLead")
    held, waiting = world.take(first, pool), world.take(second, pool)
    world.settle()
    with pytest.raises(Conflict, match="keeps the place"):
        desktops.give_back(request=waiting, by=lead)
    desktops.give_back(request=fresh(held), by=lead)
    world.settle()
    assert ended(held) == ("ended", "returned")
    assert fresh(waiting).state == "ready"
    assert Event.objects.get(kind="desktop.returning").actor == lead


@pytest.mark.req("R146")
def test_a_right_that_came_back_for_a_moment_leaves_no_display_open(world: World) -> None:
    pool = world.pool(1, type="manual")
    [person] = world.people(1, pool)
    wish = world.take(person, pool)
    world.settle()
    vm = VirtualMachine.objects.get()
    grants.revoke(role="UserRole", to=person, on=pool)
    world.settle()
    grants.grant(role="UserRole", to=person, on=pool)
    world.lose_all_messages()  # nobody has noticed yet
    ticket = consoles.issue(request=fresh(wish))
    world.settle()
    assert world.driver.domain_table[vm.pk].ticket is not None
    grants.revoke(role="UserRole", to=person, on=pool)
    world.settle()
    ticket.refresh_from_db()
    assert ticket.closed_at is not None
    assert world.driver.domain_table[vm.pk].ticket is None


def test_those_who_may_hide_nobody_who_may_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.loops.access.BATCH", 3)
    person, vm, ticket = opened_by_administrator(world)
    other = world.superuser("other")
    for _click in range(5):
        consoles.issue_to_administrator(vm=vm, by=other)
    world.settle()
    grants.revoke(role="ClusterAdmin", to=person, on=world.cluster)
    world.settle()
    ticket.refresh_from_db()
    assert ticket.closed_at is not None
    assert not ConsoleTicket.objects.filter(user=other, revoked_at__isnull=False).exists()


def test_one_that_cannot_be_ended_keeps_nobody_elses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = world.pool(2)
    first, second = world.people(2, pool)
    wishes = [world.take(person, pool) for person in (first, second)]
    world.settle()
    real = desktops.end_unpermitted

    def broken(*, request_id: Any) -> None:
        if request_id == wishes[0].pk:
            raise Conflict("for some reason")
        real(request_id=request_id)

    monkeypatch.setattr(desktops, "end_unpermitted", broken)
    for person in (first, second):
        grants.revoke(role="UserRole", to=person, on=pool)
    world.settle()
    assert [fresh(wish).state for wish in wishes] == ["ready", "ended"]


def test_an_account_with_a_history_is_not_removed_and_others_lose_their_roles_in_the_record(world: World) -> None:
    admin = world.superuser()
    person, _vm, _ticket = opened_by_administrator(world)
    with pytest.raises(Conflict, match="history"):
        users.remove(user=person, by=admin)
    newcomer = world.person("newcomer", Pool.objects.get())
    users.remove(user=newcomer, by=admin)
    event = Event.objects.get(kind="role.revoked")
    assert (event.actor, event.facts["principal"]) == (admin, "newcomer")


def test_a_role_on_what_is_being_removed_is_not_given(world: World) -> None:
    pool = world.pool(1)
    stale = Pool.objects.get(pk=pool.pk)
    vms.detach(vms=list(pool.vms.all()), by=None)
    pools.remove(pool=pool, by=world.superuser())
    with pytest.raises(NotFound):
        grants.grant(role="UserRole", to=world.person("late"), on=stale)
    assert not world.person("late").role_assignments.exists()
