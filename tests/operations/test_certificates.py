"""The certificate of a clean desktop: written before anybody gets it, and when it is gone (I4)."""

import pytest

from broker.models import Certificate, DesktopRequest, VirtualMachine
from broker.operations import desktops, vms
from broker.states import RunMode
from tests.world import World


def proof_of(wish: DesktopRequest) -> Certificate:
    wish = DesktopRequest.objects.select_related("certificate").get(pk=wish.pk)
    assert wish.certificate is not None
    return wish.certificate


@pytest.mark.req("R006", "R013")
def test_a_session_is_certified_from_the_fresh_layer_to_its_destruction(world: World) -> None:
    pool = world.pool(1)
    wish = world.take(world.person("agent01", pool), pool)
    world.settle()
    proof = proof_of(wish)
    vm = VirtualMachine.objects.get()
    assert proof.vm == vm and proof.layer == vm.layer().name and proof.layer in world.driver.layers()
    assert proof.stands_on.endswith(vm.volume.name) and proof.disk == vm.volume.name
    assert proof.disk_made_at is not None and proof.disk_made_at <= proof.made_at
    assert (proof.version_name, proof.checksum) == ("Tiny Linux (v1)", "0" * 64)
    assert (proof.changed_at, proof.layer_before, proof.destroyed_at) == (None, "", None)
    desktops.give_back(request=wish)
    world.settle()
    first = proof_of(wish)
    assert first.destroyed_at is not None and first.layer not in world.driver.layers()
    again = world.take(wish.user, pool)
    world.settle()
    second = proof_of(again)
    assert second.pk != first.pk
    assert (second.layer_before, second.layer_before_destroyed_at is not None) == (first.layer, True)


def test_a_desktop_that_ran_ahead_brings_its_certificate(world: World) -> None:
    pool = world.pool(1, prestarted_vms=1)
    [made_ahead] = Certificate.objects.all()
    wish = world.take(world.person("agent01", pool), pool)
    world.settle()
    assert proof_of(wish) == made_ahead
    assert made_ahead.made_at < wish.requested_at


@pytest.mark.req("R034")
def test_what_an_administrator_changed_below_is_in_it(world: World) -> None:
    pool = world.pool(1)
    admin = world.superuser("root")
    vm = VirtualMachine.objects.get()
    vms.start(vm=vm, by=admin)
    world.settle()
    vms.release(vm=vm, by=admin)
    world.settle()
    assert not Certificate.objects.exists(), "only stateless runs are certified"
    wish = world.take(world.person("agent01", pool), pool)
    world.settle()
    proof = proof_of(wish)
    assert (proof.changed_by, proof.released_by) == ("root", "root")
    assert proof.changed_at is not None and proof.released_at is not None


def test_a_worker_that_died_over_it_leaves_one_and_no_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = world.pool(1)
    start = world.driver.start

    def dies(*_given: object) -> None:
        raise SystemExit

    monkeypatch.setattr(world.driver, "start", dies)
    wish = world.take(world.person("agent01", pool), pool)
    with pytest.raises(SystemExit):
        world.settle()
    [half] = Certificate.objects.all()
    monkeypatch.setattr(world.driver, "start", start)
    world.sweep()
    assert proof_of(wish) == half
    assert Certificate.objects.count() == 1


def test_a_failed_start_ends_with_its_layer_destroyed_and_another_certificate(world: World) -> None:
    pool = world.pool(2)
    world.driver.failing_starts = 1
    wish = world.take(world.person("agent01", pool), pool)
    world.settle()
    assert proof_of(wish).destroyed_at is None
    assert Certificate.objects.filter(destroyed_at__isnull=False).count() == 1
    assert VirtualMachine.objects.get(pk=proof_of(wish).vm_id).run_mode == RunMode.STATELESS


def test_nothing_is_offered_before_its_layer_is_certified_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = world.pool(1)
    wish = world.take(world.person("agent01", pool), pool)
    world.settle()

    def fails(_volume: object) -> None:
        from broker.drivers.hypervisor import HypervisorError

        raise HypervisorError("the disk does not answer")

    monkeypatch.setattr(world.driver, "delete_volume", fails)
    desktops.give_back(request=wish)
    world.settle()
    assert proof_of(wish).destroyed_at is None
    assert not VirtualMachine.objects.offerable().exists()


def test_a_new_disk_knows_of_no_layer_before(world: World) -> None:
    pool = world.pool(1)
    wish = world.take(world.person("agent01", pool), pool)
    world.settle()
    desktops.give_back(request=wish)
    world.settle()
    vms.rebuild(vm=VirtualMachine.objects.get(), by=world.superuser("root"))
    world.settle()
    again = world.take(wish.user, pool)
    world.settle()
    proof = proof_of(again)
    assert (proof.layer_before, proof.layer_before_destroyed_at) == ("", None)
