"""Real guests are told where the data of their users is, and nothing of it is stored in their disks (R008)."""

import re
import subprocess
from pathlib import Path

import libvirt
import pytest

from tests.running import Desktop, Hotdesk, wait_until

HERE, THERE = r"\\files-4711\home", "smb://files-4712/집"


def told(hotdesk: Hotdesk, vm_id: str) -> str:
    """What the guest reads on the CD."""
    with hotdesk.serial(vm_id) as shell:
        assert " ro," in shell.run("grep /run/hotdesk /proc/mounts")
        return shell.run("cat /run/hotdesk/central-data", timeout_s=90)


def drive_of(hotdesk: Hotdesk, vm_id: str) -> Path:
    connection = libvirt.openReadOnly(hotdesk.libvirtd.uri)
    try:
        xml = connection.lookupByUUIDString(vm_id).XMLDesc()
    finally:
        connection.close()
    found = re.search(r"device='cdrom'>.*?<source file='([^']+)'.*?<readonly/>", xml, re.DOTALL)
    assert found, xml
    return Path(found[1])


def holds(image: Path, text: str, raw: Path) -> bool:
    """Whether the text stands anywhere in what a guest reads from the image."""
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", str(image), str(raw)], check=True)
    return text.encode() in raw.read_bytes()


@pytest.mark.req("R008")
def test_two_members_are_told_the_same_and_the_next_one_what_holds_then(hotdesk: Hotdesk, tmp_path: Path) -> None:
    images = hotdesk.state / "images"
    pool = hotdesk.create_pool("central", 2, central_data=HERE)
    desktops: list[Desktop] = [hotdesk.person(name).take(pool) for name in ("agent06", "agent07")]
    vms = [desktop.wait_for("ready")["vm"] for desktop in desktops]
    assert {told(hotdesk, vm["id"]) for vm in vms} == {HERE}
    [drive] = {drive_of(hotdesk, vm["id"]) for vm in vms}
    assert [file.name for file in images.glob("central-data-*.iso")] == [drive.name]
    assert drive.stat().st_mode & 0o222 == 0
    # Not in the layers, and not in what they stand on.
    with hotdesk.serial(vms[0]["id"]) as shell:
        shell.run("sync")
    layers = list(images.glob("central-?-*.qcow2"))
    assert len(layers) == 4
    for image in layers:
        assert not holds(image, "files-4711", tmp_path / "raw")

    answer = hotdesk.admin.http.patch(f"/manage/pools/{pool}", json={"central_data": THERE})
    assert (answer.status_code, answer.json()["central_data"]) == (200, THERE)
    assert told(hotdesk, vms[0]["id"]) == HERE  # a desktop in use is left as it is
    desktops[0].return_and_wait()
    third = hotdesk.person("agent08").take(pool)
    vm = third.wait_for("ready")["vm"]
    assert vm["id"] == vms[0]["id"]
    assert told(hotdesk, vm["id"]) == THERE
    assert drive.exists() and told(hotdesk, vms[1]["id"]) == HERE

    desktops[1].return_and_wait()
    wait_until(lambda: not drive.exists(), "nobody needs the former drive", 60)
    assert drive_of(hotdesk, vm["id"]).exists()
    third.return_and_wait()
    answer = hotdesk.admin.http.patch(f"/manage/pools/{pool}", json={"central_data": ""})
    assert answer.status_code == 200
    wait_until(lambda: not list(images.glob("central-data-*.iso")), "no drive is left", 60)
