"""The main job on real guests: take, work, give back, and nothing is left (DESIGN 5)."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests import spice
from tests.running import Hotdesk, connection, wait_until

MARK = "/data/marker"


@pytest.fixture
def pool(hotdesk: Hotdesk) -> Iterator[str]:
    """The demo's pool of five, clean before and after."""
    key = hotdesk.pool_named("helpdesk")["id"]
    hotdesk.wait_until_clean(key)
    yield key
    for name, person in hotdesk.people.items():
        for wish in person.get("/requests")["items"] if name != "admin" else ():
            if wish["state"] in ("queued", "starting", "ready"):
                person.http.post(f"/requests/{wish['id']}/return")
    hotdesk.wait_until_clean(key)


@pytest.fixture(scope="module")
def single(hotdesk: Hotdesk) -> str:
    """A pool of one VM, so that the next person meets the same one."""
    return hotdesk.create_pool("single", 1)


def base_image(hotdesk: Hotdesk) -> Path:
    return hotdesk.state / "images" / "tiny-linux-v1.qcow2"


def checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def domain_xml(hotdesk: Hotdesk, vm_id: str, flags: int = 0) -> str:
    connection = libvirt.openReadOnly(hotdesk.libvirtd.uri)
    try:
        return connection.lookupByUUIDString(vm_id).XMLDesc(flags)
    finally:
        connection.close()


@pytest.mark.req("R002")
def test_only_who_was_granted_the_pool_sees_or_takes_it(hotdesk: Hotdesk, pool: str) -> None:
    visitor = hotdesk.person("visitor")
    assert visitor.get("/pools")["items"] == []
    assert visitor.http.post(f"/pools/{pool}/take").status_code == 404
    mine = hotdesk.person("agent01").take(pool)
    assert visitor.http.get(f"/requests/{mine.id}").status_code == 404
    assert visitor.http.post(f"/requests/{mine.id}/console").status_code == 404
    assert visitor.http.post(f"/requests/{mine.id}/return").status_code == 404


@pytest.mark.req("R001", "R010", "R012", "R020", "R024")
def test_all_vms_of_a_pool_are_one_configuration_on_one_image(hotdesk: Hotdesk, pool: str) -> None:
    shapes, bases = set(), set()
    connection = libvirt.openReadOnly(hotdesk.libvirtd.uri)
    storage = connection.storagePoolLookupByName("images")
    for vm in hotdesk.vms(pool):
        xml = domain_xml(hotdesk, vm["id"], libvirt.VIR_DOMAIN_XML_INACTIVE)
        disk = re.search(r"<source file='([^']+)'", xml)
        assert disk
        volume = storage.storageVolLookupByName(re.sub(r"\.run-\d+", "", Path(disk[1]).name)).XMLDesc()
        assert "<compat>1.1</compat>" in volume
        bases.add(re.search(r"<backingStore>\s*<path>([^<]+)</path>\s*<format type='qcow2'/>", volume)[1])
        for pattern in (
            r"<name>.*?</name>",
            r"<uuid>.*?</uuid>",
            r"<mac address=.*?/>",
            r"<source file=.*?/>",
            r"<hotdesk:vm .*?/>",
        ):
            xml = re.sub(pattern, "", xml)
        shapes.add(xml)
    connection.close()
    assert len(shapes) == 1
    assert bases == {str(base_image(hotdesk))}


@pytest.mark.req("R003", "R006", "R007", "R011", "R013", "R018")
def test_a_marker_of_one_user_is_gone_for_the_next_and_the_base_is_unchanged(hotdesk: Hotdesk, single: str) -> None:
    before = checksum(base_image(hotdesk))
    first = hotdesk.person("agent01").take(single)
    vm = first.wait_for("ready")["vm"]
    with hotdesk.serial(vm["id"]) as shell:
        shell.run(f"echo agent01 > {MARK} && sync")
        assert shell.run(f"cat {MARK}") == "agent01"
    second = hotdesk.person("agent02").take(single)
    assert second.wait_for("queued")["position"] == 1
    first.give_back()
    assert second.wait_for("ready")["vm"]["id"] == vm["id"]
    with hotdesk.serial(vm["id"]) as shell:
        assert shell.run(f"cat {MARK} 2>/dev/null || echo nothing") == "nothing"
    ended = second.return_and_wait()
    assert ended["end_reason"] == "returned"
    assert checksum(base_image(hotdesk)) == before
    assert not list((hotdesk.state / "images").glob("single-*.run-*"))


@pytest.mark.req("R003", "R004", "R016", "R017", "R023")
def test_five_get_five_and_the_sixth_gets_the_next_returned_one(hotdesk: Hotdesk, pool: str) -> None:
    desktops = [hotdesk.person(f"agent{number:02}").take(pool) for number in range(1, 7)]
    got = [desktop.wait_for("ready")["vm"]["id"] for desktop in desktops[:5]]
    assert len(set(got)) == 5
    sixth = desktops[5].now()
    assert (sixth["state"], sixth["position"], sixth["vm"]) == ("queued", 1, None)
    assert sixth["reason"] == "All 5 desktops are in use."
    desktops[2].give_back()
    assert desktops[5].wait_for("ready")["vm"]["id"] == got[2]


@pytest.mark.req("R060")
def test_a_second_take_is_refused_and_a_repeat_with_the_same_key_is_not(hotdesk: Hotdesk, pool: str) -> None:
    person = hotdesk.person("agent03")
    key = {"Idempotency-Key": "the same click"}
    first = person.http.post(f"/pools/{pool}/take", headers=key)
    again = person.http.post(f"/pools/{pool}/take", headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = person.http.post(f"/pools/{pool}/take")
    assert (other.status_code, other.json()["error"]) == (409, "LIMIT_REACHED")


@pytest.mark.req("R031", "R032", "R116")
def test_a_prestarted_vm_is_handed_out_with_its_domain_id_and_replaced(hotdesk: Hotdesk, pool: str) -> None:
    warm = {vm["id"]: vm["domain_id"] for vm in hotdesk.vms(pool) if vm["status"] == "up"}
    assert len(warm) == 2
    taken = hotdesk.person("agent01").take(pool).wait_for("ready", 10)["vm"]
    after = {vm["id"]: vm for vm in hotdesk.vms(pool)}
    assert after[taken["id"]]["domain_id"] == warm[taken["id"]]

    def two_again() -> bool:
        return sum(vm["status"] == "up" and not vm["user"] for vm in hotdesk.vms(pool)) == 2

    wait_until(two_again, "two more run ahead")


@pytest.mark.req("R029", "R063", "R064", "R114", "R115")
def test_a_shutdown_inside_the_guest_returns_the_desktop(hotdesk: Hotdesk, single: str) -> None:
    [vm] = hotdesk.vms(single)
    assert vm["status"] == "down"
    desktop = hotdesk.person("agent01").take(single)
    desktop.wait_for("ready")
    with hotdesk.serial(vm["id"]) as shell:
        shell.send("poweroff -f")
    assert desktop.wait_for("ended")["end_reason"] == "shut_down"
    hotdesk.wait_until_clean(single)
    [vm] = hotdesk.vms(single)
    assert (vm["status"], vm["hold"], vm["user"]) == ("down", None, None)


@pytest.mark.req("R027")
def test_a_reboot_inside_the_guest_keeps_the_desktop_and_its_layer(hotdesk: Hotdesk, single: str) -> None:
    desktop = hotdesk.person("agent01").take(single)
    vm = desktop.wait_for("ready")["vm"]
    with hotdesk.serial(vm["id"]) as shell:
        shell.run(f"echo here > {MARK} && sync")
        shell.send("reboot -f")
    with hotdesk.serial(vm["id"]) as shell:
        assert shell.run(f"cat {MARK}", timeout_s=90) == "here"
    assert desktop.now()["state"] == "ready"
    assert desktop.return_and_wait()["end_reason"] == "returned"


@pytest.mark.req("R034")
def test_what_an_administrator_writes_stays_and_users_have_no_such_way(hotdesk: Hotdesk, single: str) -> None:
    hotdesk.wait_until_clean(single)
    [vm] = hotdesk.vms(single)
    assert hotdesk.person("agent01").http.post(f"/vms/{vm['id']}/start").status_code == 404
    answer = hotdesk.admin.http.post(f"/vms/{vm['id']}/start")
    assert (answer.status_code, answer.json()["run_mode"]) == (202, "stateful")
    waiting = hotdesk.person("agent01").take(single)
    wait_until(lambda: hotdesk.admin.get(f"/vms/{vm['id']}")["status"] == "up", "it is up")
    file = connection(hotdesk.admin.http.post(f"/vms/{vm['id']}/console").text)
    assert spice.link(file["host"], int(file["port"]), file["password"]) == "OK"
    with hotdesk.serial(vm["id"]) as shell:
        shell.run("echo patched > /data/patch && sync", timeout_s=90)
    assert waiting.now()["state"] == "queued"
    assert hotdesk.admin.http.post(f"/vms/{vm['id']}/shutdown").status_code == 202

    def kept_back() -> bool:
        now = hotdesk.admin.get(f"/vms/{vm['id']}")
        return now["status"] == "down" and now["hold"] == "administrator"

    # Users meet what was changed once somebody takes that upon himself.
    wait_until(kept_back, "it is kept back")
    assert waiting.now()["state"] == "queued"
    released = hotdesk.admin.http.post(f"/vms/{vm['id']}/return").json()
    assert (released["changed_by"], released["released_by"]) == ("admin", "admin")
    waiting.wait_for("ready")
    # A desktop in use is opened by its user alone.
    assert hotdesk.admin.http.post(f"/vms/{vm['id']}/console").status_code == 409
    with hotdesk.serial(vm["id"]) as shell:
        assert shell.run("cat /data/patch") == "patched"
        shell.run("rm /data/patch && sync")
    waiting.return_and_wait()
    with hotdesk.serial(hotdesk.person("agent02").take(single).wait_for("ready")["vm"]["id"]) as shell:
        assert shell.run("cat /data/patch") == "patched"
    for wish in hotdesk.person("agent02").get("/requests?state=ready")["items"]:
        hotdesk.person("agent02").http.post(f"/requests/{wish['id']}/return")
    hotdesk.wait_until_clean(single)


def test_when_a_start_fails_the_person_gets_another_vm_and_the_bad_one_is_held(hotdesk: Hotdesk) -> None:
    pair = hotdesk.create_pool("pair", 2)
    bad = next(vm for vm in hotdesk.vms(pair) if vm["name"] == "pair-1")
    [disk] = (hotdesk.state / "images").glob("pair-1-*.qcow2")
    aside = disk.with_suffix(".aside")
    disk.rename(aside)
    try:
        first = hotdesk.person("agent01").take(pair)
        assert first.wait_for("ready")["vm"]["name"] == "pair-2"
        second = hotdesk.person("agent02").take(pair)

        def held() -> bool:
            return hotdesk.admin.get(f"/vms/{bad['id']}")["hold"] == "error"

        wait_until(held, "the bad VM is on hold")
        assert hotdesk.admin.get(f"/vms/{bad['id']}")["hold_reason"]
        waits = second.now()
        assert waits["state"] == "starting" and "first claim" in waits["reason"]
    finally:
        aside.rename(disk)
    assert hotdesk.admin.http.post(f"/vms/{bad['id']}/return").status_code == 202
    assert second.wait_for("ready")["vm"]["name"] == "pair-1"
    first.give_back()
    second.return_and_wait()
