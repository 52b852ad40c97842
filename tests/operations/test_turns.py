"""On each host as much is started, reset, made and deleted at once as it bears: people who wait come first."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from broker import jobs, orders
from broker.drivers.hypervisor import HostUsage
from broker.loops import host_health, sweep
from broker.models import DesktopRequest, Host, Turn, VirtualMachine
from broker.operations import desktops, hosts, pools, turns
from broker.rules.pacing import Noticed
from tests.world import World


@pytest.fixture
def booting(world: World, clock: Any) -> World:
    """Guests of this world boot until the test lets them be ready.

    Its clock stands still: guests that boot for ten seconds of it lose their turns.
    """
    world.driver.agent_answers = False
    return world


def set_pace(host: Host, pace: float) -> None:
    Host.objects.filter(pk=host.pk).update(pace=pace)


def test_no_more_guests_boot_at_once_than_the_pace_of_the_host_allows(booting: World) -> None:
    pool = booting.pool(8)
    set_pace(booting.host, 3)
    wishes = [booting.take(person, pool) for person in booting.people(8, pool)]
    for waits in (3, 6, 8):
        booting.settle()
        assert booting.driver.started == waits
        booting.driver.agent_answers = True
        set_pace(booting.host, 3)
        for vm_id in booting.driver.running():
            booting.run("again", vm_id)
        booting.driver.agent_answers = False
    booting.driver.agent_answers = True
    booting.sweep()
    assert {wish.state for wish in DesktopRequest.objects.filter(pk__in=[w.pk for w in wishes])} == {"ready"}
    assert not Turn.objects.exists()


def test_people_come_before_prestarts_and_prestarts_before_housekeeping(booting: World) -> None:
    world = booting
    housekeeping, ahead, waited_for = (world.pool(1, name=name) for name in ("returned", "ahead", "wanted"))
    blocked = [world.pool(1, name=f"blocked-{number}") for number in (1, 2)]
    person = world.person("agent01")
    for pool in (housekeeping, waited_for, *blocked):
        world.person("agent01", pool)
    world.driver.agent_answers = True
    used = world.take(person, housekeeping)
    world.settle()
    world.driver.agent_answers = False
    for pool in blocked:  # both turns of the host are taken by guests that boot
        world.take(person, pool)
    world.settle()
    assert Turn.objects.waiting().count() == 0

    desktops.give_back(request=used)
    world.settle()
    change_prestarted(ahead, 1)
    world.run("broker.allocate", ahead.pk)
    world.settle()
    world.take(person, waited_for)
    world.settle()
    order = [turn.vm.pool.name for turn in Turn.objects.waiting().in_order().select_related("vm__pool")]
    assert order == ["wanted", "ahead", "returned"]


def test_a_reset_that_somebody_waits_for_comes_before_prestarts(booting: World) -> None:
    world = booting
    short, ahead = world.pool(1, name="short"), world.pool(1, name="ahead")
    first, second = world.people(2, short)
    world.driver.agent_answers = True
    used = world.take(first, short)
    world.settle()
    world.take(second, short)
    set_pace(world.host, 2)
    crowd(world)
    change_prestarted(ahead, 1)
    world.run("broker.allocate", ahead.pk)
    world.settle()
    desktops.give_back(request=used)
    world.settle()
    order = [turn.vm.pool.name for turn in Turn.objects.waiting().in_order().select_related("vm__pool")]
    assert order == ["short", "ahead"]


def test_whoever_starts_a_desktop_of_a_manual_pool_again_comes_before_prestarts(booting: World) -> None:
    world = booting
    manual, ahead = world.pool(1, name="manual", type="manual"), world.pool(1, name="ahead")
    world.driver.agent_answers = True
    wish = world.take(world.people(1, manual)[0], manual)
    world.settle()
    vm = manual.vms.get()
    world.driver.guest_shuts_down(vm.pk)
    world.run("broker.converge", vm.pk)
    world.settle()
    crowd(world)
    change_prestarted(ahead, 1)
    world.run("broker.allocate", ahead.pk)
    world.settle()
    wish.refresh_from_db()
    desktops.restart(request=wish)
    world.settle()
    order = [turn.vm.pool.name for turn in Turn.objects.waiting().in_order().select_related("vm__pool")]
    assert order == ["manual", "ahead"]


def crowd(world: World) -> None:
    """Two guests that boot for ever have both turns of the host."""
    world.driver.agent_answers = False
    busy = world.pool(2, name="busy")
    for person in world.people(2, busy):
        world.take(person, busy)
    world.settle()
    assert Turn.objects.exclude(given_at=None).count() == 2


def change_prestarted(pool: Any, count: int) -> None:
    type(pool).objects.filter(pk=pool.pk).update(prestarted_vms=count)


def test_guests_that_never_boot_hold_nobody_up_for_long(booting: World) -> None:
    crowd(booting)
    pool = booting.pool(1, name="another", settle=False)
    booting.settle()
    assert not booting.driver.domain_table.keys() & set(pool.vms.values_list("pk", flat=True))
    Turn.objects.exclude(given_at=None).update(given_at=timezone.now() - timedelta(minutes=2))
    booting.sweep()
    assert booting.driver.domain_table.keys() >= set(pool.vms.values_list("pk", flat=True))


def test_what_a_killed_worker_left_lying_is_mended_by_the_sweep(booting: World) -> None:
    pool = booting.pool(2)
    idle, wanted = pool.vms.all()
    # Killed between the last step with a VM and letting others have its turn; the message for the next was lost.
    Turn.objects.create(vm=idle, host=booting.host, given_at=timezone.now())
    set_pace(booting.host, 1)
    booting.take(booting.people(1, pool)[0], pool)
    booting.driver.agent_answers = True
    Turn.objects.filter(vm=wanted).delete()
    booting.lose_all_messages()
    booting.sweep()
    assert DesktopRequest.objects.get().state == "ready"
    assert not Turn.objects.exists()


def test_a_wish_that_is_given_up_gives_up_its_turn(booting: World) -> None:
    crowd(booting)
    pool = booting.pool(1, name="another", settle=False)
    Turn.objects.exclude(given_at=None).update(given_at=timezone.now() - timedelta(minutes=2))
    booting.settle()
    Turn.objects.exclude(given_at=None).update(given_at=timezone.now())
    wish = booting.take(booting.person("visitor", pool), pool)
    booting.settle()
    assert Turn.objects.waiting().count() == 1
    desktops.give_back(request=wish)
    Turn.objects.exclude(given_at=None).update(given_at=timezone.now() - timedelta(minutes=2))
    booting.settle()
    booting.sweep()
    assert not Turn.objects.filter(vm__pool=pool).exists()


def test_a_host_that_fails_or_stands_still_is_given_less_at_once(world: World) -> None:
    set_pace(world.host, 16)
    vm = world.independent()
    turns.take(vm_id=vm.pk, host_id=world.host.pk)
    failed = [Noticed("start", 0.1, failed=True)]
    turns.leave(vm_id=vm.pk, host_id=world.host.pk, noticed=failed, booting=False)
    world.host.refresh_from_db()
    assert world.host.pace == 8
    hosts.record_usage(host=world.host, usage=HostUsage(1, 1, 1, stalled_percent=90))
    world.host.refresh_from_db()
    assert world.host.pressure_percent == 90
    assert world.host.pace == pytest.approx(8 * 0.7)


def test_a_start_that_fails_at_once_does_not_pass_for_a_quick_one(world: World) -> None:
    pool = world.pool(1, type="manual")
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    vm = pool.vms.get()
    world.driver.guest_shuts_down(vm.pk)
    world.run("broker.converge", vm.pk)
    usual = {"start": 5.0}
    Host.objects.update(pace=8, usual_seconds=usual)
    world.driver.failing_starts = 1
    wish.refresh_from_db()
    desktops.restart(request=wish)
    world.settle()
    world.host.refresh_from_db()
    assert (world.host.usual_seconds, world.host.pace) == (usual, 4)


def test_who_is_let_through_is_not_taken_for_the_order_of_who_made_room(
    booting: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(booting)
    pool = booting.pool(1, name="another", settle=False)
    booting.settle()
    (leaver,) = Turn.objects.exclude(given_at=None)[:1]
    woken: dict[UUID, str] = {}
    monkeypatch.setattr(jobs, "_send_once", lambda name, key: woken.update({key: orders.reference()}))
    with orders.following(uuid4()):
        turns.leave(vm_id=leaver.pk, host_id=leaver.host_id, noticed=(), booting=False)
        assert orders.reference()
    assert woken == {pool.vms.get().pk: ""}


def test_removing_a_vm_lets_the_next_one_have_its_turn(world: World) -> None:
    pool = world.pool(6)
    pools.remove_with_vms(pool=pool, by=world.superuser())
    world.settle()
    assert not VirtualMachine.objects.exists()
    assert not Turn.objects.exists()


def test_the_sweep_leaves_those_alone_that_wait_for_a_turn(booting: World) -> None:
    crowd(booting)
    waits = booting.pool(3, name="another", settle=False)
    booting.settle()
    booting.lose_all_messages()
    sweep.sweep()
    woken = {key for name, key in booting.sent if name == "broker.converge"}
    assert woken  # those that have theirs
    assert not woken & set(waits.vms.values_list("pk", flat=True))


def test_a_look_at_a_host_wakes_only_those_whose_turn_it_is(booting: World) -> None:
    ahead = booting.pool(3, name="ahead")
    crowd(booting)
    change_prestarted(ahead, 3)
    booting.run("broker.allocate", ahead.pk)
    booting.settle()
    assert Turn.objects.waiting().count() == 3
    booting.lose_all_messages()
    host_health.check(booting.host.pk)
    woken = {key for name, key in booting.sent if name == "broker.converge"}
    assert woken
    assert not woken & set(Turn.objects.waiting().values_list("pk", flat=True))
