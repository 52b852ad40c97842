"""Independent VMs, what administrators do with members, and publishing what they changed."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from broker import config
from broker.drivers.hypervisor import DomainState, ImageFacts
from broker.errors import Conflict, Invalid
from broker.loops.converge import converge
from broker.models import Event, Job, Nic, Template, TemplateVersion, VirtualMachine, Volume
from broker.operations import desktops, jobs, templates, vms
from broker.states import VersionState, VmHold
from tests.world import World


@pytest.mark.req("R062", "R072", "R254", "R274", "R277")
def test_an_independent_vm_is_made_with_the_same_settings_as_a_pools(world: World) -> None:
    settings = {"memory_mib": 256, "vcpus": 2, "clipboard": False, "migration_mode": "never"}
    vm = world.independent(**settings)
    [member] = world.pool(1, **settings).vms.all()
    own, other = (world.driver.domain_table[one.pk].spec for one in (vm, member))
    assert (own.memory_mib, own.vcpus, own.clipboard, own.migration) == (256, 2, False, other.migration)
    assert (own.id, own.nics[0].mac) == (vm.pk, vm.nics.get().mac)
    assert Nic.objects.values("mac").distinct().count() == 2
    assert vm.pool is None


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "x" * 65, "🖥️", "a?b"])
def test_a_name_that_no_vm_can_have_is_refused(world: World, name: str) -> None:
    with pytest.raises(Invalid):
        vms.create(cluster=world.cluster, template=world.template, name=name)


@pytest.mark.req("R269")
def test_a_name_belongs_to_one_vm(world: World) -> None:
    world.independent("workbench")
    with pytest.raises(Conflict, match="used already"):
        vms.create(cluster=world.cluster, template=world.template, name="workbench")


@pytest.mark.req("R034", "R270", "R271", "R272")
def test_an_independent_vm_keeps_what_is_written_and_gets_a_new_id_each_time(world: World) -> None:
    vm, admin = world.independent(), world.person("admin")
    ids = []
    for _round in range(2):
        vms.start(vm=vm, by=admin)
        world.settle()
        vm.refresh_from_db()
        assert (vm.status, vm.run_mode) == ("up", "stateful")
        ids.append(vm.domain_id)
        world.driver.write_in_guest(vm.pk, "mine")
        vms.stop(vm=vm, by=admin, at_once=False)
        world.settle()
        vm.refresh_from_db()
        assert (vm.status, vm.domain_id, vm.hold, vm.host) == ("down", None, None, None)
    assert ids[0] != ids[1]
    vms.start(vm=vm, by=admin)
    world.settle()
    assert world.driver.read_in_guest(vm.pk) == ["mine", "mine"]


@pytest.mark.req("R231", "R232")
def test_an_independent_vm_is_suspended_and_resumed(world: World) -> None:
    vm, admin = world.independent(), world.person("admin")
    with pytest.raises(Conflict, match="not up"):
        vms.suspend(vm=vm, by=admin)
    vms.start(vm=vm, by=admin)
    world.settle()
    with pytest.raises(Conflict, match="not suspended"):
        vms.resume(vm=vm, by=admin)
    vms.suspend(vm=vm, by=admin)
    world.settle()
    vm.refresh_from_db()
    assert (vm.status, world.driver.domain_table[vm.pk].state) == ("paused", DomainState.PAUSED)
    with pytest.raises(Conflict):
        vms.suspend(vm=vm, by=admin)
    vms.resume(vm=vm, by=admin)
    world.settle()
    vm.refresh_from_db()
    assert (vm.status, world.driver.domain_table[vm.pk].state) == ("up", DomainState.RUNNING)


def test_a_suspended_vm_can_be_turned_off(world: World) -> None:
    vm, admin = world.independent(), world.person("admin")
    vms.start(vm=vm, by=admin)
    world.settle()
    vms.suspend(vm=vm, by=admin)
    world.settle()
    vms.stop(vm=vm, by=admin, at_once=True)
    world.settle()
    vm.refresh_from_db()
    assert (vm.status, vm.suspended) == ("down", False)


def test_members_of_pools_are_not_suspended(world: World) -> None:
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    with pytest.raises(Conflict, match="Cannot suspend VM that belongs to a VM-Pool"):
        vms.suspend(vm=wish.vm, by=world.person("admin"))


def test_an_independent_vm_is_changed_for_its_next_start(world: World) -> None:
    vm, admin = world.independent(), world.person("admin")
    vms.change(vm=vm, changes={"memory_mib": 512, "comment": "bigger", "hosts": []}, by=admin)
    vms.start(vm=vm, by=admin)
    world.settle()
    assert world.driver.domain_table[vm.pk].spec.memory_mib == 512
    with pytest.raises(Invalid):
        vms.change(vm=vm, changes={"vcpus": 0}, by=admin)
    with pytest.raises(Conflict, match="Somebody else"):
        vms.change(vm=vm, changes={"comment": "late"}, expected={"comment": ""}, by=admin)


def test_of_a_member_only_words_are_changed(world: World) -> None:
    [vm] = world.pool(1).vms.all()
    vms.change(vm=vm, changes={"comment": "slow disk", "memory_mib": vm.memory_mib}, by=None)
    with pytest.raises(Invalid, match="Detach it first"):
        vms.change(vm=vm, changes={"memory_mib": 512}, by=None)


@pytest.mark.req("R061")
def test_an_independent_vm_is_removed_with_its_disk(world: World) -> None:
    vm, admin = world.independent(), world.person("admin")
    member = world.pool(1).vms.get()
    with pytest.raises(Conflict, match="attached to a VM Pool"):
        vms.remove(vm=member, by=admin)
    vms.start(vm=vm, by=admin)
    with pytest.raises(Conflict, match="while it is down"):
        vms.remove(vm=vm, by=admin)
    vms.stop(vm=vm, by=admin, at_once=True)
    world.settle()
    disk = vm.volume.name
    job = vms.remove(vm=vm, by=admin)
    world.settle()
    world.run("broker.monitor_host", world.host.pk)
    job.refresh_from_db()
    assert job.state == "done"
    assert list(VirtualMachine.objects.all()) == [member]
    assert vm.pk not in world.driver.domain_table
    assert disk not in world.driver.volume_table
    assert not Volume.objects.filter(doomed_at__isnull=False).exists()


def test_a_member_that_was_changed_is_offered_to_nobody_until_it_is_rebuilt(world: World) -> None:
    pool, admin = world.pool(1), world.person("admin")
    vm = pool.vms.get()
    disk = vm.volume.name
    vms.start(vm=vm, by=admin)
    world.settle()
    world.driver.write_in_guest(vm.pk, "spyware")
    world.driver.guest_shuts_down(vm.pk)
    world.run("broker.converge", vm.pk)
    world.settle()
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    assert wish.state == "queued"
    vm.refresh_from_db()
    assert (vm.hold, vm.changed_by, vm.has_unreleased_changes) == (VmHold.ADMINISTRATOR, admin, True)
    job = vms.rebuild(vm=vm, by=admin)
    world.settle()
    job.refresh_from_db()
    wish.refresh_from_db()
    vm.refresh_from_db()
    assert (job.state, wish.state, vm.changed_at) == ("done", "ready", None)
    assert vm.volume.name != disk
    assert world.driver.read_in_guest(vm.pk) == []
    assert world.driver.backing_of[vm.volume.name] == world.version.volume.name


def test_the_record_says_who_changed_and_who_released(world: World) -> None:
    pool, admin, boss = world.pool(1), world.person("admin"), world.person("boss")
    vm = pool.vms.get()
    vms.start(vm=vm, by=admin)
    world.settle()
    vms.release(vm=vm, by=boss)
    world.settle()
    vm.refresh_from_db()
    assert (vm.hold, vm.changed_by, vm.released_by) == (None, admin, boss)
    [event] = Event.objects.filter(kind="vm.released_changed")
    assert (event.facts["changed_by"], event.facts["user"]) == ("admin", "boss")


# -- manual pools ---------------------------------------------------------------------------------------


@pytest.mark.req("R065", "R066")
def test_a_manual_pools_desktop_stays_with_its_user_until_an_administrator_returns_it(world: World) -> None:
    pool, admin = world.pool(1, type="manual"), world.person("admin")
    person, other = world.people(2, pool)
    wish, waiting = world.take(person, pool), world.take(other, pool)
    world.settle()
    wish.refresh_from_db()
    vm = wish.vm
    world.driver.write_in_guest(vm.pk, "work")
    world.driver.guest_shuts_down(vm.pk)
    world.run("broker.converge", vm.pk)
    world.settle()
    wish.refresh_from_db()
    vm.refresh_from_db()
    assert (wish.state, vm.status, vm.halted, vm.domain_id) == ("ready", "down", True, None)
    desktops.restart(request=wish)
    world.settle()
    vm.refresh_from_db()
    assert (vm.status, vm.halted, world.driver.read_in_guest(vm.pk)) == ("up", False, ["work"])
    desktops.give_back(request=wish)
    desktops.give_back(request=wish)
    world.settle()
    wish.refresh_from_db()
    assert (wish.state, wish.return_asked_at is not None) == ("ready", True)
    assert Event.objects.filter(kind="desktop.return_asked").count() == 1
    vms.release(vm=vm, by=admin)
    world.settle()
    wish.refresh_from_db()
    waiting.refresh_from_db()
    assert (wish.state, wish.end_reason, waiting.state) == ("ended", "returned", "ready")
    assert world.driver.read_in_guest(vm.pk) == []


@pytest.mark.req("R065")
def test_an_administrators_shutdown_keeps_a_manual_pools_user(world: World) -> None:
    pool = world.pool(1, type="manual")
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    world.driver.write_in_guest(wish.vm_id, "work")
    vms.stop(vm=wish.vm, by=world.person("admin"), at_once=False)
    world.settle()
    world.sweep()
    vm = VirtualMachine.objects.get()
    assert (vm.status, vm.halted, vm.layer_run, vm.host) == ("down", True, 1, None)
    with pytest.raises(Conflict, match="not running"):
        vms.stop(vm=vm, by=None, at_once=True)
    desktops.restart(request=wish)
    world.settle()
    assert world.driver.read_in_guest(vm.pk) == ["work"]
    vms.stop(vm=vm, by=None, at_once=True)
    world.settle()
    vms.release(vm=vm, by=None)
    world.settle()
    assert not world.driver.layers()


@pytest.mark.req("R065")
def test_places_in_the_line_of_a_manual_pool_are_left_as_in_any(world: World) -> None:
    pool = world.pool(1, type="manual")
    wishes = [world.take(person, pool) for person in world.people(2, pool)]
    world.settle()
    desktops.give_back(request=wishes[1])
    wishes[1].refresh_from_db()
    assert (wishes[1].state, wishes[1].end_reason) == ("ended", "cancelled")


# -- templates ------------------------------------------------------------------------------------------

GIB = 1024**3


def image(world: World, path: str = "/images/desktop.qcow2", **facts: object) -> str:
    world.driver.images[path] = ImageFacts(
        **{"format": "qcow2", "capacity_bytes": GIB, "length_bytes": 2**20, "backing_path": None, **facts}
    )
    return path


def imported(world: World, path: str, **values: object) -> tuple[TemplateVersion, Job]:
    version, job = templates.import_image(storage_pool=world.storage, path=path, **{"name": "Desk", **values})
    world.settle()
    version.refresh_from_db()
    job.refresh_from_db()
    return version, job


@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_an_image_is_checked_copied_and_sealed(world: World, kind: str) -> None:
    version, job = imported(world, image(world, format=kind), memory_mib=512, operating_system="Debian")
    assert (version.state, job.state, version.number) == (VersionState.READY, "done", 1)
    assert version.checksum == world.driver.checksum(version.volume.address())
    assert (version.template.operating_system, version.memory_mib) == ("Debian", 512)
    again, _job = imported(world, image(world), name="", into=version.template)
    assert (again.number, again.template.latest()) == (2, again)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"format": "vmdk"}, "only qcow2 and raw"),
        ({"backing_path": "/etc/shadow"}, "stands on another image"),
        ({"capacity_bytes": 0}, "empty disk"),
        ({"capacity_bytes": 2000 * GIB}, "at most 1024 GiB"),
        ({"length_bytes": 10**13}, "are free in the storage pool"),
    ],
)
def test_an_image_that_cannot_be_one_is_refused_with_the_reason(
    world: World, facts: dict[str, object], reason: str
) -> None:
    version, job = imported(world, image(world, **facts))
    assert (version.state, job.state) == (VersionState.FAILED, "failed")
    assert reason in version.state_reason
    assert reason in job.items.get().message
    assert version.template.latest() is None


def test_a_failed_import_is_tried_again(world: World) -> None:
    world.driver.failing_copies = 1
    version, job = imported(world, image(world))
    assert version.state == VersionState.FAILED
    jobs.retry(job=job, by=None)
    world.settle()
    version.refresh_from_db()
    job.refresh_from_db()
    assert (version.state, job.state) == (VersionState.READY, "done")


@pytest.mark.parametrize("path", ["relative.qcow2", "/a/../b", "/a/", "", "/a\nb"])
def test_a_path_is_a_whole_one(world: World, path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        templates.import_image(storage_pool=world.storage, name="Desk", path=path)
    assert refusal.value.details[0]["field"] == "path"


def test_a_member_is_started_changed_and_published(world: World) -> None:
    pool, admin = world.pool(2), world.person("admin")
    vm = pool.vms.order_by("number")[0]
    vms.start(vm=vm, by=admin)
    world.settle()
    with pytest.raises(Conflict, match="while it is down"):
        templates.publish(vm=vm, template=world.template, by=admin)
    world.driver.write_in_guest(vm.pk, "patched")
    vms.stop(vm=vm, by=admin, at_once=False)
    world.settle()
    version, job = templates.publish(vm=vm, template=world.template, by=admin)
    with pytest.raises(Conflict):
        vms.start(vm=vm, by=admin)
    world.settle()
    version.refresh_from_db()
    job.refresh_from_db()
    vm.refresh_from_db()
    assert (version.number, version.state, job.state) == (2, VersionState.READY, "done")
    assert world.driver.volume_table[version.volume.name] == ["patched"]
    # The pool follows the latest; the one that was changed waits for its administrator.
    assert sorted(pool.vms.values_list("template_version__number", "hold")) == [(1, "administrator"), (2, None)]


def test_publishing_starts_a_template_of_its_own(world: World) -> None:
    vm = world.independent(operating_system="BSD", memory_mib=512)
    version, _job = templates.publish(vm=vm, name="Bench", by=None)
    world.settle()
    template = Template.objects.get(name="Bench")
    assert (template.operating_system, template.latest(), version.memory_mib) == ("BSD", version, 512)
    vm.refresh_from_db()
    assert vm.hold is None
    with pytest.raises(Conflict, match="used already"):
        templates.publish(vm=vm, name="Bench", by=None)


def test_a_version_is_removed_when_nothing_uses_it(world: World) -> None:
    pool = world.pool(1)
    with pytest.raises(Conflict, match="helpdesk"):
        templates.remove_version(version=world.version, by=None)
    newer = world.publish_version()
    world.sent.append(("broker.allocate", pool.pk))
    world.settle()
    world.run("broker.monitor_host", world.host.pk)
    templates.remove_version(version=world.version, by=None)
    with pytest.raises(Conflict):
        templates.remove_version(version=newer, by=None)
    with pytest.raises(Conflict, match="used by pools"):
        templates.remove(template=world.template, by=None)
    world.run("broker.monitor_host", world.host.pk)
    assert not Volume.objects.filter(name="base.qcow2").exists()


def test_workers_read_the_settings_once_for_all_steps_of_a_vm(world: World) -> None:
    pool = world.pool(1)
    [vm] = pool.vms.all()
    world.take(world.person("agent01", pool), pool)
    desktops.serve(pool_id=pool.pk)
    with CaptureQueriesContext(connection) as captured:
        converge(vm.pk)
    assert world.driver.started == 1
    read = [query["sql"] for query in captured if 'FROM "broker_setting"' in query["sql"]]
    assert len(read) == 1
    config.put("VmGracefulShutdownTimeout", "77")
    assert config.get("VmGracefulShutdownTimeout") == 77
