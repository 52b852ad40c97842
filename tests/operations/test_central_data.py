"""Desktops are told where the data of their users is, and keep none of it (R008)."""

import threading
import time
from typing import Any

import pytest

from broker import leases
from broker.drivers.hypervisor.config_drive import OF_CENTRAL_DATA, for_central_data
from broker.loops import host_health
from broker.models import Pool, VirtualMachine
from broker.operations import desktops, pools, storage, vms
from tests.world import World

HERE, THERE = "smb://files/home", r"\\files2\home"


def told(world: World, vm: VirtualMachine) -> str | None:
    """The drive in the domain of a VM, by its name."""
    drive = world.driver.domain_table[vm.pk].spec.config_drive
    return drive and drive.name


def drives(world: World) -> set[str]:
    return {name for name in world.driver.volume_table if OF_CENTRAL_DATA.fullmatch(name)}


def name_of(location: str) -> str:
    return for_central_data(location).name


def move(pool: Pool, location: str) -> None:
    pools.change(pool=pool, changes={"central_data": location})


def taken(world: World, pool: Pool, name: str) -> tuple[Any, VirtualMachine]:
    wish = world.take(world.person(name, pool), pool)
    world.settle()
    wish.refresh_from_db()
    return wish, wish.vm


@pytest.mark.req("R008")
def test_all_members_are_told_the_same_beside_their_disks(world: World) -> None:
    pool = world.pool(2, central_data=HERE)
    seen = [taken(world, pool, name)[1] for name in ("one", "two")]
    assert {told(world, vm) for vm in seen} == drives(world) == {name_of(HERE)}
    assert world.driver.volume_table[name_of(HERE)] == [for_central_data(HERE).content.hex()]
    others = [lines for name, lines in world.driver.volume_table.items() if name != name_of(HERE)]
    assert others and not any(others)


def test_a_pool_without_a_location_tells_nothing(world: World) -> None:
    _wish, vm = taken(world, world.pool(1), "one")
    assert (told(world, vm), drives(world)) == (None, set())


@pytest.mark.req("R008")
def test_a_new_location_is_told_to_those_who_start_later(world: World) -> None:
    pool = world.pool(2, central_data=HERE)
    wish, first = taken(world, pool, "one")
    move(pool, THERE)
    _later, second = taken(world, pool, "two")
    assert (told(world, first), told(world, second)) == (name_of(HERE), name_of(THERE))
    host_health.check(world.host.pk)
    assert drives(world) == {name_of(HERE), name_of(THERE)}
    desktops.give_back(request=wish)
    world.settle()
    assert told(world, first) is None
    host_health.check(world.host.pk)
    assert drives(world) == {name_of(THERE)}
    assert told(world, taken(world, pool, "three")[1]) == name_of(THERE)


def test_what_runs_ahead_is_started_anew_with_the_new_location(world: World) -> None:
    pool = world.pool(2, central_data=HERE, prestarted_vms=2)
    assert {told(world, vm) for vm in pool.vms.all()} == {name_of(HERE)}
    move(pool, THERE)
    world.settle()
    assert pool.vms.prestarted().count() == 2
    assert {told(world, vm) for vm in pool.vms.all()} == {name_of(THERE)}
    move(pool, "")
    world.settle()
    assert {told(world, vm) for vm in pool.vms.all()} == {None}
    host_health.check(world.host.pk)
    assert drives(world) == set()


def test_an_administrator_who_writes_on_the_disk_is_told_nothing(world: World) -> None:
    pool = world.pool(1, central_data=HERE)
    vms.start(vm=pool.vms.get(), by=world.person("admin"))
    world.settle()
    assert (told(world, pool.vms.get()), drives(world)) == (None, set())


def test_a_desktop_that_was_shut_down_is_told_the_present_location_when_it_starts_again(world: World) -> None:
    pool = world.pool(1, type="manual", central_data=HERE)
    wish, vm = taken(world, pool, "one")
    world.driver.guest_shuts_down(vm.pk)
    world.sweep()
    host_health.check(world.host.pk)
    world.settle()
    move(pool, THERE)
    host_health.check(world.host.pk)
    assert name_of(HERE) in drives(world)  # its layer and its run go on
    desktops.restart(request=wish)
    world.settle()
    assert told(world, vm) == name_of(THERE)
    host_health.check(world.host.pk)
    assert drives(world) == {name_of(THERE)}


def test_a_drive_is_deleted_under_nobody_who_is_about_to_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool goes back to a location while its drive, which nobody wanted, is being deleted."""
    pool = world.pool(1, central_data=HERE)
    wish, _vm = taken(world, pool, "one")
    move(pool, "")
    desktops.give_back(request=wish)
    world.settle()
    delete, waited = world.driver.delete_volume, threading.Event()

    def slow(volume: Any) -> None:
        # Between the look and the deletion the location is wanted again.
        move(pool, HERE)
        world.take(world.person("two", pool), pool)
        monkeypatch.setattr(time, "sleep", lambda _seconds: (waited.set(), delete(volume), leases_over()))
        world.settle()

    def leases_over() -> None:
        leases.Lease.objects.update(expires_at=wish.requested_at)

    monkeypatch.setattr(world.driver, "delete_volume", slow)
    storage.clear_config_drives_on_host(driver=world.driver, pool=world.storage, found=world.driver.volumes("images"))
    assert waited.is_set()
    [vm] = VirtualMachine.objects.all()
    assert (vm.status, vm.failures, told(world, vm)) == ("up", 0, name_of(HERE))
    assert drives(world) == {name_of(HERE)}


def test_a_start_that_fails_is_repeated_with_the_same_drive(world: World) -> None:
    world.driver.failing_starts = 1
    pool = world.pool(2, central_data=HERE)
    wish, vm = taken(world, pool, "one")
    assert (wish.state, told(world, vm)) == ("ready", name_of(HERE))
