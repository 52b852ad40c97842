"""Add, place on, maintain and remove hosts; data centers, clusters, storage, people and settings around them."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from broker import access, config, grants
from broker.errors import Conflict, Invalid, NotFound
from broker.models import DataCenter, Event, Host, Job, Setting, StoragePoolOnHost, VirtualMachine, Volume
from broker.operations import clusters, data_centers, desktops, groups, hosts, pools, storage, users, vms
from broker.states import HostStatus
from tests.world import World


@pytest.mark.req("R073")
def test_any_host_takes_turns_by_free_memory(world: World) -> None:
    other = world.add_host("other")
    pool = world.pool(4)
    wishes = [world.take(person, pool) for person in world.people(4, pool)]
    world.settle()
    found = [VirtualMachine.objects.get(requests=wish).host for wish in wishes]
    assert sorted(host.name for host in found) == ["host", "host", "other", "other"]
    assert len(world.drivers[other.uri].running()) == 2


@pytest.mark.req("R074", "R075")
def test_specific_hosts_are_the_only_ones(world: World) -> None:
    other, third = world.add_host("other"), world.add_host("third")
    pool = world.pool(4, start_running_on="specific", hosts=[other, third])
    wishes = [world.take(person, pool) for person in world.people(4, pool)]
    world.settle()
    found = {VirtualMachine.objects.get(requests=wish).host for wish in wishes}
    assert found == {other, third}
    assert not world.driver.running()


@pytest.mark.req("R074")
def test_a_vm_whose_host_is_not_up_is_refused_with_the_reason(world: World) -> None:
    other = world.add_host("other")
    pool = world.pool(1, start_running_on="specific", hosts=[other])
    hosts.maintain(host=other, by=None)
    world.settle()
    with pytest.raises(Conflict, match=r"No host can run VM helpdesk-1.*other: .*aintenance") as refusal:
        vms.start(vm=pool.vms.get(), by=world.person("admin"))
    assert "host: not among the hosts" in refusal.value.message
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    assert wish.state == "queued"


@pytest.mark.req("R075")
def test_hosts_of_another_cluster_are_refused(world: World) -> None:
    elsewhere = clusters.create(data_center=world.data_center, name="Elsewhere")
    stranger = world.add_host("stranger", cluster=elsewhere)
    with pytest.raises(Invalid, match="stranger does not belong"):
        world.pool(1, start_running_on="specific", hosts=[stranger])


def test_a_host_goes_into_maintenance_when_its_last_user_has_left(world: World) -> None:
    pool = world.pool(3, prestarted_vms=1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    hosts.maintain(host=world.host, by=None)
    world.settle()
    world.run("broker.monitor_host", world.host.pk)
    world.host.refresh_from_db()
    assert world.host.status == "preparing"
    assert [vm.pk for vm in VirtualMachine.objects.exclude(host=None)] == [
        VirtualMachine.objects.get(requests=wish).pk
    ]
    wish.refresh_from_db()
    assert wish.state == "ready"
    with pytest.raises(Conflict):
        hosts.maintain(host=world.host, by=None)
    desktops.give_back(request=wish)
    world.settle()
    world.run("broker.monitor_host", world.host.pk)
    world.host.refresh_from_db()
    assert world.host.status == "maintenance"
    assert not world.driver.running()
    hosts.activate(host=world.host, by=None)
    world.settle()
    world.host.refresh_from_db()
    assert (world.host.status, VirtualMachine.objects.prestarted().count()) == ("up", 1)


def test_activating_a_host_on_its_way_keeps_it_up(world: World) -> None:
    hosts.maintain(host=world.host, by=None)
    hosts.activate(host=world.host, by=None)
    world.settle()
    world.host.refresh_from_db()
    assert world.host.status == "up"
    with pytest.raises(Conflict, match="up already"):
        hosts.activate(host=world.host, by=None)


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("qemu:///system", True),
        ("qemu:///session", True),
        ("qemu+ssh://root@kvm1.example.com/system", True),
        ("qemu+tls://kvm1:16514/system", True),
        ("qemu+unix:///system?socket=/run/x", True),
        ("", False),
        ("qemu+ssh://root@kvm1/system?command=/bin/sh", False),
        ("qemu+ssh://root@kvm1/system?socket=/run/x&no_verify=1", False),
        ("qemu+ssh://%2Ftmp%2Fx@kvm1/system", False),
        ("qemu+ssh://-oProxyCommand=x/system", False),
        ("qemu+ssh:///system", False),
        ("xen:///system", False),
        ("qemu:///", False),
        ("http://kvm1/system", False),
        ("qemu+tls://kvm1:99999/system", False),
        ("qemu:///system\nx", False),
        ("qemu:///" + "x" * 1000, False),
    ],
)
def test_hosts_are_reached_by_libvirt_uris(world: World, uri: str, allowed: bool) -> None:
    values: dict[str, Any] = {"cluster": world.cluster, "name": "new", "display_address": "kvm1"}
    if allowed:
        assert hosts.add(uri=uri, **values).status == "activating"
    else:
        with pytest.raises(Invalid) as refusal:
            hosts.add(uri=uri, **values)
        assert refusal.value.details[0]["field"] == "uri"


def test_a_host_is_known_once(world: World) -> None:
    values = {"cluster": world.cluster, "display_address": "kvm1"}
    hosts.add(name="new", uri="qemu:///system", **values)
    with pytest.raises(Conflict, match="used already"):
        hosts.add(name="new", uri="qemu:///session", **values)
    with pytest.raises(Conflict, match="this URI"):
        hosts.add(name="newer", uri="qemu:///system", **values)


def test_a_host_is_removed_once_nothing_needs_it(world: World) -> None:
    other = world.add_host("other")
    pool = world.pool(1, start_running_on="specific", hosts=[other])
    with pytest.raises(Conflict, match="maintenance first"):
        hosts.remove(host=other, by=None)
    hosts.maintain(host=other, by=None)
    world.settle()
    with pytest.raises(Conflict, match="helpdesk"):
        hosts.remove(host=other, by=None)
    pools.remove_with_vms(pool=pool, by=None)
    world.settle()
    VirtualMachine.objects.all().delete()
    pool.hosts.clear()
    hosts.remove(host=other, by=None)
    assert not Host.objects.filter(pk=other.pk).exists()


def test_one_of_the_hosts_of_a_storage_pool_tidies_it_up_and_another_when_that_one_is_silent(world: World) -> None:
    """Twenty hosts that each read all of a storage pool again and again would do nothing else on a busy morning."""
    keeper, other = sorted((world.host, world.add_host("other")), key=lambda host: host.pk)
    assert list(storage.kept_by(keeper)) == [world.storage]
    assert not storage.kept_by(other).exists()
    about = {"storage_pool": world.storage, "purpose": Volume.Purpose.DISK, "doomed_at": timezone.now()}
    Volume.objects.create(name="doomed.qcow2", **about)
    world.run("broker.monitor_host", other.pk)
    assert Volume.objects.filter(name="doomed.qcow2").exists()
    world.run("broker.monitor_host", keeper.pk)
    assert not Volume.objects.filter(name="doomed.qcow2").exists()
    Volume.objects.create(name="doomed.qcow2", **about)
    Host.objects.filter(pk=keeper.pk).update(status=HostStatus.NON_RESPONSIVE)
    world.run("broker.monitor_host", other.pk)
    assert not Volume.objects.filter(name="doomed.qcow2").exists()


def test_facts_and_usage_of_a_host_are_written_down(world: World) -> None:
    world.run("broker.monitor_host", world.host.pk)
    world.host.refresh_from_db()
    assert (world.host.memory_used_mib, world.host.cpu_busy_percent) == (1024, None)
    usage = world.driver.usage()
    world.driver.usage = lambda: type(usage)(2048, usage.cpu_busy_ns + 25, usage.cpu_total_ns + 100)  # type: ignore
    world.run("broker.monitor_host", world.host.pk)
    world.host.refresh_from_db()
    assert (world.host.memory_used_mib, world.host.cpu_busy_percent) == (2048, 25)
    assert StoragePoolOnHost.objects.get().capacity_bytes == 10**12


@pytest.mark.req("R033")
def test_a_change_of_overcommit_is_a_change_of_room(world: World) -> None:
    Host.objects.update(memory_mib=128)
    pool = world.pool(2)
    wishes = [world.take(person, pool) for person in world.people(2, pool)]
    world.settle()
    world.host.refresh_from_db()
    hosts.change(host=world.host, changes={"memory_overcommit_percent": 200})
    world.settle()
    for wish in wishes:
        wish.refresh_from_db()
    assert [wish.state for wish in wishes] == ["ready", "ready"]


def test_what_holds_something_is_not_removed(world: World) -> None:
    pool = world.pool(1)
    for remove, name in (
        (lambda: data_centers.remove(data_center=world.data_center, by=None), "Default"),
        (lambda: clusters.remove(cluster=world.cluster, by=None), "VM-Pools are still associated"),
        (lambda: storage.remove(storage_pool=world.storage, by=None), "base.qcow2"),
    ):
        with pytest.raises(Conflict, match=name):
            remove()
    pools.remove_with_vms(pool=pool, by=None)
    world.settle()
    with pytest.raises(Conflict, match="host"):
        clusters.remove(cluster=world.cluster, by=None)


def test_empty_things_are_made_changed_and_removed(world: World) -> None:
    data_center = data_centers.create(name="Seoul", description="서울")
    cluster = clusters.create(data_center=data_center, name="Default", migration_policy="minimal_downtime")
    images = storage.create(data_center=data_center, name="fast", target_path="/srv/fast")
    data_centers.change(data_center=data_center, changes={"name": "Busan"}, by=None)
    clusters.change(cluster=cluster, changes={"spice_proxy": "http://proxy:3128"}, by=None)
    storage.change(storage_pool=images, changes={"comment": "ssd"}, by=None)
    for change in (
        lambda: data_centers.change(data_center=data_center, changes={"name": ""}, by=None),
        lambda: clusters.change(cluster=cluster, changes={"spice_proxy": "proxy"}, by=None),
        lambda: storage.change(storage_pool=images, changes={"target_path": "/elsewhere"}, by=None),
        lambda: storage.create(data_center=data_center, name="x", target_path="relative"),
    ):
        with pytest.raises(Invalid):
            change()
    with pytest.raises(Conflict):
        data_centers.create(name="Busan")
    clusters.remove(cluster=cluster, by=None)
    storage.remove(storage_pool=images, by=None)
    data_center.refresh_from_db()
    data_centers.remove(data_center=data_center, by=None)
    assert list(DataCenter.objects.values_list("name", flat=True)) == ["Main"]
    assert Event.objects.filter(kind="object.removed").count() == 3


def test_a_role_on_something_removed_is_gone_with_it(world: World) -> None:
    cluster = clusters.create(data_center=world.data_center, name="Short")
    person = world.person("somebody")
    grants.grant(role="SuperUser", to=person, on=cluster)
    assert access.administers(person)
    clusters.remove(cluster=cluster, by=None)
    assert not access.administers(person)


# -- people -----------------------------------------------------------------------------------------------


def test_accounts_are_made_changed_disabled_and_removed(world: World) -> None:
    group = Group.objects.create(name="desk")
    admin = world.superuser()
    user = users.create(username="minji", password="a long enough one", groups=[group], first_name="Minji", by=admin)
    assert user.check_password("a long enough one")
    assert list(user.groups.all()) == [group]
    users.change(user=user, changes={"is_active": False}, password="another long one", by=admin)
    user.refresh_from_db()
    assert (user.is_active, user.check_password("another long one")) == (False, True)
    with pytest.raises(Conflict, match="own account"):
        users.change(user=admin, changes={"is_active": False}, by=admin)
    with pytest.raises(Conflict, match="own account"):
        users.remove(user=admin, by=admin)
    users.remove(user=user, by=admin)
    pool = world.pool(1)
    [agent] = world.people(1, pool)
    world.take(agent, pool)
    with pytest.raises(Conflict, match="disable"):
        users.remove(user=agent, by=admin)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "a b<>"}, "username"),
        ({"username": "x" * 151}, "username"),
        ({"password": "short"}, "password"),
        ({"email": "nobody"}, "email"),
    ],
)
def test_bad_accounts_are_refused_at_the_field(world: World, values: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        users.create(**{"username": "minji", "password": "a long enough one", **values})
    assert {one["field"] for one in refusal.value.details} == {field}


def test_groups_are_made_changed_and_removed(world: World) -> None:
    person = world.person("minji")
    group = groups.create(name="desk", users=[person])
    groups.change(group=group, name="help desk", users=[])
    assert (Group.objects.get().name, person.groups.count()) == ("help desk", 0)
    grants.grant(role="UserRole", to=group, on=world.cluster)
    with pytest.raises(Conflict, match="has roles"):
        groups.remove(group=group, by=None)
    grants.revoke(role="UserRole", to=group, on=world.cluster)
    groups.remove(group=group, by=None)
    assert not Group.objects.exists()


# -- settings ---------------------------------------------------------------------------------------------


@pytest.mark.req("R058", "R093", "R098")
def test_settings_are_typed_and_their_changes_are_recorded(db: None) -> None:
    assert config.get("DefaultAutoConvergence") is False
    assert config.get("DefaultMigrationCompression") is False
    config.put("DefaultAutoConvergence", "true")
    assert config.get("DefaultAutoConvergence") is True
    config.put("SpiceProxyDefault", "http://proxy:3128")
    config.put("SpiceProxyDefault", "")
    for key, text in (
        ("DefaultAutoConvergence", "perhaps"),
        ("SpiceProxyDefault", "proxy"),
        ("MaxVmsInPool", "0"),
        ("MaxVmsInPool", "1e3"),
        ("VmPoolMonitorIntervalInMinutes", "10081"),
    ):
        with pytest.raises(Invalid) as refusal:
            config.put(key, text)
        assert refusal.value.details[0]["field"] == "value"
    with pytest.raises(NotFound):
        config.put("Nonsense", "1")
    facts = [event.facts for event in Event.objects.filter(kind="setting.changed").order_by("at")]
    assert [fact["after"] for fact in facts] == ["true", "http://proxy:3128", ""]


def test_every_default_is_allowed(db: None) -> None:
    for key, known in config.KEYS.items():
        assert known.read(key, str(known.default)) == known.default
        assert known.help
        assert known.allowed()
    assert not Setting.objects.exists()
    assert not Job.objects.exists()
