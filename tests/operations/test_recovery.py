"""What goes wrong half-way, is lost, or meets another order: nothing is stuck, and nobody loses what is theirs."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from broker.drivers.hypervisor import HostUnreachable, HypervisorError
from broker.errors import Conflict, Invalid
from broker.models import DesktopRequest, Host, Job, JobItem, Pool, StoragePool, VirtualMachine, Volume
from broker.operations import data_centers, desktops, hosts, jobs, pools, runs, templates, vm_leases, vms
from broker.states import VmHold
from tests.world import World


@pytest.fixture
def manual(world: World) -> DesktopRequest:
    """A desktop of a manual pool on which its user has worked and which was shut down."""
    pool = world.pool(1, type="manual")
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    assert wish.vm is not None
    world.driver.write_in_guest(wish.vm.pk, "work")
    world.driver.guest_shuts_down(wish.vm.pk)
    world.run("broker.converge", wish.vm.pk)
    world.settle()
    return wish


def test_a_guest_that_was_paused_while_it_booted_goes_on(world: World) -> None:
    pool = world.pool(1)
    world.driver.agent_answers = False
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    vm = VirtualMachine.objects.get()
    world.driver.suspend(vm.pk, "")  # as a full disk does
    world.driver.agent_answers = True
    world.sweep()
    wish.refresh_from_db()
    assert (wish.state, vm.pk in world.driver.running()) == ("ready", True)


def test_whoever_asks_for_another_look_while_a_run_ends_is_not_forgotten(world: World) -> None:
    pool = world.pool(1)
    world.take(world.people(1, pool)[0], pool)
    world.settle()
    vm = VirtualMachine.objects.get()
    held = vm_leases.hold(vm.pk)
    assert held is not None and vm_leases.hold(vm.pk) is None  # asks whoever has the lease
    runs.record_run_ended(held, crashed=False)
    assert not vm_leases.let_go(held)
    asked = VirtualMachine.objects.get().intent_version
    vm_leases.keep_up(held)
    assert (held.vm.intent_version, held.vm.status) == (asked, VirtualMachine.objects.get().status)
    assert vm_leases.let_go(held)


@pytest.mark.req("R066")
def test_a_failed_restart_costs_a_manual_pools_user_nothing(world: World, manual: DesktopRequest) -> None:
    world.driver.failing_starts = 1
    desktops.restart(request=manual)
    world.settle()
    world.sweep()
    manual.refresh_from_db()
    vm = VirtualMachine.objects.get()
    assert (manual.state, vm.halted, vm.hold, vm.host) == ("ready", True, None, None)
    desktops.restart(request=manual)
    world.settle()
    assert world.driver.read_in_guest(vm.pk) == ["work"]


@pytest.mark.req("R066")
def test_a_guest_that_is_not_ready_in_time_is_turned_off_and_kept(world: World, manual: DesktopRequest) -> None:
    world.driver.agent_answers = False
    desktops.restart(request=manual)
    world.settle()
    VirtualMachine.objects.update(run_started_at=timezone.now() - timedelta(hours=1))
    world.sweep()
    vm = VirtualMachine.objects.get()
    assert (vm.halted, vm.status, vm.host, vm.pk in world.driver.running()) == (True, "down", None, False)
    world.driver.agent_answers = True
    desktops.restart(request=manual)
    world.settle()
    assert world.driver.read_in_guest(vm.pk) == ["work"]


def test_a_halted_desktop_is_returned_although_its_host_is_gone(world: World, manual: DesktopRequest) -> None:
    other = world.add_host("other")
    VirtualMachine.objects.update(defined_on=None)
    Host.objects.filter(pk=world.host.pk).update(status="maintenance")
    vms.release(vm=VirtualMachine.objects.get(), by=None)
    world.settle()
    manual.refresh_from_db()
    vm = VirtualMachine.objects.get()
    assert (manual.state, manual.end_reason, vm.hold, vm.defined_on) == ("ended", "returned", None, other)
    assert not world.driver.layers()


def test_a_vm_whose_new_disk_was_never_made_is_made_and_not_offered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = world.pool(2)
    create_overlay = world.driver.create_overlay
    newer = world.publish_version()

    def refuse(*_: Any) -> None:
        raise HypervisorError("no room")

    monkeypatch.setattr(world.driver, "create_overlay", refuse)
    pools.renew(pool_id=pool.pk)
    world.settle()
    monkeypatch.setattr(world.driver, "create_overlay", create_overlay)
    failed = pool.vms.filter(hold=VmHold.ERROR).first()
    vms.release(vm=failed, by=None)
    world.run("broker.converge", failed.pk)
    failed.refresh_from_db()
    assert (failed.hold, failed.template_version) == (None, newer)
    assert failed.volume.name in world.driver.volume_table


def test_a_removal_that_overtakes_a_creation_ends_both_jobs(world: World) -> None:
    pool = world.pool(2, settle=False)
    removal = pools.remove_with_vms(pool=pool, by=None)
    world.settle()
    assert dict(Job.objects.values_list("kind", "state")) == {"pool.create": "stopped", "pool.remove": "done"}
    removal.refresh_from_db()
    assert set(removal.items.values_list("state", flat=True)) == {"done"}


def test_a_pool_that_could_not_be_removed_whole_is_used_again_or_removed_again(world: World) -> None:
    pool = world.pool(2)
    pools.remove_with_vms(pool=pool, by=None)
    with pytest.raises(Conflict, match="being removed"):
        pools.change(pool=pool, changes={}, increase_by=1)
    world.lose_all_messages()
    VirtualMachine.objects.update(hold=VmHold.ERROR)
    Pool.objects.update(removing=True)
    vms.release(vm=pool.vms.first(), by=None)
    world.settle()
    assert world.take(world.people(1, pool)[0], pool).state == "queued"
    world.settle()
    desktops.give_back(request=DesktopRequest.objects.get())
    world.settle()
    pools.remove_with_vms(pool=pool, by=None)
    world.settle()
    assert not Pool.objects.exists()


def test_vms_last_seen_on_a_host_in_maintenance_are_removed_all_the_same(world: World) -> None:
    other = world.add_host("other")
    pool = world.pool(2, start_running_on="specific", hosts=[world.host])
    Host.objects.filter(pk=world.host.pk).update(status="maintenance")
    pools.remove_with_vms(pool=pool, by=None)
    world.settle()
    assert not VirtualMachine.objects.exists()
    world.run("broker.monitor_host", other.pk)
    assert not Volume.objects.filter(doomed_at__isnull=False).exists()


def test_nobody_touches_a_vm_while_its_disk_is_published(world: World) -> None:
    pool = world.pool(1)
    member, single = pool.vms.get(), world.independent()
    for vm in (member, single):
        templates.publish(vm=vm, name=f"from-{vm}", by=None)
    for act in (
        lambda: vms.detach(vms=[member], by=None),
        lambda: vms.release(vm=member, by=None),
        lambda: vms.rebuild(vm=single, by=None),
        lambda: vms.remove(vm=single, by=None),
        lambda: vms.start(vm=single, by=None),
        lambda: templates.publish(vm=single, name="again", by=None),
    ):
        with pytest.raises(Conflict):
            act()
    world.settle()
    assert set(VirtualMachine.objects.values_list("hold", flat=True)) == {None}


def test_an_order_into_maintenance_outlives_a_silent_host(world: World) -> None:
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    hosts.maintain(host=world.host, by=None)
    world.settle()
    world.driver.unreachable = True
    world.run("broker.monitor_host", world.host.pk)
    world.driver.unreachable = False
    world.run("broker.monitor_host", world.host.pk)
    world.host.refresh_from_db()
    assert world.host.status == "preparing"
    desktops.give_back(request=wish)
    world.settle()
    world.run("broker.monitor_host", world.host.pk)
    world.host.refresh_from_db()
    assert (world.host.status, world.host.maintenance_asked) == ("maintenance", False)


def test_a_host_that_falls_silent_while_it_is_looked_at_is_lost(world: World) -> None:
    world.pool(1)

    def silent(_name: str) -> None:
        raise HostUnreachable("it fell silent")

    world.driver.volumes = silent  # type: ignore[method-assign, assignment]
    world.run("broker.monitor_host", world.host.pk)
    world.host.refresh_from_db()
    assert (world.host.status, world.host.status_reason) == ("non_responsive", "it fell silent")


def test_a_lost_order_to_suspend_or_resume_is_healed_by_the_sweep(world: World) -> None:
    vm = world.independent()
    vms.start(vm=vm, by=world.person("admin"))
    world.settle()
    for act, status in ((vms.suspend, "paused"), (vms.resume, "up")):
        act(vm=vm, by=None)
        world.lose_all_messages()
        world.sweep()
        vm.refresh_from_db()
        assert vm.status == status


def test_a_lost_word_of_a_newer_version_is_healed_by_the_sweep(world: World) -> None:
    pool = world.pool(2)
    world.publish_version()
    world.sweep()
    assert list(pool.vms.values_list("template_version__number", flat=True)) == [2, 2]


def test_vms_that_no_host_can_run_do_not_stand_in_the_way_of_others(world: World) -> None:
    other = world.add_host("other")
    pool = world.pool(25, start_running_on="specific", hosts=[other])
    pools.change(pool=pool, changes={"start_running_on": "any", "prestarted_vms": 1}, increase_by=2)
    Host.objects.filter(pk=other.pk).update(status="maintenance")
    world.settle()
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    assert wish.state == "ready"
    assert VirtualMachine.objects.prestarted().count() == 1


def test_an_old_job_that_is_tried_again_offers_nobody_what_was_changed_since(world: World) -> None:
    pool, admin = world.pool(1), world.person("admin")
    vm, job = pool.vms.get(), Job.objects.get()
    JobItem.objects.update(state="failed")
    Job.objects.update(state="failed")
    vms.start(vm=vm, by=admin)
    world.settle()
    vms.stop(vm=vm, by=admin, at_once=True)
    world.settle()
    VirtualMachine.objects.update(hold=VmHold.ERROR)
    jobs.retry(job=job, by=admin)
    world.settle()
    vm.refresh_from_db()
    assert vm.hold == VmHold.ADMINISTRATOR
    JobItem.objects.update(state="failed")
    vms.release(vm=vm, by=admin)
    world.settle()
    with pytest.raises(Conflict, match="Nothing"):
        jobs.retry(job=job, by=admin)


def test_a_version_stays_in_the_data_center_of_its_template(world: World) -> None:
    elsewhere = data_centers.create(name="Elsewhere")
    storage = StoragePool.objects.create(data_center=elsewhere, name="images", target_path="/elsewhere")
    with pytest.raises(Invalid, match="another data center") as refusal:
        templates.import_image(storage_pool=storage, into=world.template, path="/images/a.qcow2")
    assert refusal.value.details[0]["field"] == "storage_pool"


def test_a_stale_layer_of_a_disk_that_cannot_be_deleted_yet_is_no_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = world.pool(1).vms.get()
    former = vm.volume.name
    vms.rebuild(vm=vm, by=None)
    world.driver.volume_table[former.replace(".qcow2", ".run-0.qcow2")] = []

    def refuse(*_: Any) -> None:
        raise HypervisorError("busy")

    monkeypatch.setattr(world.driver, "delete_volume", refuse)
    world.run("broker.monitor_host", world.host.pk)
