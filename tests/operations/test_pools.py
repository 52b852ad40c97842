"""Create, edit, grow, detach from and remove pools: what the seeds and DESIGN 7 say of each."""

from typing import Any

import pytest

from broker import config
from broker.drivers.hypervisor import HypervisorError
from broker.errors import Conflict, Invalid
from broker.loops import sweep
from broker.models import DesktopRequest, Event, Job, Pool, RoleAssignment, VirtualMachine, Volume, with_progress
from broker.operations import desktops, jobs, pools, vms
from broker.states import MigrationMode, StartRunningOn, VmHold
from tests.world import World


def fields(refusal: Any) -> set[str | None]:
    return {one["field"] for one in refusal.value.details}


def hardware(vm: VirtualMachine, world: World) -> Any:
    """The inactive domain as the hypervisor keeps it."""
    return world.driver.domain_table[vm.pk].spec


@pytest.mark.req("R001", "R020", "R024", "R053")
def test_all_vms_of_a_pool_are_alike_but_for_name_address_and_disk(world: World) -> None:
    world.pool(3)
    specs = [hardware(vm, world) for vm in VirtualMachine.objects.all()]
    own = ("id", "name", "nics", "disk")
    shapes = [{key: value for key, value in vars(spec).items() if key not in own} for spec in specs]
    assert shapes[0] == shapes[1] == shapes[2]
    for name in own:
        assert len({getattr(spec, name) for spec in specs}) == 3
    assert {vm.template_version for vm in VirtualMachine.objects.all()} == {world.version}


@pytest.mark.req("R010", "R012", "R015")
def test_every_member_has_a_layer_of_its_own_on_the_one_base(world: World) -> None:
    pool = world.pool(4)
    world.people(10, pool)
    disks = Volume.objects.filter(purpose=Volume.Purpose.DISK)
    assert (disks.count(), {disk.backing for disk in disks}) == (4, {world.version.volume})
    assert {world.driver.backing_of[disk.name] for disk in disks} == {world.version.volume.name}


@pytest.mark.req("R009")
def test_a_pool_stands_on_a_version_that_can_be_used(world: World) -> None:
    world.version.delete()
    with pytest.raises(Invalid, match="non-blank template"):
        world.pool(1)


@pytest.mark.req("R039", "R040")
def test_what_is_not_given_comes_from_the_template(world: World) -> None:
    pool = world.pool(1)
    assert (pool.operating_system, pool.memory_mib, pool.vcpus) == ("Tiny Linux", 128, 1)
    other = world.pool(
        1, name="other", operating_system="Windows 11", memory_mib=256, vcpus=2, optimized_for="server"
    )
    vm = other.vms.get()
    assert (vm.operating_system, vm.memory_mib, vm.vcpus, vm.optimized_for) == ("Windows 11", 256, 2, "server")


@pytest.mark.req("R038")
def test_a_pool_follows_one_version_or_the_latest(world: World) -> None:
    fixed = world.pool(1, name="fixed", template_version=world.version)
    following = world.pool(1, name="following")
    newer = world.publish_version()
    pools.change(pool=fixed, changes={}, increase_by=1)
    pools.change(pool=following, changes={}, increase_by=1)
    world.settle()
    assert {vm.template_version for vm in fixed.vms.all()} == {world.version}
    assert newer in {vm.template_version for vm in following.vms.all()}


@pytest.mark.req("R042")
def test_a_name_is_unique_in_its_data_center(world: World) -> None:
    world.pool(1)
    with pytest.raises(Conflict, match="exists already") as refusal:
        world.pool(1)
    assert fields(refusal) == {"name"}


@pytest.mark.req("R043", "R044")
@pytest.mark.parametrize(
    "text", ["데스크톱", "<b>&'\"", "'; DROP TABLE broker_pool; --", "שלום", "🖥️" * 50, "x" * 9000]
)
def test_words_are_kept_to_the_letter(world: World, text: str) -> None:
    pool = world.pool(1, description=text, comment=text)
    pool.refresh_from_db()
    assert (pool.description, pool.comment) == (text, text)


@pytest.mark.req("R056", "R057", "R059", "R071", "R091", "R101", "R119")
def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_made(world: World) -> None:
    config.put("MaxVmsInPool", "5")
    with pytest.raises(Invalid) as refusal:
        world.pool(
            6,
            name="so me",
            prestarted_vms=1,
            type="manual",
            max_vms_per_user=0,
            override_spice_proxy=True,
            spice_proxy="proxy",
            migration_policy="minimal_downtime",
            auto_converge="on",
            host_cpu_passthrough=True,
            start_running_on="specific",
        )
    assert fields(refusal) == {
        "name",
        "size",
        "prestarted_vms",
        "max_vms_per_user",
        "spice_proxy",
        "auto_converge",
        "host_cpu_passthrough",
        "hosts",
    }
    assert not Pool.objects.exists()
    assert not VirtualMachine.objects.exists()


@pytest.mark.req("R109", "R111", "R112")
def test_an_edit_changes_new_vms_only(world: World) -> None:
    pool = world.pool(2)
    old = {vm.pk: hardware(vm, world) for vm in VirtualMachine.objects.all()}
    changes = {
        "memory_mib": 512,
        "vcpus": 4,
        "optimized_for": "server",
        "clipboard": False,
        "file_transfer": False,
        "migration_mode": MigrationMode.NEVER,
        "host_cpu_passthrough": True,
        "numa_node_count": 2,
        "migration_downtime_ms": 250,
        "start_running_on": StartRunningOn.SPECIFIC,
        "hosts": [world.host],
    }
    pools.change(pool=pool, changes=changes, increase_by=1)
    world.settle()
    for vm in VirtualMachine.objects.filter(pk__in=old):
        wish = world.take(world.person("agent", pool), pool)
        world.settle()
        desktops.give_back(request=wish)
        world.settle()
        assert hardware(vm, world) == old[vm.pk]
    new = hardware(VirtualMachine.objects.exclude(pk__in=old).get(), world)
    assert (new.memory_mib, new.vcpus, new.optimized_for) == (512, 4, "server")
    assert (new.clipboard, new.file_transfer, new.cpu_passthrough) == (False, False, True)
    assert [cell.cpus for cell in new.numa.cells] == [(0, 1), (2, 3)]
    assert (new.migration.mode, new.migration.downtime_ms) == ("never", 250)
    pool.refresh_from_db()
    assert all(getattr(pool, name) == value for name, value in changes.items() if name != "hosts")


@pytest.mark.req("R042", "R051", "R109")
@pytest.mark.parametrize(("field", "value"), [("name", "other"), ("type", "manual")])
def test_what_a_pool_is_called_and_its_type_stay(world: World, field: str, value: str) -> None:
    pool = world.pool(1)
    with pytest.raises(Invalid, match="Cannot change") as refusal:
        pools.change(pool=pool, changes={field: value})
    assert fields(refusal) == {field}
    pools.change(pool=pool, changes={field: getattr(pool, field), "comment": "the same is no change"})


@pytest.mark.req("R110", "R121")
def test_a_pool_grows_and_never_shrinks(world: World) -> None:
    config.put("MaxVmsInPool", "5")
    pool = world.pool(3, name="my??pool")
    pools.change(pool=pool, changes={}, increase_by=2)
    world.settle()
    assert [vm.name for vm in pool.vms.order_by("number")] == [f"my{n:02}pool" for n in range(1, 6)]
    with pytest.raises(Invalid, match="Cannot decrease VMs from VM-Pool") as refusal:
        pools.change(pool=pool, changes={}, increase_by=-1)
    assert fields(refusal) == {"increase_by"}
    with pytest.raises(Invalid, match="at most 5") as refusal:
        pools.change(pool=pool, changes={}, increase_by=1)
    assert fields(refusal) == {"increase_by"}


@pytest.mark.req("R056", "R118")
def test_prestarted_vms_count_those_that_are_added_with_them(world: World) -> None:
    pool = world.pool(2)
    with pytest.raises(Invalid, match="cannot exceed"):
        pools.change(pool=pool, changes={"prestarted_vms": 3})
    pools.change(pool=pool, changes={"prestarted_vms": 3}, increase_by=1)
    world.settle()
    assert VirtualMachine.objects.prestarted().count() == 3


@pytest.mark.req("R052", "R068")
def test_the_address_of_a_proxy_goes_with_its_override(world: World) -> None:
    pool = world.pool(1, override_spice_proxy=True, spice_proxy="http://proxy:3128")
    pools.change(pool=pool, changes={"override_spice_proxy": False})
    pool.refresh_from_db()
    assert pool.spice_proxy == ""
    with pytest.raises(Invalid):
        pools.change(pool=pool, changes={"spice_proxy": "http://proxy:3128"})


def test_the_second_of_two_who_edit_is_told_what_changed(world: World) -> None:
    pool = world.pool(1)
    seen = {"comment": "", "max_vms_per_user": 1, "template_version": None, "hosts": []}
    pools.change(pool=pool, changes={"comment": "first"}, expected=seen)
    with pytest.raises(Conflict, match="Somebody else") as refusal:
        pools.change(pool=pool, changes={"comment": "second"}, expected=seen)
    assert refusal.value.code == "CHANGED_MEANWHILE"
    assert refusal.value.details == [
        {"field": "comment", "message": "Somebody else changed this meanwhile. It is now: first"}
    ]
    pools.change(pool=pool, changes={"comment": "second"}, expected={**seen, "comment": "first"})
    pool.refresh_from_db()
    assert pool.comment == "second"


# -- jobs ---------------------------------------------------------------------------------------------


def progress(job: Job) -> tuple[str, int, int, int]:
    shown = with_progress(Job.objects.filter(pk=job.pk)).get()
    return shown.state, shown.total, shown.done, shown.failed_items


def test_the_first_vm_is_usable_before_the_last_is_made(world: World) -> None:
    pool, job = pools.create(cluster=world.cluster, template=world.template, name="desk", size=3)
    world.run(*world.sent.popleft())
    assert progress(job) == ("running", 3, 1, 0)
    wish = world.take(world.people(1, pool)[0], pool)
    desktops.serve(pool_id=pool.pk)
    wish.refresh_from_db()
    assert wish.state == "starting"
    world.settle()
    assert progress(job) == ("done", 3, 3, 0)


@pytest.mark.req("R053")
def test_a_partial_failure_leaves_a_usable_pool_and_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    define = world.driver.define

    def refuse(spec: Any) -> None:
        if spec.name == "desk-2":
            raise HypervisorError("no room")
        define(spec)

    monkeypatch.setattr(world.driver, "define", refuse)
    pool, job = pools.create(cluster=world.cluster, template=world.template, name="desk", size=3)
    world.settle()
    assert progress(job) == ("failed", 3, 2, 1)
    item = job.items.get(state="failed")
    assert (item.name, item.message) == ("desk-2", "no room")
    assert world.take(world.people(1, pool)[0], pool).state == "queued"
    world.settle()
    assert DesktopRequest.objects.get().state == "ready"
    monkeypatch.setattr(world.driver, "define", define)
    jobs.retry(job=job, by=world.person("admin"))
    world.settle()
    assert progress(job) == ("done", 3, 3, 0)
    with pytest.raises(Conflict):
        jobs.retry(job=job, by=None)


def test_a_job_is_stopped_after_what_is_under_way(world: World) -> None:
    pool, job = pools.create(cluster=world.cluster, template=world.template, name="desk", size=4, prestarted_vms=3)
    world.run(*world.sent.popleft())
    world.lose_all_messages()
    jobs.stop(job=job, by=world.person("admin"))
    job.refresh_from_db()
    assert job.state == "stopped"
    world.settle()
    assert [vm.hold for vm in pool.vms.all()] == [None]
    pool.refresh_from_db()
    assert pool.prestarted_vms == 1
    with pytest.raises(Conflict, match="cannot be stopped"):
        jobs.stop(job=job, by=None)


# -- detach -------------------------------------------------------------------------------------------


@pytest.mark.req("R122", "R126", "R129")
def test_a_detached_vm_is_independent_and_keeps_its_disk(world: World) -> None:
    pool = world.pool(2, prestarted_vms=0)
    admin = world.person("admin")
    vm, other = pool.vms.order_by("number")
    disk = vm.volume.name
    vms.detach(vms=[vm], by=admin)
    vm.refresh_from_db()
    assert (vm.pool, vm.volume.name, vm.hold) == (None, disk, None)
    vms.start(vm=vm, by=admin)
    world.settle()
    world.driver.write_in_guest(vm.pk, "kept")
    vms.stop(vm=vm, by=admin, at_once=False)
    world.settle()
    vm.refresh_from_db()
    assert (vm.status, vm.hold) == ("down", None)
    wishes = [world.take(person, pool) for person in world.people(2, pool)]
    world.settle()
    for wish in wishes:
        wish.refresh_from_db()
    assert [wish.vm for wish in wishes] == [other, None]
    vms.start(vm=vm, by=admin)
    world.settle()
    assert world.driver.read_in_guest(vm.pk) == ["kept"]


@pytest.mark.req("R123", "R124")
def test_all_are_detached_or_none(world: World) -> None:
    pool = world.pool(3)
    world.take(world.people(1, pool)[0], pool)
    world.settle()
    members = list(pool.vms.all())
    with pytest.raises(Conflict, match=r"Cannot detach VM from VM-Pool\. VM is running\."):
        vms.detach(vms=members, by=world.person("admin"))
    assert pool.vms.count() == 3
    vms.detach(vms=[vm for vm in members if not vm.requests.exists()], by=world.person("admin"))
    assert pool.vms.count() == 1
    with pytest.raises(Conflict, match="not attached"):
        vms.detach(vms=[VirtualMachine.objects.filter(pool=None).first()], by=None)


@pytest.mark.req("R118")
def test_detaching_lowers_what_is_prestarted(world: World) -> None:
    pool = world.pool(3)
    Pool.objects.filter(pk=pool.pk).update(prestarted_vms=3)
    vms.detach(vms=list(pool.vms.all()[:2]), by=world.person("admin"))
    pool.refresh_from_db()
    assert pool.prestarted_vms == 1


# -- removal ------------------------------------------------------------------------------------------


@pytest.mark.req("R128")
def test_a_pool_with_vms_is_not_removed_and_they_are_named(world: World) -> None:
    pool = world.pool(2)
    with pytest.raises(Conflict, match="helpdesk-1, helpdesk-2"):
        pools.remove(pool=pool, by=world.person("admin"))
    vms.detach(vms=list(pool.vms.all()), by=world.person("admin"))
    pools.remove(pool=pool, by=world.person("admin"))
    assert not Pool.objects.exists()
    assert VirtualMachine.objects.filter(pool=None, hold=None).count() == 2


def test_who_waits_for_a_pool_that_is_removed_is_told_and_history_stays(world: World) -> None:
    pool = world.pool(1)
    first, second = world.people(2, pool)
    served = world.take(first, pool)
    world.settle()
    desktops.give_back(request=served)
    world.settle()
    late = world.take(second, pool)
    world.lose_all_messages()  # nobody was served yet
    vm = pool.vms.get()
    vms.detach(vms=[vm], by=None)
    pools.remove(pool=pool, by=world.person("admin"))
    late.refresh_from_db()
    served.refresh_from_db()
    assert (late.state, late.end_reason, late.pool) == ("ended", "removed", None)
    assert (served.pool_name, served.vm_name, served.state) == ("helpdesk", vm.name, "ended")
    assert not RoleAssignment.objects.exists()


@pytest.mark.req("R061")
def test_delete_protection_stands_against_every_removal(world: World) -> None:
    pool = world.pool(2, delete_protection=True)
    admin = world.person("admin")
    with pytest.raises(Conflict, match="Delete protection is enabled"):
        pools.remove_with_vms(pool=pool, by=admin)
    vm = pool.vms.first()
    with pytest.raises(Conflict, match="Delete protection is enabled"):
        vms.remove(vm=vm, by=admin)
    with pytest.raises(Invalid, match="Delete Protected"):
        pools.change(pool=pool, changes={"template_version": world.publish_version()})
    pools.change(pool=pool, changes={"delete_protection": False})
    vms_left = set(VirtualMachine.objects.values_list("delete_protection", flat=True))
    assert vms_left == {False}
    VirtualMachine.objects.filter(pk=vm.pk).update(delete_protection=True)
    with pytest.raises(Conflict, match=vm.name):
        pools.remove_with_vms(pool=pool, by=admin)


def test_a_pool_is_removed_with_its_vms_once_nobody_uses_any(world: World) -> None:
    pool = world.pool(3, prestarted_vms=1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    admin = world.person("admin")
    with pytest.raises(Conflict, match=wish.vm.name):
        pools.remove_with_vms(pool=pool, by=admin)
    assert VirtualMachine.objects.filter(hold=VmHold.REMOVING).count() == 0
    desktops.give_back(request=wish)
    world.settle()
    job = pools.remove_with_vms(pool=pool, by=admin)
    with pytest.raises(Conflict, match="being removed"):
        world.take(world.person("agent01"), pool)
    world.settle()
    assert progress(job) == ("done", 3, 3, 0)
    assert not Pool.objects.exists()
    assert not VirtualMachine.objects.exists()
    assert not world.driver.domain_table
    assert not world.driver.layers()
    world.run("broker.monitor_host", world.host.pk)
    assert not Volume.objects.filter(purpose=Volume.Purpose.DISK).exists()
    assert set(world.driver.volume_table) == set()
    wish.refresh_from_db()
    assert (wish.state, wish.pool_name) == ("ended", "helpdesk")


def test_a_removal_whose_last_message_was_lost_is_finished_by_the_sweep(world: World) -> None:
    pool = world.pool(1)
    pools.remove_with_vms(pool=pool, by=None)
    while world.sent and world.sent[0][0] != "broker.tidy_pool":
        world.run(*world.sent.popleft())
    world.lose_all_messages()
    assert Pool.objects.exists()
    world.sweep()
    assert not Pool.objects.exists()


# -- newer versions -------------------------------------------------------------------------------------


def versions(pool: Pool) -> list[int]:
    return sorted(pool.vms.values_list("template_version__number", flat=True))


def test_vms_are_renewed_as_they_become_free_and_never_under_a_user(world: World) -> None:
    config.put("TemplateRenewalBatchSize", "2")
    pool = world.pool(5, prestarted_vms=2)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    domain = world.driver.domain(wish.vm_id, "")
    newer = world.publish_version()
    world.sent.append(("broker.allocate", pool.pk))
    world.settle()
    assert versions(pool) == [1, 2, 2, 2, 2]
    assert world.driver.domain(wish.vm_id, "") == domain
    assert VirtualMachine.objects.prestarted().filter(template_version=newer).count() == 2
    desktops.give_back(request=wish)
    world.settle()
    assert versions(pool) == [2] * 5
    world.run("broker.monitor_host", world.host.pk)
    disks = set(Volume.objects.filter(purpose=Volume.Purpose.DISK).values_list("name", flat=True))
    assert len(disks) == 5
    assert {name for name in world.driver.volume_table if ".run-" not in name} == disks


def test_renewal_goes_in_waves(world: World) -> None:
    config.put("TemplateRenewalBatchSize", "2")
    pool = world.pool(5)
    world.publish_version()
    pools.renew(pool_id=pool.pk)
    assert versions(pool) == [1, 1, 1, 2, 2]
    pools.renew(pool_id=pool.pk)
    assert versions(pool) == [1, 1, 1, 2, 2]
    world.settle()
    assert versions(pool) == [2] * 5


def test_renewal_stops_at_the_first_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config.put("TemplateRenewalBatchSize", "1")
    pool = world.pool(3, prestarted_vms=1)
    create_overlay = world.driver.create_overlay
    newer = world.publish_version()

    def refuse(volume: Any, backing: Any) -> Any:
        if backing.name == newer.volume.name:
            raise HypervisorError("no such base")
        return create_overlay(volume, backing)

    monkeypatch.setattr(world.driver, "create_overlay", refuse)
    world.sent.append(("broker.allocate", pool.pk))
    world.settle()
    failed = pool.vms.get(hold=VmHold.ERROR)
    assert failed.hold_reason == "no such base"
    assert versions(pool) == [1, 1, 2]
    # The others go on with what they have, and what is promised runs ahead.
    assert VirtualMachine.objects.prestarted().count() == 1


def test_renewal_stops_at_a_version_that_does_not_start(world: World) -> None:
    config.put("TemplateRenewalBatchSize", "1")
    pool = world.pool(3)
    newer = world.publish_version()
    pools.renew(pool_id=pool.pk)
    renewed = pool.vms.get(template_version=newer)
    world.run("broker.converge", renewed.pk)
    VirtualMachine.objects.filter(pk=renewed.pk).update(failures=1)
    world.settle()
    assert versions(pool) == [1, 1, 2]


@pytest.mark.req("R120")
def test_pools_with_too_few_prestarted_vms_are_reported_once_an_interval(world: World) -> None:
    world.pool(2, prestarted_vms=2, memory_mib=16 * 1024 * 1024)
    sweep.sweep()
    sweep.sweep()
    [event] = Event.objects.filter(kind="pool.short")
    assert (event.facts["have"], event.facts["wanted"]) == ("0", "2")
