"""The contract of DESIGN 8 for what administrators do: inventory, pools in full, VMs, templates, jobs, settings."""

from typing import Any

import pytest

from broker import grants
from broker.drivers.hypervisor import ImageFacts
from broker.models import Event, Pool, Template, VirtualMachine
from tests.api.conftest import Api, fields, refused, sign_in
from tests.world import World

POOL = {
    "description": "데스크톱 <b>",
    "comment": "שלום",
    "operating_system": "Windows 11",
    "optimized_for": "server",
    "memory_mib": 256,
    "vcpus": 4,
    "prestarted_vms": 1,
    "max_vms_per_user": 2,
    "delete_protection": True,
    "type": "automatic",
    "override_spice_proxy": True,
    "spice_proxy": "http://proxy:3128",
    "central_data": r"\\files\집",
    "clipboard": False,
    "file_transfer": False,
    "smartcard": False,
    "usb_filter": "-1,-1,-1,-1,0",
    "fullscreen": True,
    "remap_ctrl_alt_del": False,
    "usb_autoshare": False,
    "color_depth": "16",
    "disabled_effects": ["wallpaper", "font-smooth"],
    "start_running_on": "specific",
    "migration_mode": "never",
    "migration_policy": "legacy",
    "migration_downtime_ms": 500,
    "auto_converge": "on",
    "migrate_compressed": "off",
    "host_cpu_passthrough": True,
    "numa": {"node_count": 2, "tune_mode": "strict", "pinning": [[0], [1]]},
}


@pytest.fixture
def body(world: World) -> dict[str, Any]:
    world.host.numa_nodes = [
        {"id": 0, "memory_mib": 4096, "cpus": [0, 1]},
        {"id": 1, "memory_mib": 4096, "cpus": [2, 3]},
    ]
    world.host.save()
    return {
        "name": "full",
        "cluster": str(world.cluster.pk),
        "template": str(world.template.pk),
        "template_version": 1,
        "size": 2,
        "hosts": [str(world.host.pk)],
        **POOL,
    }


@pytest.mark.req("R037", "R038", "R041", "R043", "R044", "R046", "R047", "R051", "R067", "R070", "R109")
def test_every_field_of_a_pool_is_kept_and_can_be_read(world: World, admin: Api, body: dict[str, Any]) -> None:
    answer = admin.post("/manage/pools", body)
    assert answer.status_code == 202, answer.content
    world.settle()
    shown = admin.get(f"/manage/pools/{answer.json()['pool']['id']}").json()
    expected = {**body, "cluster": shown["cluster"], "template": shown["template"]}
    assert {name: shown[name] for name in expected} == expected
    assert (shown["cluster"]["id"], shown["template"]["id"]) == (body["cluster"], body["template"])


@pytest.mark.req("R109", "R080")
def test_every_field_that_may_be_changed_is_changed(world: World, admin: Api, body: dict[str, Any]) -> None:
    made = admin.post("/manage/pools", {**body, **{"delete_protection": False}}).json()["pool"]["id"]
    world.settle()
    changes = {
        "description": "other",
        "comment": "",
        "operating_system": "BSD",
        "optimized_for": "desktop",
        "memory_mib": 512,
        "vcpus": 2,
        "prestarted_vms": 0,
        "max_vms_per_user": 32767,
        "override_spice_proxy": False,
        "central_data": "smb://files/home",
        "clipboard": True,
        "file_transfer": True,
        "smartcard": True,
        "usb_filter": "",
        "fullscreen": False,
        "remap_ctrl_alt_del": True,
        "usb_autoshare": True,
        "color_depth": "none",
        "disabled_effects": [],
        "start_running_on": "any",
        "migration_mode": "manual_only",
        "migration_policy": None,
        "migration_downtime_ms": None,
        "auto_converge": "inherit",
        "migrate_compressed": "inherit",
        "host_cpu_passthrough": False,
        "numa": {"node_count": 0, "tune_mode": "interleave", "pinning": []},
        "template_version": "latest",
    }
    answer = admin.patch(f"/manage/pools/{made}", changes)
    assert answer.status_code == 200, answer.content
    shown = admin.get(f"/manage/pools/{made}").json()
    assert {name: shown[name] for name in changes} == changes
    assert (shown["hosts"], shown["spice_proxy"]) == ([], "")


@pytest.mark.parametrize(
    ("values", "field", "text"),
    [
        ({"size": 0, "prestarted_vms": 0}, "size", "Cannot create Pool with 0 VMs"),
        ({"size": 1001}, "size", "at most 1000"),
        (
            {"prestarted_vms": 3},
            "prestarted_vms",
            "Number of Prestarted VMs cannot exceed the number of VMs in the Pool",
        ),
        ({"prestarted_vms": -1}, "prestarted_vms", "0 to 2"),
        ({"max_vms_per_user": 0}, "max_vms_per_user", "between 1 and 32,767"),
        ({"max_vms_per_user": 32768}, "max_vms_per_user", "between 1 and 32,767"),
        ({"type": "manual"}, "prestarted_vms", "Only automatic pools"),
        ({"override_spice_proxy": False}, "spice_proxy", "Override SPICE Proxy"),
        ({"spice_proxy": "proxy:3128"}, "spice_proxy", "protocol://host:port"),
        ({"smartcard": True}, "smartcard", "optimized as desktops"),
        ({"usb_filter": "1,2,3"}, "usb_filter", "class,vendor,product,version,allow"),
        ({"central_data": "smb://me:secret@files/home"}, "central_data", "no user name and password"),
        ({"central_data": "smb://files/home\n"}, "central_data", "one line"),
        ({"migration_mode": "allow"}, "host_cpu_passthrough", "Do not allow migration"),
        ({"migration_policy": "minimal_downtime", "migrate_compressed": "inherit"}, "auto_converge", "Legacy"),
        ({"start_running_on": "any", "numa": {}}, "hosts", "Specific"),
        ({"numa": {"node_count": 2, "tune_mode": "preferred"}}, "numa", "Preferred NUMA tune mode"),
        ({"numa": {"node_count": 5}}, "numa", "more NUMA nodes than CPU cores"),
        ({"name": ""}, "name", "Pool name is required."),
        ({"name": "x" * 256}, "name", "at most 255"),
    ],
)
@pytest.mark.req("R045", "R048", "R056", "R057", "R059", "R071", "R091", "R101", "R102", "R103", "R119")
def test_what_cannot_be_is_refused_at_its_field_in_the_words_of_the_rule(
    admin: Api, body: dict[str, Any], values: dict[str, Any], field: str, text: str
) -> None:
    refusal = refused(admin.post("/manage/pools", {**body, **values}), 400)
    assert fields(refusal) == {field}
    assert text in refusal["details"][0]["message"]
    assert not Pool.objects.exists()


@pytest.mark.req("R128")
def test_a_pool_is_removed_when_it_is_empty_or_with_its_vms(world: World, admin: Api, pool: Pool) -> None:
    path = f"/manage/pools/{pool.pk}"
    refusal = refused(admin.call("DELETE", path), 409)
    assert "helpdesk-1, helpdesk-2" in refusal["message"]
    job = admin.post(f"{path}/remove-with-vms").json()["job"]["id"]
    world.settle()
    shown = admin.get(f"/jobs/{job}").json()
    assert (shown["state"], shown["total"], shown["done"], shown["about"]) == ("done", 2, 2, "helpdesk")
    refused(admin.get(path), 404)
    empty = world.pool(1, name="empty")
    for vm in admin.get(f"/vms?pool={empty.pk}").json()["items"]:
        assert admin.post(f"/vms/{vm['id']}/detach").json()["pool"] is None
    assert admin.call("DELETE", f"/manage/pools/{empty.pk}").status_code == 204


@pytest.mark.req("R062", "R126")
def test_an_independent_vm_from_its_making_to_its_removal(world: World, admin: Api) -> None:
    body = {"name": "bench", "cluster": str(world.cluster.pk), "template": str(world.template.pk), "vcpus": 2}
    made = admin.post("/vms", body)
    assert made.status_code == 202, made.content
    world.settle()
    path = f"/vms/{made.json()['vm']['id']}"
    shown = admin.get(path).json()
    assert (shown["name"], shown["pool"], shown["vcpus"], shown["hold"]) == ("bench", None, 2, None)
    assert admin.get(f"/jobs/{made.json()['job']['id']}").json()["kind"] == "vm.create"
    assert admin.patch(path, {"memory_mib": 512}).json()["memory_mib"] == 512
    for action, status in (("start", "up"), ("suspend", "paused"), ("resume", "up"), ("shutdown", "down")):
        assert admin.post(f"{path}/{action}").status_code == 202
        world.settle()
        assert admin.get(path).json()["status"] == status
    refused(admin.post(f"{path}/resume"), 409, "WRONG_STATE")
    refused(admin.post("/vms", body), 409, "NAME_TAKEN")
    job = admin.call("DELETE", path).json()["job"]["id"]
    world.settle()
    assert admin.get(f"/jobs/{job}").json()["state"] == "done"
    refused(admin.get(path), 404)


@pytest.mark.req("R268", "R271", "R273", "R274")
def test_a_vm_is_found_by_name_by_uuid_and_by_host_and_domain_id(world: World, admin: Api) -> None:
    other = world.add_host("other")
    one = world.independent("one", start_running_on="specific", hosts=[world.host])
    two = world.independent("two", start_running_on="specific", hosts=[other])
    for vm in (one, two):
        assert admin.get(f"/vms/{vm.pk}").json()["domain_id"] is None
        admin.post(f"/vms/{vm.pk}/start")
    world.settle()

    def found(**query: Any) -> list[str]:
        return [vm["name"] for vm in admin.get("/vms", query_params=query).json()["items"]]

    assert admin.get(f"/vms/{one.pk}").json()["domain_id"] == admin.get(f"/vms/{two.pk}").json()["domain_id"] == 1
    assert (found(host=str(world.host.pk), domain_id=1), found(host=str(other.pk), domain_id=1)) == (["one"], ["two"])
    assert (found(name="two"), found(name="tw"), found(uuid=str(one.pk))) == (["two"], [], ["one"])
    refused(admin.get("/vms?domain_id=1"), 400)


@pytest.mark.req("R061")
def test_a_protected_vm_is_not_removed(world: World, admin: Api) -> None:
    vm = world.independent(delete_protection=True)
    assert "Delete protection is enabled" in refused(admin.call("DELETE", f"/vms/{vm.pk}"), 409)["message"]
    admin.patch(f"/vms/{vm.pk}", {"delete_protection": False})
    assert admin.call("DELETE", f"/vms/{vm.pk}").status_code == 202


def test_a_vm_is_published_and_an_image_imported(world: World, admin: Api) -> None:
    vm = world.independent()
    published = admin.post(f"/vms/{vm.pk}/publish", {"template": str(world.template.pk)}).json()
    world.settle()
    assert (published["template"]["id"], published["template_version"]) == (str(world.template.pk), 2)
    assert admin.get(f"/jobs/{published['job']['id']}").json()["state"] == "done"
    world.driver.images["/images/a.raw"] = ImageFacts("raw", 2**30, 2**20, None)
    answer = admin.post("/templates", {"name": "Imported", "path": "/images/a.raw", "memory_mib": 256})
    assert answer.status_code == 202, answer.content
    world.settle()
    template = admin.get(f"/templates/{answer.json()['template']['id']}").json()
    [version] = template["versions"]
    assert (version["number"], version["state"], version["memory_mib"]) == (1, "ready", 256)
    further = admin.post(f"/templates/{template['id']}/versions", {"path": "/images/missing.raw"})
    world.settle()
    job = admin.get(f"/jobs/{further.json()['job']['id']}").json()
    assert (job["state"], "no file" in job["items"][0]["message"]) == ("failed", True)
    assert admin.post(f"/jobs/{job['id']}/retry").status_code == 202
    world.settle()
    assert admin.call("DELETE", f"/templates/{template['id']}/versions/2").status_code == 204
    assert admin.call("DELETE", f"/templates/{template['id']}").status_code == 204
    refused(admin.call("DELETE", f"/templates/{world.template.pk}"), 409, "IN_USE")
    refused(admin.post(f"/vms/{vm.pk}/publish", {}), 400)


def test_inventory_is_made_changed_and_removed(world: World, admin: Api) -> None:
    data_center = admin.post("/data-centers", {"name": "Seoul", "description": "서울"}).json()
    cluster = admin.post("/clusters", {"data_center": data_center["id"], "name": "c1"}).json()
    storage = admin.post(
        "/storage-pools", {"data_center": data_center["id"], "name": "fast", "target_path": "/srv/fast"}
    ).json()
    host = admin.post(
        "/hosts",
        {"cluster": cluster["id"], "name": "kvm9", "uri": "qemu+tls://kvm9/system", "display_address": "kvm9"},
    )
    assert (host.status_code, host.json()["status"]) == (202, "activating")
    paths = [
        f"/hosts/{host.json()['id']}",
        f"/storage-pools/{storage['id']}",
        f"/clusters/{cluster['id']}",
        f"/data-centers/{data_center['id']}",
    ]
    for path in paths:
        assert admin.patch(path, {"comment": "changed"}).json()["comment"] == "changed"
        assert admin.get(path).json()["comment"] == "changed"
        assert fields(refused(admin.patch(path, {"comment": None}), 400)) == {"comment"}
    refused(admin.call("DELETE", paths[0]), 409)
    world.settle()
    assert admin.post(f"{paths[0]}/maintenance").status_code == 202
    world.settle()
    world.run("broker.monitor_host", world.host.pk)
    Pool.objects.all().delete()
    from broker.models import Host

    Host.objects.filter(name="kvm9").update(status="maintenance")
    for path in paths:
        assert admin.call("DELETE", path).status_code == 204, path
        refused(admin.get(path), 404)


def test_users_and_groups_are_for_those_who_manage_them(world: World, admin: Api) -> None:
    group = admin.post("/groups", {"name": "desk"}).json()
    made = admin.post(
        "/users", {"username": "minji", "password": "a long enough one", "groups": [group["id"]], "email": "m@x.kr"}
    )
    assert made.status_code == 201, made.content
    assert "password" not in made.json()
    path = f"/users/{made.json()['id']}"
    assert made.json()["groups"] == [{"id": group["id"], "name": "desk"}]
    assert admin.patch(path, {"is_active": False}).json()["is_active"] is False
    assert admin.get(f"/groups/{group['id']}").json()["users"] == [made.json()["id"]]
    assert fields(refused(admin.post("/users", {"username": "minji", "password": "x"}), 400)) == {"password"}
    refused(admin.post("/users", {"username": "minji", "password": "a long enough one"}), 409)
    assert admin.call("DELETE", path).status_code == 204
    assert admin.call("DELETE", f"/groups/{group['id']}").status_code == 204
    local = world.person("local")
    grants.grant(role="SuperUser", to=local, on=world.cluster)
    for path in ("/users", "/groups", "/settings"):
        refused(sign_in(local).get(path), 404)
    assert sign_in(local).get("/roles").status_code == 200


@pytest.mark.req("R058")
def test_settings_are_read_changed_and_obeyed(world: World, admin: Api, body: dict[str, Any]) -> None:
    listed = {one["key"]: one for one in admin.get("/settings").json()["items"]}
    assert listed["MaxVmsInPool"]["value"] == listed["MaxVmsInPool"]["default"] == 1000
    assert admin.patch("/settings/MaxVmsInPool", {"value": 1}).json()["value"] == 1
    assert admin.patch("/settings/MaxVmsInPool", {"value": "5"}).json()["value"] == 5
    assert fields(refused(admin.post("/manage/pools", {**body, "size": 6}), 400)) == {"size"}
    assert admin.patch("/settings/DefaultAutoConvergence", {"value": True}).json()["value"] is True
    assert fields(refused(admin.patch("/settings/MaxVmsInPool", {"value": "many"}), 400)) == {"value"}
    refused(admin.patch("/settings/Nonsense", {"value": 1}), 404)


@pytest.mark.req("R275")
def test_events_tell_who_did_what_to_what(world: World, admin: Api, pool: Pool) -> None:
    admin.patch(f"/manage/pools/{pool.pk}", {"comment": "x"})
    [event] = admin.get("/events", query_params={"about": str(pool.pk), "kind": "pool.changed"}).json()["items"]
    assert (event["actor"], event["pool"]) == ("admin", str(pool.pk))
    assert event["message"] == "Pool helpdesk was changed by admin: comment."
    assert admin.get("/events", query_params={"severity": "error"}).json()["items"] == []
    total = admin.get("/events?limit=1").json()
    assert total["count"] == Event.objects.count()
    assert total["next"]


def test_whoever_administers_one_pool_reads_what_concerns_it_alone(world: World, pool: Pool) -> None:
    other = world.pool(1, name="other")
    local = world.person("local")
    grants.grant(role="SuperUser", to=local, on=pool)
    caller = sign_in(local)
    events = caller.get("/events").json()["items"]
    assert events
    mine = set(map(str, pool.vms.values_list("pk", flat=True)))
    assert all(one["pool"] == str(pool.pk) or one["vm"] in mine for one in events)
    jobs = caller.get("/jobs").json()["items"]
    assert [one["about"] for one in jobs] == ["helpdesk"]
    theirs = other.jobs.get()
    refused(caller.get(f"/jobs/{theirs.pk}"), 404)
    refused(caller.post(f"/jobs/{theirs.pk}/stop"), 404)
    refused(caller.post("/vms", {"name": "x", "cluster": str(world.cluster.pk)}), 400)
    assert not Template.objects.exclude(pk=world.template.pk).exists()
    assert VirtualMachine.objects.count() == 3
