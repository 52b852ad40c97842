"""Only the newest ticket of the present run opens a display, whatever workers do late."""

from collections.abc import Callable

import pytest
from django.conf import settings

from broker import grants, tasks
from broker.drivers.hypervisor import HypervisorError
from broker.errors import Busy, Conflict, Denied
from broker.models import ConsoleTicket, DesktopRequest, VirtualMachine
from broker.operations import consoles, desktops, vms
from broker.rules.consoles import password
from tests.world import World


@pytest.fixture
def wish(world: World) -> DesktopRequest:
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    return wish


def secret(ticket: ConsoleTicket) -> str:
    return password(settings.SECRET_KEY, ticket.pk)


def accepted(world: World, wish: DesktopRequest) -> str | None:
    return world.driver.domain_table[wish.vm_id].ticket


def while_setting(world: World, wish: DesktopRequest, meanwhile: Callable[[], object]) -> None:
    """Something happens in the middle of a worker's first call to the host."""
    real = world.driver.set_ticket

    def slow(*args: object, **kwargs: object) -> None:
        world.driver.set_ticket = real  # type: ignore[method-assign]
        real(*args, **kwargs)  # type: ignore[arg-type]
        meanwhile()

    world.driver.set_ticket = slow  # type: ignore[method-assign]


def test_a_ticket_is_shown_once_a_worker_has_set_it(world: World, wish: DesktopRequest) -> None:
    ticket = consoles.issue(request=wish)
    assert consoles.display(ticket=ticket) is None
    world.settle()
    shown = consoles.display(ticket=ticket)
    assert shown is not None and shown.password == secret(ticket) == accepted(world, wish)


def test_a_newer_ticket_voids_the_former(world: World, wish: DesktopRequest) -> None:
    first, second = consoles.issue(request=wish), consoles.issue(request=wish)
    world.run("broker.set_ticket", first.pk)
    assert accepted(world, wish) == secret(second)
    with pytest.raises(Conflict, match="newer"):
        consoles.display(ticket=first)


def test_a_worker_that_is_overtaken_sets_the_newest(world: World, wish: DesktopRequest) -> None:
    first = consoles.issue(request=wish)
    newer: list[ConsoleTicket] = []
    while_setting(world, wish, lambda: newer.append(consoles.issue(request=wish)))
    world.run("broker.set_ticket", first.pk)
    assert accepted(world, wish) == secret(newer[0])


def test_a_return_while_a_ticket_is_being_set_lets_nobody_in(world: World, wish: DesktopRequest) -> None:
    ticket = consoles.issue(request=wish)
    while_setting(world, wish, lambda: desktops.give_back(request=wish))
    world.run("broker.set_ticket", ticket.pk)
    assert accepted(world, wish) is None
    with pytest.raises(Conflict):
        consoles.display(ticket=ticket)
    with pytest.raises(Conflict):
        consoles.issue(request=wish)


def test_a_ticket_of_an_earlier_run_is_never_set(world: World, wish: DesktopRequest) -> None:
    ticket = consoles.issue(request=wish)
    desktops.give_back(request=wish)
    world.sent.remove(("broker.set_ticket", ticket.pk))
    world.settle()
    world.take(wish.user, wish.pool)
    world.settle()
    world.run("broker.set_ticket", ticket.pk)
    assert accepted(world, wish) is None


def test_a_host_that_refuses_is_said_to_be_busy(world: World, wish: DesktopRequest) -> None:
    ticket = consoles.issue(request=wish)
    world.driver.unreachable = True
    world.settle()
    with pytest.raises(Busy):
        consoles.display(ticket=ticket)


def test_administrators_open_what_they_run_and_nothing_else(world: World, wish: DesktopRequest) -> None:
    admin = world.superuser()
    vm = VirtualMachine.objects.get()
    with pytest.raises(Conflict):
        consoles.issue_to_administrator(vm=vm, by=admin)
    desktops.give_back(request=wish)
    world.settle()
    vms.start(vm=vm, by=admin)
    world.settle()
    ticket = consoles.issue_to_administrator(vm=vm, by=admin)
    world.settle()
    assert consoles.display(ticket=ticket) is not None


@pytest.mark.req("R028")
def test_options_are_the_users_own_for_each_pool(world: World, wish: DesktopRequest) -> None:
    consoles.choose_options(user=wish.user, pool=wish.pool, fullscreen=True, remap_ctrl_alt_del=False)
    assert consoles.options_of(user=wish.user, pool=wish.pool).fullscreen
    assert not consoles.options_of(user=world.person("other"), pool=wish.pool).fullscreen
    assert not consoles.options_of(user=wish.user, pool=world.pool(1, name="other")).fullscreen


@pytest.mark.req("R002", "R021")
def test_who_lost_the_permission_gets_no_new_ticket(wish: DesktopRequest) -> None:
    grants.revoke(role="UserRole", to=wish.user, on=wish.pool)
    with pytest.raises(Denied, match="was removed"):
        consoles.issue(request=wish)
    with pytest.raises(Denied):
        desktops.restart(request=wish)


def test_a_display_that_cannot_be_closed_is_turned_off_with_its_desktop(world: World, wish: DesktopRequest) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise HypervisorError("the display hangs")

    world.driver.set_ticket = refuse  # type: ignore[method-assign, assignment]
    world.driver.ignores_shutdown = True
    desktops.give_back(request=wish)
    world.settle()
    wish.refresh_from_db()
    assert (wish.state, world.driver.running()) == ("ended", set())


def test_a_restart_that_comes_late_does_not_meet_the_next_person(world: World, wish: DesktopRequest) -> None:
    run = VirtualMachine.objects.get().run_number
    tasks.reboot(str(wish.vm_id), str(run))
    assert world.driver.reboots == 1
    desktops.give_back(request=wish)
    world.settle()
    world.take(wish.user, wish.pool)
    world.settle()
    tasks.reboot(str(wish.vm_id), str(run))
    assert world.driver.reboots == 1


def test_a_worker_killed_right_after_setting_a_ticket_leaves_nothing_open(world: World, wish: DesktopRequest) -> None:
    ticket = consoles.issue(request=wish)
    world.driver.ignores_shutdown = True
    desktops.give_back(request=wish)
    world.sent.remove(("broker.set_ticket", ticket.pk))
    world.settle()
    # The killed try had set it after the display was closed; the message comes again.
    world.driver.domain_table[wish.vm_id].ticket = secret(ticket)
    run = ticket.run_number
    assert world.driver.domain_table[wish.vm_id].live_run == run
    world.run("broker.set_ticket", ticket.pk)
    assert accepted(world, wish) is None
