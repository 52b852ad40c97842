"""Volumes on a real daemon: formats are stated, nothing is overwritten, and what is deleted is gone."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from broker.drivers.hypervisor import HypervisorError, StoragePoolSpec, VolumeMissing, VolumeName
from tests.drivers.conftest import BASE, POOL, Lab


def test_an_overlay_can_be_asked_for_twice_and_states_its_formats(lab: Lab) -> None:
    layer = VolumeName(POOL, f"{uuid4()}.qcow2")
    made = lab.driver.create_overlay(layer, BASE)
    assert lab.driver.create_overlay(layer, BASE) == made
    assert lab.driver.volume(layer) == made
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", made.path]))
    assert info["format-specific"]["data"]["compat"] == "1.1"
    assert info["backing-filename"] == str(lab.folder / BASE.name)
    assert info["backing-filename-format"] == "qcow2"
    base = lab.driver.volume(BASE)
    assert base is not None
    assert info["virtual-size"] == base.capacity_bytes == made.capacity_bytes


def test_a_volume_that_is_something_else_is_not_taken_for_an_overlay(lab: Lab) -> None:
    other = VolumeName(POOL, f"{uuid4()}.qcow2")
    lab.driver.upload_volume(other, lab.image)
    with pytest.raises(HypervisorError, match="not an overlay"):
        lab.driver.create_overlay(other, BASE)
    with pytest.raises(VolumeMissing):
        lab.driver.create_overlay(VolumeName(POOL, "new.qcow2"), VolumeName(POOL, "missing.qcow2"))


def test_an_upload_arrives_whole_and_read_only(lab: Lab) -> None:
    facts = lab.driver.upload_volume(BASE, lab.image)  # a second time
    stored = Path(facts.path)
    assert stored.read_bytes() == lab.image.read_bytes()
    assert stored.stat().st_mode & 0o777 == 0o444
    assert facts.format == "qcow2"
    assert lab.driver.read_volume(BASE, 1000) == lab.image.read_bytes()[:1000]


def test_an_upload_that_broke_off_is_begun_again(lab: Lab) -> None:
    broken = lab.folder / f"{uuid4()}.qcow2"
    broken.write_bytes(lab.image.read_bytes()[:5000])
    lab.driver.upload_volume(VolumeName(POOL, broken.name), lab.image)
    assert broken.read_bytes() == lab.image.read_bytes()


@pytest.mark.req("R008")
def test_bytes_arrive_whole_and_read_only_and_stay_the_same_file(lab: Lab) -> None:
    volume, content = VolumeName(POOL, f"{uuid4()}.iso"), bytes(range(256)) * 2000
    file = lab.folder / volume.name
    lab.driver.write_volume(volume, content)
    assert file.read_bytes() == content
    assert file.stat().st_mode & 0o777 == 0o444
    written = file.stat()
    lab.driver.write_volume(volume, content)
    assert file.stat().st_mtime_ns == written.st_mtime_ns
    # As a worker leaves it who was killed while he sent: whoever reads it keeps the same file.
    with file.open("r+b") as broken:
        broken.write(bytes(9000))
    lab.driver.write_volume(volume, content)
    assert (file.read_bytes(), file.stat().st_ino) == (content, written.st_ino)


def test_bytes_are_written_at_the_same_time_by_many(lab: Lab) -> None:
    volume, content = VolumeName(POOL, f"{uuid4()}.iso"), bytes(range(256)) * 200
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _one: lab.driver.write_volume(volume, content), range(24)))
    assert (lab.folder / volume.name).read_bytes() == content


def test_bytes_that_another_host_deleted_are_written_again_and_others_are_refused(lab: Lab) -> None:
    volume, content = VolumeName(POOL, f"{uuid4()}.iso"), b"HOTDESK" * 1000
    lab.driver.write_volume(volume, content)
    (lab.folder / volume.name).unlink()
    lab.driver.write_volume(volume, content)
    assert (lab.folder / volume.name).read_bytes() == content
    with pytest.raises(HypervisorError, match="something else"):
        lab.driver.write_volume(volume, content + b"!")
    assert (lab.folder / volume.name).read_bytes() == content


@pytest.mark.parametrize("seen", [False, True], ids=["never-seen", "seen-while-it-was-made"])
def test_a_disk_made_by_another_host_is_not_emptied(lab: Lab, seen: bool) -> None:
    """libvirt creates a volume over a file that it does not know, and remembers what it saw of others."""
    disk = lab.folder / f"{uuid4()}.qcow2"
    if seen:
        disk.touch()
        assert disk.name in {facts.name for facts in lab.driver.volumes(POOL)}
    made_elsewhere = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", BASE.name]
    subprocess.run([*made_elsewhere, str(disk)], check=True)
    subprocess.run(["qemu-io", "-c", "write -q -P 7 0 4096", disk], check=True)
    written = disk.read_bytes()
    lab.driver.create_overlay(VolumeName(POOL, disk.name), BASE)
    assert disk.read_bytes() == written


def test_a_deleted_volume_is_gone_from_the_disk_even_if_libvirt_had_not_known_it(lab: Lab) -> None:
    known = VolumeName(POOL, f"{uuid4()}.qcow2")
    path = Path(lab.driver.create_overlay(known, BASE).path)
    unknown = lab.folder / f"{uuid4()}.serial"
    unknown.write_text("what an earlier run wrote")
    for file in (path, unknown):
        volume = VolumeName(POOL, file.name)
        lab.driver.delete_volume(volume)
        assert not file.exists()
        assert lab.driver.volume(volume) is None
        assert file.name not in {facts.name for facts in lab.driver.volumes(POOL)}
        lab.driver.delete_volume(volume)


def test_a_storage_pool_is_made_where_needed_and_never_moved(lab: Lab, tmp_path: Path) -> None:
    spec = StoragePoolSpec(f"pool-{uuid4()}", "dir", str(tmp_path / "not/yet/there"))
    assert lab.driver.ensure_storage_pool(spec).capacity_bytes > 0
    assert lab.driver.ensure_storage_pool(spec).available_bytes > 0
    with pytest.raises(HypervisorError, match="instead of"):
        lab.driver.ensure_storage_pool(replace(spec, target_path="/elsewhere"))
