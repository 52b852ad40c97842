"""What administrators do, on real guests: pools, independent VMs, templates, hosts (DESIGN 7)."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.running import Hotdesk, wait_until

MIB = 1024**2
OWN = (
    r"<name>.*?</name>",
    r"<uuid>.*?</uuid>",
    r"<mac address=.*?/>",
    r"<source file=.*?/>",
    r"<hotdesk:vm .*?/>",
    r" passwd='.*?'",
)


def inactive(hotdesk: Hotdesk, vm_id: str) -> str:
    """The definition that its next start would read, without the run number and passwords."""
    connection = libvirt.open(hotdesk.libvirtd.uri)
    try:
        xml = connection.lookupByUUIDString(vm_id).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    finally:
        connection.close()
    return re.sub(r" run=\"\d+\"| run='\d+'| passwd='.*?'", "", xml)


def anonymous(xml: str) -> str:
    """What is left of a definition without what is a member's own."""
    for pattern in OWN:
        xml = re.sub(pattern, "", xml)
    return xml


def chain(file: Path) -> list[dict[str, Any]]:
    command = ["qemu-img", "info", "--force-share", "--backing-chain", "--output=json", str(file)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def disk_of(hotdesk: Hotdesk, name: str) -> Path:
    [disk] = [path for path in (hotdesk.state / "images").glob(f"{name}-*.qcow2") if ".run-" not in path.name]
    return disk


def job_done(hotdesk: Hotdesk, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    job = answer.json()["job"]["id"]
    wait_until(lambda: hotdesk.admin.get(f"/jobs/{job}")["state"] != "running", "the job is over")
    shown = hotdesk.admin.get(f"/jobs/{job}")
    assert shown["state"] == "done", shown
    return shown


def act(hotdesk: Hotdesk, vm_id: str, action: str, status: str) -> dict[str, Any]:
    """Ask for it and wait until it is so."""
    answer = hotdesk.admin.http.post(f"/vms/{vm_id}/{action}")
    assert answer.status_code == 202, answer.text
    wait_until(lambda: hotdesk.admin.get(f"/vms/{vm_id}")["status"] == status, f"{action} leads to {status}")
    return hotdesk.admin.get(f"/vms/{vm_id}")


@pytest.fixture(scope="module")
def bench(hotdesk: Hotdesk) -> str:
    """An independent VM."""
    body = {
        "name": "bench",
        "cluster": hotdesk.admin.get("/clusters")["items"][0]["id"],
        "template": hotdesk.admin.get("/templates?q=Tiny")["items"][0]["id"],
    }
    answer = hotdesk.admin.http.post("/vms", json=body)
    job_done(hotdesk, answer)
    return answer.json()["vm"]["id"]


@pytest.mark.req("R010", "R012", "R014", "R015", "R022", "R053", "R054")
def test_twenty_vms_on_a_template_of_a_gibibyte_cost_less_than_twenty_mebibytes(
    hotdesk: Hotdesk, tmp_path: Path
) -> None:
    image = tmp_path / "big.raw"
    with image.open("wb") as file:
        file.write(b"not empty" * 1000)
        file.truncate(1024 * MIB)
    started = hotdesk.admin.http.post("/templates", json={"name": "Big", "path": str(image), "memory_mib": 64})
    job_done(hotdesk, started)
    template = hotdesk.admin.get(f"/templates/{started.json()['template']['id']}")
    [version] = template["versions"]
    assert (version["state"], version["memory_mib"], len(version["checksum"])) == ("ready", 64, 64)
    body = {
        "name": "twenty",
        "cluster": hotdesk.admin.get("/clusters")["items"][0]["id"],
        "template": template["id"],
        "size": 20,
    }
    answer = hotdesk.admin.http.post("/manage/pools", json=body)
    job = job_done(hotdesk, answer)
    assert (job["total"], job["done"]) == (20, 20)
    members = hotdesk.vms(answer.json()["pool"]["id"])
    disks = [disk_of(hotdesk, vm["name"]) for vm in members]
    assert sum(disk.stat().st_blocks * 512 for disk in disks) < 20 * MIB
    bases = set()
    for disk in disks:
        layers = chain(disk)
        assert [layer["format"] for layer in layers] == ["qcow2", "qcow2"]
        assert layers[0]["backing-filename-format"] == "qcow2"
        assert layers[0]["virtual-size"] == 1024 * MIB
        bases.add((layers[1]["filename"], Path(layers[1]["filename"]).stat().st_ino))
    assert len(bases) == 1
    [(base, _inode)] = bases
    assert Path(base).stat().st_mode & 0o222 == 0
    removed = hotdesk.admin.http.post(f"/manage/pools/{answer.json()['pool']['id']}/remove-with-vms")
    job_done(hotdesk, removed)
    wait_until(lambda: not any(disk.exists() for disk in disks), "the disks are deleted")
    assert hotdesk.admin.http.delete(f"/templates/{template['id']}").status_code == 204
    wait_until(lambda: not Path(base).exists(), "the base is deleted")


@pytest.mark.req("R001", "R053", "R100", "R102", "R104", "R105", "R106", "R111", "R112")
def test_members_are_alike_and_an_edit_changes_new_ones_only(hotdesk: Hotdesk) -> None:
    pool = hotdesk.create_pool("alike", 2, numa={"node_count": 1, "tune_mode": "preferred", "pinning": []})
    first, second = hotdesk.vms(pool)
    before = {vm["id"]: inactive(hotdesk, vm["id"]) for vm in (first, second)}
    assert len({anonymous(xml) for xml in before.values()}) == 1
    host = hotdesk.admin.get("/hosts")["items"][0]["id"]
    changes = {
        "memory_mib": 192,
        "vcpus": 2,
        "optimized_for": "server",
        "clipboard": False,
        "migration_mode": "never",
        "host_cpu_passthrough": True,
        "start_running_on": "specific",
        "hosts": [host],
        "numa": {"node_count": 2, "tune_mode": "strict", "pinning": [[0], [0]]},
        "increase_by": 1,
    }
    job_done(hotdesk, hotdesk.admin.http.patch(f"/manage/pools/{pool}", json=changes))
    desktop = hotdesk.person("agent01").take(pool)
    desktop.wait_for("ready")
    desktop.return_and_wait()
    hotdesk.wait_until_clean(pool)
    assert {key: inactive(hotdesk, key) for key in before} == before
    [new] = [vm for vm in hotdesk.vms(pool) if vm["id"] not in before]
    xml = inactive(hotdesk, new["id"])
    assert "<memory unit='KiB'>196608</memory>" in xml
    assert "copypaste='no'" in xml
    assert len(re.findall(r"<cell id='\d' cpus='\d' memory='98304' unit='KiB'/>", xml)) == 2
    assert len(re.findall(r"<memnode cellid='\d' mode='strict' nodeset='0'/>", xml)) == 2
    assert re.search(r"<cpu mode='(maximum|host-passthrough)'", xml)
    act(hotdesk, new["id"], "start", "up")
    with hotdesk.serial(new["id"]) as shell:
        assert shell.run("ls -d /sys/devices/system/node/node[0-9]* | wc -l || true", timeout_s=90)
        assert shell.run("grep -c ^processor /proc/cpuinfo") == "2"
    act(hotdesk, new["id"], "stop", "down")


@pytest.mark.req("R034", "R231", "R232", "R269", "R270", "R271", "R272", "R273", "R274", "R276")
def test_an_independent_vm_is_known_by_name_id_and_uuid(hotdesk: Hotdesk, bench: str) -> None:
    vm = act(hotdesk, bench, "start", "up")
    host, first_id = vm["host"]["id"], vm["domain_id"]
    assert first_id >= 1
    connection = libvirt.open(hotdesk.libvirtd.uri)
    assert connection.lookupByID(first_id).UUIDString() == connection.lookupByName("bench").UUIDString() == bench
    connection.close()
    assert list(hotdesk.libvirtd.root.rglob("qemu/bench.xml"))
    for query in (f"host={host}&domain_id={first_id}", "name=bench", f"uuid={bench}"):
        assert [one["id"] for one in hotdesk.admin.get(f"/vms?{query}")["items"]] == [bench]
    with hotdesk.serial(bench) as shell:
        assert shell.run("cat /sys/class/dmi/id/product_uuid", timeout_s=90).lower() == bench
        shell.run("echo mine > /data/mine && sync")
        count = "(while :; do sleep 0.2; done) & echo started"
        assert shell.run(count).endswith("started")
    act(hotdesk, bench, "suspend", "paused")
    assert hotdesk.admin.http.post(f"/vms/{bench}/suspend").status_code == 409
    act(hotdesk, bench, "resume", "up")
    assert hotdesk.admin.http.post(f"/vms/{bench}/resume").status_code == 409
    with hotdesk.serial(bench) as shell:
        assert shell.run("cat /data/mine") == "mine"
    assert act(hotdesk, bench, "shutdown", "down")["domain_id"] is None
    again = act(hotdesk, bench, "start", "up")
    assert again["domain_id"] != first_id
    with hotdesk.serial(bench) as shell:
        assert shell.run("cat /data/mine", timeout_s=90) == "mine"
    act(hotdesk, bench, "stop", "down")


def test_a_vm_is_published_and_pools_on_the_latest_follow_when_they_are_free(hotdesk: Hotdesk, bench: str) -> None:
    published = hotdesk.admin.http.post(f"/vms/{bench}/publish", json={"name": "Bench"})
    job_done(hotdesk, published)
    template = published.json()["template"]["id"]
    pool = hotdesk.create_pool("following", 2, template=template)
    desktop = hotdesk.person("agent01").take(pool)
    vm = desktop.wait_for("ready")["vm"]
    with hotdesk.serial(vm["id"]) as shell:
        assert shell.run("cat /data/mine", timeout_s=90) == "mine"
    act(hotdesk, bench, "start", "up")
    with hotdesk.serial(bench) as shell:
        shell.run("echo second > /data/mine && sync", timeout_s=90)
    act(hotdesk, bench, "shutdown", "down")
    job_done(hotdesk, hotdesk.admin.http.post(f"/vms/{bench}/publish", json={"template": template}))

    def versions() -> dict[str, int]:
        return {one["id"]: one["template_version"] for one in hotdesk.vms(pool) if not one["hold"]}

    wait_until(lambda: 2 in versions().values(), "the free one is renewed")
    assert versions()[vm["id"]] == 1
    assert desktop.now()["state"] == "ready"
    desktop.return_and_wait()
    wait_until(lambda: list(versions().values()) == [2, 2], "the other one is renewed")
    second = hotdesk.person("agent01").take(pool)
    with hotdesk.serial(second.wait_for("ready")["vm"]["id"]) as shell:
        assert shell.run("cat /data/mine", timeout_s=90) == "second"
    second.return_and_wait()
    assert hotdesk.admin.http.delete(f"/templates/{template}/versions/1").status_code == 204


@pytest.mark.req("R065", "R066")
def test_a_manual_desktop_keeps_its_layer_until_an_administrator_returns_it(hotdesk: Hotdesk) -> None:
    pool = hotdesk.create_pool("manual", 1, type="manual")
    person = hotdesk.person("agent02")
    desktop = person.take(pool)
    vm = desktop.wait_for("ready")["vm"]
    with hotdesk.serial(vm["id"]) as shell:
        shell.run("echo kept > /data/kept && sync", timeout_s=90)
        shell.send("poweroff -f")
    wait_until(lambda: desktop.now()["vm"]["status"] == "down", "it is down")
    assert desktop.now()["state"] == "ready"
    assert desktop.console().status_code == 409
    assert person.http.post(f"/requests/{desktop.id}/restart").status_code == 202
    wait_until(lambda: desktop.now()["vm"]["status"] == "up", "it is up again")
    with hotdesk.serial(vm["id"]) as shell:
        assert shell.run("cat /data/kept", timeout_s=90) == "kept"
    desktop.give_back()
    assert desktop.now()["state"] == "ready"
    assert hotdesk.admin.http.post(f"/vms/{vm['id']}/return").status_code == 202
    assert desktop.wait_for("ended")["end_reason"] == "returned"
    again = person.take(pool)
    with hotdesk.serial(again.wait_for("ready")["vm"]["id"]) as shell:
        assert shell.run("cat /data/kept 2>/dev/null || echo nothing", timeout_s=90) == "nothing"
    hotdesk.admin.http.post(f"/vms/{vm['id']}/return")
    again.wait_for("ended")


@pytest.mark.req("R122", "R123", "R126", "R128", "R129")
def test_a_detached_vm_outlives_its_pool_with_its_data(hotdesk: Hotdesk) -> None:
    pool = hotdesk.create_pool("short-lived", 2)
    kept, other = hotdesk.vms(pool)
    act(hotdesk, kept["id"], "start", "up")
    assert hotdesk.admin.http.post(f"/vms/{kept['id']}/detach").status_code == 409
    with hotdesk.serial(kept["id"]) as shell:
        shell.run("echo kept > /data/kept && sync", timeout_s=90)
    act(hotdesk, kept["id"], "shutdown", "down")
    refused = hotdesk.admin.http.delete(f"/manage/pools/{pool}")
    assert (refused.status_code, "short-lived-1" in refused.json()["message"]) == (409, True)
    for vm in (kept, other):
        answer = hotdesk.admin.http.post(f"/vms/{vm['id']}/detach")
        assert (answer.status_code, answer.json()["pool"]) == (200, None)
    assert hotdesk.admin.http.delete(f"/manage/pools/{pool}").status_code == 204
    act(hotdesk, kept["id"], "start", "up")
    with hotdesk.serial(kept["id"]) as shell:
        assert shell.run("cat /data/kept", timeout_s=90) == "kept"
    act(hotdesk, kept["id"], "stop", "down")
    disk = disk_of(hotdesk, "short-lived-1")
    for vm in (kept, other):
        job_done(hotdesk, hotdesk.admin.http.delete(f"/vms/{vm['id']}"))
    wait_until(lambda: not disk.exists(), "its disk is deleted")


def test_a_host_tells_its_facts_and_goes_into_maintenance(hotdesk: Hotdesk) -> None:
    host = hotdesk.admin.get("/hosts")["items"][0]
    assert host["numa_nodes"] and host["memory_mib"] > 1000 and host["cpu_threads"] >= 1
    assert 0 < host["memory_used_mib"] < host["memory_mib"]
    hotdesk.wait_until_clean(hotdesk.pool_named("helpdesk")["id"])
    path = f"/hosts/{host['id']}"
    assert hotdesk.admin.http.post(f"{path}/maintenance").status_code == 202
    wait_until(lambda: hotdesk.admin.get(path)["status"] == "maintenance", "nothing runs there any more")
    wish = hotdesk.person("agent03").take(hotdesk.pool_named("helpdesk")["id"])
    assert wish.now()["state"] == "queued"
    assert hotdesk.admin.http.post(f"{path}/activate").status_code == 202
    wish.wait_for("ready")
    wish.return_and_wait()
    hotdesk.wait_until_clean(hotdesk.pool_named("helpdesk")["id"])
