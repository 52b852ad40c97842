"""New and Edit: every field, errors where they belong, what was typed stays, and two people at the same form."""

from typing import Any

import pytest

from broker import config
from broker.models import (
    Cluster,
    DataCenter,
    Host,
    MachineSettings,
    Pool,
    Template,
    TemplateVersion,
    VirtualMachine,
    Volume,
)
from broker.rules.deadlines import TIME_FIELDS
from broker.states import HostStatus
from portal.api.pools import PoolIn, PoolOut, PoolPatch
from portal.api.shapes import MachineChange, MachineIn, MachineOut
from portal.api.vms import VmIn, VmOut
from portal.manage.machine_forms import MachineForm
from portal.manage.pool_forms import EditPool, NewPool
from portal.manage.vm_forms import NewVirtualMachine
from tests.pages.conftest import Reader, error_of, fields, text
from tests.world import World

NEW = "/manage/pools/new/"


@pytest.fixture
def second(world: World) -> TemplateVersion:
    """Another template, with two versions."""
    template = Template.objects.create(
        data_center=world.data_center, name="Windows", operating_system="Windows 11", optimized_for="server"
    )
    for number in (1, 2):
        volume = Volume.objects.create(storage_pool=world.storage, name=f"w{number}", purpose=Volume.Purpose.BASE)
        version = TemplateVersion.objects.create(
            template=template, number=number, volume=volume, memory_mib=1024 * number, vcpus=number
        )
    return version


@pytest.mark.req("R036", "R037", "R038", "R039", "R042", "R045", "R053")
def test_a_name_is_enough_for_a_new_pool(world: World, admin: Reader) -> None:
    answer = admin.fill(NEW, name="helpdesk", size=3)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/manage/pools/")
    pool = Pool.objects.get()
    assert (pool.cluster, pool.template, pool.template_version) == (world.cluster, world.template, None)
    assert (pool.operating_system, pool.memory_mib, pool.type) == ("Tiny Linux", 128, "automatic")
    assert pool.vms.count() == 3
    assert "Pool helpdesk is being created" in text(admin.get("/manage/pools/"))


@pytest.mark.req(
    "R038", "R040", "R041", "R043", "R044", "R046", "R047", "R049", "R051", "R052", "R074", "R075", "R084", "R107"
)
def test_every_field_of_a_new_pool_is_kept(world: World, admin: Reader, second: TemplateVersion) -> None:
    Host.objects.update(numa_nodes=[{"id": number, "memory_mib": 4096, "cpus": [number]} for number in (0, 1)])
    answer = admin.fill(
        NEW,
        template=second.template_id,
        template_version=second.pk,
        filled_from=second.template_id,
        operating_system="My system",
        optimized_for="server",
        name="desk-??",
        description="교육용 데스크톱",
        comment="<b>note</b>",
        size=2,
        prestarted_vms=1,
        max_vms_per_user=3,
        memory_mib=512,
        vcpus=4,
        delete_protection="on",
        override_spice_proxy="on",
        spice_proxy="http://proxy.example.com:3128",
        central_data=r"\\files\home",
        clipboard=None,
        usb_filter="-1,-1,-1,-1,0",
        fullscreen="on",
        usb_autoshare=None,
        color_depth="16",
        disabled_effects=["all"],
        start_running_on="specific",
        hosts=[world.host.pk],
        migration_mode="never",
        custom_migration_policy="on",
        migration_policy="legacy",
        custom_migration_downtime="on",
        migration_downtime_ms=500,
        auto_converge="on",
        migrate_compressed="off",
        host_cpu_passthrough="on",
        numa_node_count=2,
        numa_tune_mode="strict",
        numa_pinning="1; 0",
    )
    assert answer.status_code == 302, text(answer)
    pool = Pool.objects.get()
    assert (pool.template_version, pool.name, pool.description) == (second, "desk-??", "교육용 데스크톱")
    assert (pool.prestarted_vms, pool.max_vms_per_user, pool.spice_proxy) == (1, 3, "http://proxy.example.com:3128")
    assert pool.central_data == r"\\files\home"
    kept = pool.settings()
    assert kept == {
        **kept,
        "operating_system": "My system",
        "optimized_for": "server",
        "memory_mib": 512,
        "vcpus": 4,
        "delete_protection": True,
        "clipboard": False,
        "file_transfer": True,
        "smartcard": False,
        "usb_filter": "-1,-1,-1,-1,0",
        "fullscreen": True,
        "remap_ctrl_alt_del": True,
        "usb_autoshare": False,
        "color_depth": "16",
        "disabled_effects": ["all"],
        "start_running_on": "specific",
        "migration_mode": "never",
        "migration_policy": "legacy",
        "migration_downtime_ms": 500,
        "auto_converge": "on",
        "migrate_compressed": "off",
        "host_cpu_passthrough": True,
        "numa_node_count": 2,
        "numa_tune_mode": "strict",
        "numa_pinning": [[1], [0]],
    }
    assert list(pool.hosts.all()) == [world.host]
    assert [vm.name for vm in pool.vms.order_by("number")] == ["desk-01", "desk-02"]


@pytest.mark.req("R048", "R052", "R056", "R057", "R059")
@pytest.mark.parametrize(
    ("changed", "field", "word"),
    [
        ({"name": ""}, "name", "Pool name is required."),
        ({"name": "a b"}, "name", "letters"),
        ({"size": 0}, "size", "0 VMs"),
        ({"size": 1001}, "size", "1000"),
        ({"size": "many"}, "size", "whole number"),
        ({"prestarted_vms": 2}, "prestarted_vms", "cannot exceed"),
        ({"prestarted_vms": -1}, "prestarted_vms", "cannot exceed"),
        ({"max_vms_per_user": 0}, "max_vms_per_user", "between 1 and 32,767"),
        ({"max_vms_per_user": 32768}, "max_vms_per_user", "between 1 and 32,767"),
        ({"memory_mib": 1}, "memory_mib", "from"),
        ({"memory_mib": 2**40}, "memory_mib", "less than"),
        ({"override_spice_proxy": "on"}, "spice_proxy", "protocol://host:port"),
        ({"override_spice_proxy": "on", "spice_proxy": "http://x"}, "spice_proxy", "protocol://host:port"),
        ({"central_data": "nfs://me:secret@files/home"}, "central_data", "no user name and password"),
        ({"start_running_on": "specific"}, "hosts", "at least one host"),
        ({"numa_node_count": 9}, "numa_pinning", "Cannot assign more NUMA nodes"),
        ({"type": "other"}, "type", "valid choice"),
        ({"optimized_for": "games"}, "optimized_for", "valid choice"),
    ],
)
def test_a_mistake_is_told_at_its_field_and_what_was_typed_stays(
    world: World, admin: Reader, changed: dict[str, Any], field: str, word: str
) -> None:
    answer = admin.fill(NEW, **{"name": "helpdesk", "description": "typed & kept", **changed})
    assert answer.status_code == 422
    assert word in error_of(answer, field), text(answer)
    assert 'value="typed &amp; kept"' in answer.content.decode()
    assert not Pool.objects.exists()


def test_all_mistakes_are_told_at_once_and_each_tab_counts_its_own(world: World, admin: Reader) -> None:
    answer = admin.fill(NEW, name="", size=0, override_spice_proxy="on", spice_proxy="x")
    assert all(error_of(answer, field) for field in ("name", "size", "spice_proxy"))
    errors = {tab["section"].name: tab["errors"] for tab in answer.context["form"].tabs()}
    assert errors == {"general": 2, "type": 0, "console": 1, "data": 0, "host": 0}


def test_a_name_that_is_taken_is_told_at_the_name(world: World, admin: Reader) -> None:
    world.pool(1)
    answer = admin.fill(NEW, name="helpdesk")
    assert answer.status_code == 422
    assert "exists already" in error_of(answer, "name")


@pytest.mark.req("R052", "R050")
def test_what_depends_on_another_field_is_shown_with_the_reason(world: World, admin: Reader) -> None:
    form = admin.get(NEW).context["form"]
    shown = {one.bound.name: one for tab in form.tabs() for _head, group in tab["groups"] for one in group}
    for name in ("spice_proxy", "hosts", "migration_policy", "migration_downtime_ms", "host_cpu_passthrough"):
        assert not shown[name].met and shown[name].why, name
        assert "disabled" in str(shown[name].widget()), name
    for name in ("prestarted_vms", "auto_converge", "migrate_compressed"):
        assert shown[name].met, name
    assert [choice for choice, _label in form.fields["type"].choices] == ["automatic", "manual"]
    assert [tab["section"].advanced for tab in form.tabs()] == [False, True, True, True, True]


def test_what_a_field_that_is_off_sends_does_not_count(world: World, admin: Reader) -> None:
    answer = admin.fill(NEW, name="a", type="manual", prestarted_vms=1, spice_proxy="x", hosts=[world.host.pk])
    assert answer.status_code == 302, text(answer)
    pool = Pool.objects.get()
    assert (pool.prestarted_vms, pool.spice_proxy, pool.hosts.count()) == (0, "", 0)


def test_convergence_can_be_chosen_under_the_legacy_policy_alone(world: World, admin: Reader) -> None:
    Cluster.objects.update(migration_policy="minimal_downtime")
    form = admin.get(NEW).context["form"]
    assert not form.met("auto_converge")
    policy = {"custom_migration_policy": "on", "migration_policy": "legacy"}
    assert admin.fill(NEW, name="a", auto_converge="on", **policy).status_code == 302
    assert Pool.objects.get().auto_converge == "on"


@pytest.mark.req("R039")
def test_without_a_script_another_template_brings_its_own_settings(
    world: World, admin: Reader, second: TemplateVersion
) -> None:
    admin.fill(NEW, name="a", template=second.template_id, vcpus=7)
    pool = Pool.objects.get()
    assert (pool.operating_system, pool.optimized_for, pool.memory_mib) == ("Windows 11", "server", 2048)
    assert pool.vcpus == 7


@pytest.mark.req("R062", "R072")
def test_pools_and_vms_have_the_same_settings_in_their_forms() -> None:
    shared = set(MachineForm.base_fields)
    assert set(MachineSettings.SETTINGS) | {"hosts"} <= shared
    assert shared <= set(NewPool.base_fields) and shared <= set(NewVirtualMachine.base_fields)
    own = {"prestarted_vms", "max_vms_per_user", "type", "override_spice_proxy", "spice_proxy", "central_data"}
    own |= set(TIME_FIELDS)
    assert set(NewPool.base_fields) - set(NewVirtualMachine.base_fields) == own | {"size"}
    assert set(EditPool.base_fields) == set(NewPool.base_fields) - {"size"} | {"increase_by"}


@pytest.mark.req("R072")
def test_pools_and_vms_have_the_same_settings_in_the_api() -> None:
    numa = {name for name in MachineSettings.SETTINGS if name.startswith("numa_")}
    shared = set(MachineSettings.SETTINGS) - numa | {"numa", "hosts"}
    assert set(MachineOut.model_fields) == set(MachineIn.model_fields) == set(MachineChange.model_fields) == shared
    for kind in (PoolOut, PoolIn, PoolPatch, VmOut, VmIn):
        assert shared <= set(kind.model_fields)


@pytest.mark.req("R109", "R110", "R111", "R112")
def test_edit_shows_what_is_and_changes_what_was_changed(world: World, admin: Reader) -> None:
    pool = world.pool(2, comment="old")
    path = f"/manage/pools/{pool.pk}/edit/"
    opened = admin.get(path)
    assert "Changes apply to new virtual machines only" in text(opened)
    assert "Increase number of VMs in pool by" in text(opened)
    assert "Number of VMs" not in text(opened)
    assert admin.fill(path, comment="new", memory_mib=256, increase_by=1).status_code == 302
    world.settle()
    pool.refresh_from_db()
    assert (pool.comment, pool.memory_mib, pool.name) == ("new", 256, "helpdesk")
    assert list(pool.vms.order_by("number").values_list("memory_mib", flat=True)) == [128, 128, 256]


def test_what_cannot_be_changed_is_shown_and_not_taken(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    path = f"/manage/pools/{pool.pk}/edit/"
    assert "This cannot be changed later." in text(admin.get(path))
    assert admin.fill(path, name="other", type="manual").status_code == 302
    pool.refresh_from_db()
    assert (pool.name, pool.type) == ("helpdesk", "automatic")


def test_shrinking_is_refused_at_its_field(world: World, admin: Reader) -> None:
    pool = world.pool(2)
    answer = admin.fill(f"/manage/pools/{pool.pk}/edit/", increase_by=-1)
    assert answer.status_code == 422 and error_of(answer, "increase_by")


def test_of_two_people_the_second_is_told_and_may_save_over_it(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    path = f"/manage/pools/{pool.pk}/edit/"
    first, second = fields(admin.get(path)), fields(admin.get(path))
    assert admin.post(path, {**first, "description": "theirs", "vcpus": 2}).status_code == 302
    told = admin.post(path, {**second, "description": "mine"})
    assert told.status_code == 422
    assert "Somebody else changed this meanwhile" in text(told)
    assert "theirs" in error_of(told, "description")
    pool.refresh_from_db()
    assert pool.description == "theirs"
    again = fields(told)
    assert again["description"] == "mine"
    assert str(again["vcpus"]) == "2"  # not touched by the second: it is as the first left it
    assert admin.post(path, again).status_code == 302
    pool.refresh_from_db()
    assert (pool.description, pool.vcpus) == ("mine", 2)


def test_what_was_seen_when_the_form_was_opened_cannot_be_made_up(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    values = fields(admin.get(f"/manage/pools/{pool.pk}/edit/"))
    answer = admin.post(f"/manage/pools/{pool.pk}/edit/", {**values, "snapshot": "forged", "comment": "x"})
    assert answer.status_code == 302


def test_a_form_in_a_dialog_answers_with_itself_or_with_where_to_go(world: World, admin: Reader) -> None:
    refused = admin.post(NEW, {**fields(admin.get(NEW)), "name": ""}, part=True)
    assert refused.status_code == 422
    assert "site-header" not in refused.content.decode()
    values = {**fields(admin.get(NEW)), "name": "a", "back": "/manage/pools/?q=a"}
    done = admin.post(NEW, values, part=True)
    assert (done.status_code, done.headers["X-Location"]) == (204, "/manage/pools/?q=a")
    away = admin.post(NEW, {**values, "name": "b", "back": "https://evil.example/"}, part=True)
    assert away.headers["X-Location"] == "/manage/pools/"


# -- virtual machines --------------------------------------------------------------------------------------


def test_an_independent_vm_is_made_and_edited(world: World, admin: Reader) -> None:
    assert admin.fill("/manage/vms/new/", name="build", memory_mib=256).status_code == 302
    world.settle()
    vm = VirtualMachine.objects.get()
    assert (vm.pool, vm.name, vm.memory_mib) == (None, "build", 256)
    path = f"/manage/vms/{vm.pk}/edit/"
    assert admin.fill(path, vcpus=3, comment="x").status_code == 302
    vm.refresh_from_db()
    assert (vm.vcpus, vm.comment) == (3, "x")


def test_of_a_member_of_a_pool_only_words_can_be_changed(world: World, admin: Reader) -> None:
    world.pool(1)
    vm = VirtualMachine.objects.get()
    path = f"/manage/vms/{vm.pk}/edit/"
    assert "Detach it first." in text(admin.get(path))
    assert admin.fill(path, vcpus=3, comment="x").status_code == 302
    vm.refresh_from_db()
    assert (vm.vcpus, vm.comment) == (1, "x")


def test_publishing_asks_for_a_new_template_or_an_existing_one(world: World, admin: Reader) -> None:
    world.pool(1)
    vm = VirtualMachine.objects.get()
    path, values = "/manage/vms/act/publish/", {"id": [vm.pk], "confirmed": "1"}
    assert "Name of a new template" in text(admin.post(path, {"id": [vm.pk]}))
    assert admin.post(path, values).status_code == 422
    assert admin.post(path, {**values, "name": "Golden", "template": world.template.pk}).status_code == 422
    assert admin.post(path, {**values, "name": "Golden"}).status_code == 302
    assert Template.objects.filter(name="Golden").exists()


# -- what pools stand on, and people -----------------------------------------------------------------------


def test_the_foundations_are_made_one_after_the_other(world: World, admin: Reader) -> None:
    assert admin.fill("/manage/data-centers/new/", name="Seoul").status_code == 302
    seoul = DataCenter.objects.get(name="Seoul")
    assert admin.fill("/manage/clusters/new/", name="desk-a", data_center=seoul.pk).status_code == 302
    cluster = Cluster.objects.get(name="desk-a")
    values = {"cluster": cluster.pk, "name": "kvm01", "uri": "qemu:///system", "display_address": "10.0.0.1"}
    assert admin.fill("/manage/hosts/new/", **values).status_code == 302
    assert Host.objects.get(name="kvm01").status == HostStatus.ACTIVATING
    values = {"data_center": seoul.pk, "name": "fast", "target_path": "/srv/fast"}
    assert admin.fill("/manage/storage/new/", **values).status_code == 302
    path = f"/manage/clusters/{cluster.pk}/edit/"
    refused = admin.fill(path, spice_proxy="nonsense")
    assert refused.status_code == 422 and error_of(refused, "spice_proxy")
    assert admin.fill(path, name="desk-b").status_code == 302
    assert Cluster.objects.filter(name="desk-b").exists()


def test_people_are_made_changed_and_kept_out(world: World, admin: Reader) -> None:
    assert admin.fill("/manage/groups/new/", name="staff").status_code == 302
    weak = admin.fill("/manage/users/new/", username="minji", password="123")
    assert weak.status_code == 422 and error_of(weak, "password")
    good = {"username": "minji", "password": "a long enough secret", "first_name": "민지"}
    assert admin.fill("/manage/users/new/", **good).status_code == 302
    from portal.models import User

    person = User.objects.get(username="minji")
    assert person.check_password("a long enough secret")
    path = f"/manage/users/{person.pk}/edit/"
    assert admin.fill(path, is_active=None).status_code == 302
    person.refresh_from_db()
    assert not person.is_active and person.check_password("a long enough secret")
    own = admin.fill(f"/manage/users/{admin.person.pk}/edit/", is_active=None)
    assert own.status_code == 422 and error_of(own, "is_active")


def test_a_secret_setting_is_never_shown(world: World, admin: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = config.Text("", "A secret.", lambda text: None, secret=True)
    monkeypatch.setitem(config.KEYS, "FenceSecret", hidden)
    assert admin.fill("/manage/settings/FenceSecret/edit/", value="hunter2").status_code == 302
    for path in ("/manage/settings/", "/manage/settings/FenceSecret/", "/manage/settings/FenceSecret/edit/"):
        assert "hunter2" not in admin.get(path).content.decode(), path
