"""Only the newest ticket of the present run opens a display, whatever workers do late."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from django.conf import settings

from broker import config, grants, tasks
from broker.drivers.hypervisor import HypervisorError
from broker.errors import Busy, Conflict, Denied, Invalid
from broker.models import ConsoleOptions, ConsoleTicket, DesktopRequest, VirtualMachine
from broker.operations import clusters, consoles, desktops, pools, vms
from broker.rules.consoles import connection_file, password
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
    display = consoles.display(ticket=ticket)
    assert display is not None and display.password == secret(ticket) == accepted(world, wish)


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


def shown(world: World, wish: DesktopRequest) -> str:
    """The connection file of a desktop, once a worker has set its ticket."""
    ticket = consoles.issue(request=wish)
    world.settle()
    display = consoles.display(ticket=ticket)
    assert display is not None
    return connection_file(display)


@pytest.mark.req("R028")
def test_options_are_the_users_own_for_each_pool(world: World, wish: DesktopRequest) -> None:
    consoles.choose_options(user=wish.user, pool=wish.pool, chosen={"fullscreen": True})
    assert consoles.options_of(user=wish.user, of=wish.pool).fullscreen
    assert not consoles.options_of(user=world.person("other"), of=wish.pool).fullscreen
    assert not consoles.options_of(user=wish.user, of=world.pool(1, name="other")).fullscreen


@pytest.mark.req("R028")
def test_the_next_desktop_of_the_pool_is_opened_as_the_last_one(world: World, wish: DesktopRequest) -> None:
    chosen = {"color_depth": "16", "disabled_effects": ["all"], "usb_autoshare": False}
    consoles.choose_options(user=wish.user, pool=wish.pool, chosen=chosen)
    pools.change(pool=wish.pool, changes={}, increase_by=1)
    world.settle()
    desktops.give_back(request=wish)
    world.settle()
    world.take(world.person("other", wish.pool), wish.pool)
    world.settle()
    other = world.take(wish.user, wish.pool)
    world.settle()
    other.refresh_from_db()
    assert other.vm_id != wish.vm_id
    lines = shown(world, other).splitlines()
    assert {"color-depth=16", "disable-effects=all", "enable-usb-autoshare=0"} <= set(lines)


def test_what_nobody_chose_is_as_the_pool_has_it_now(world: World, wish: DesktopRequest) -> None:
    consoles.choose_options(user=wish.user, pool=wish.pool, chosen={"remap_ctrl_alt_del": True})
    changes = {"fullscreen": True, "remap_ctrl_alt_del": False, "color_depth": "32", "usb_filter": "-1,-1,-1,-1,0"}
    pools.change(pool=wish.pool, changes=changes)
    lines = shown(world, wish).splitlines()
    assert {"fullscreen=1", "color-depth=32", "usb-filter=-1,-1,-1,-1,0", "secure-attention=ctrl+alt+end"} <= set(
        lines
    )


def test_a_page_remembers_only_what_was_changed_on_it(world: World, wish: DesktopRequest) -> None:
    now = consoles.options_of(user=wish.user, of=wish.pool)
    consoles.change_options(user=wish.user, pool=wish.pool, wanted=replace(now, color_depth="16"))
    consoles.change_options(user=wish.user, pool=wish.pool, wanted=replace(now, color_depth="16", use_proxy=False))
    assert ConsoleOptions.objects.get().chosen() == {"color_depth": "16", "use_proxy": False}
    consoles.choose_options(user=wish.user, pool=wish.pool, chosen={})
    assert ConsoleOptions.objects.get().chosen() == {}


def test_a_smart_card_can_be_left_out_but_not_had_where_there_is_none(world: World, wish: DesktopRequest) -> None:
    with pytest.raises(Invalid, match="no smart card reader"):
        consoles.choose_options(user=wish.user, pool=wish.pool, chosen={"smartcard": True})
    pools.change(pool=wish.pool, changes={"smartcard": True})
    wish.pool.refresh_from_db()
    # The present desktop was made without a reader.
    assert "enable-smartcard=0" in shown(world, wish)
    VirtualMachine.objects.update(smartcard=True)
    assert "enable-smartcard=1" in shown(world, wish)
    consoles.choose_options(user=wish.user, pool=wish.pool, chosen={"smartcard": False})
    assert "enable-smartcard=0" in shown(world, wish)


@pytest.mark.req("R052", "R068", "R069")
def test_the_file_names_the_nearest_proxy_unless_its_user_wants_none(world: World, wish: DesktopRequest) -> None:
    levels = ("http://pool:1", "http://cluster:2", "http://default:3")
    for of_pool, of_cluster, default in product(*(("", one) for one in levels)):
        changes = {"override_spice_proxy": bool(of_pool), "spice_proxy": of_pool}
        pools.change(pool=wish.pool, changes=changes)
        clusters.change(cluster=world.cluster, changes={"spice_proxy": of_cluster})
        config.put("SpiceProxyDefault", default)
        expected = of_pool or of_cluster or default
        proxies = [line for line in shown(world, wish).splitlines() if line.startswith("proxy=")]
        assert proxies == ([f"proxy={expected}"] if expected else [])
    consoles.choose_options(user=wish.user, pool=wish.pool, chosen={"use_proxy": False})
    assert "proxy=" not in shown(world, wish)


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
