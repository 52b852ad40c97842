"""Images on a real daemon: looked at, copied whole and sealed, whoever is killed meanwhile."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import libvirt
import pytest

from broker.drivers.hypervisor import (
    HostFile,
    HypervisorError,
    ImageFacts,
    StoragePoolSpec,
    VolumeMissing,
    VolumeName,
    storage_xml,
)
from tests.drivers.conftest import BASE, POOL, Lab

MIB = 1024**2
COPY = """
import sys
from broker.drivers import hypervisor
uri, source, pool, target = sys.argv[1:]
hypervisor.connect(uri).copy_image(hypervisor.HostFile(source), hypervisor.VolumeName(pool, target))
"""


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)


def written(image: Path, pattern: int, length: str = "64k") -> Path:
    """The image, with the pattern at its beginning."""
    subprocess.run(["qemu-io", "-f", image.suffix[1:], "-c", f"write -q -P {pattern} 0 {length}", image], check=True)
    return image


def same_content(one: Path, other: Path) -> bool:
    return subprocess.run(["qemu-img", "compare", "-q", one, other]).returncode == 0


def target() -> VolumeName:
    return VolumeName(POOL, f"{uuid4()}.qcow2")


def passing_pools(lab: Lab) -> list[str]:
    names = [pool.name() for pool in libvirt.open(lab.uri).listAllStoragePools(0)]
    return [name for name in names if name.startswith("hotdesk-")]


@pytest.fixture
def folder(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A folder of the host that is no storage pool; nothing of ours stays on the host."""
    yield tmp_path
    assert passing_pools(lab) == []


# -- looking


def test_an_image_is_what_libvirt_says(lab: Lab, folder: Path) -> None:
    raw, base, layer, disk = (folder / name for name in ("a.raw", "b.qcow2", "c.qcow2", "d.vmdk"))
    qemu_img("create", "-f", "raw", raw, "3M")
    qemu_img("create", "-f", "qcow2", base, "5M")
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", base.name, layer)
    qemu_img("create", "-f", "vmdk", disk, "4M")
    (folder / "empty").touch()

    def inspect(path: Path) -> ImageFacts:
        return lab.driver.inspect_image(HostFile(str(path)))

    assert inspect(raw) == ImageFacts("raw", 3 * MIB, 3 * MIB, None)
    assert inspect(base) == ImageFacts("qcow2", 5 * MIB, base.stat().st_size, None)
    assert inspect(layer) == ImageFacts("qcow2", 5 * MIB, layer.stat().st_size, str(base))
    assert inspect(disk) == ImageFacts("vmdk", 4 * MIB, disk.stat().st_size, None)
    assert inspect(folder / "empty") == ImageFacts("raw", 0, 0, None)


def test_an_image_may_be_in_a_storage_pool(lab: Lab, folder: Path) -> None:
    layer = target()
    made = lab.driver.create_overlay(layer, BASE)
    facts = lab.driver.inspect_image(layer)
    assert facts == ImageFacts("qcow2", made.capacity_bytes, Path(made.path).stat().st_size, made.backing_path)
    assert lab.driver.inspect_image(HostFile(made.path)) == facts


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("{folder}/missing", VolumeMissing, "no file"),
        ("{folder}/pipe", VolumeMissing, "no file"),
        ("{folder}/inner", HypervisorError, "is not a file"),
        ("{folder}/none/image", VolumeMissing, "no folder"),
        ("{folder}/image/image", VolumeMissing, "no folder"),
        ("{folder}/../image", HypervisorError, "whole path"),
        ("image", HypervisorError, "whole path"),
        ("/", HypervisorError, "whole path"),
    ],
)
def test_what_is_no_image_is_refused(
    lab: Lab, folder: Path, path: str, kind: type[HypervisorError], text: str
) -> None:
    (folder / "inner").mkdir()
    (folder / "image").touch()
    os.mkfifo(folder / "pipe")
    with pytest.raises(kind, match=text):
        lab.driver.inspect_image(HostFile(path.format(folder=folder)))
    with pytest.raises(VolumeMissing):
        lab.driver.inspect_image(target())


def test_an_image_that_is_encrypted_or_keeps_its_data_elsewhere_is_refused(lab: Lab, folder: Path) -> None:
    scattered, encrypted = folder / "scattered.qcow2", folder / "encrypted.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={folder}/data.raw", scattered, "1M")
    qemu_img("create", "-f", "qcow2", encrypted, "1M")
    with encrypted.open("r+b") as header:
        header.seek(32)
        header.write((2).to_bytes(4, "big"))
    for path, text in ((scattered, "in another file"), (encrypted, "is encrypted")):
        for ask in (lab.driver.inspect_image, lambda source: lab.driver.copy_image(source, target())):
            with pytest.raises(HypervisorError, match=text):
                ask(HostFile(str(path)))


@pytest.mark.parametrize(("length", "text"), [(20, "is not a whole qcow2"), (70, "may be cut short")])
def test_an_image_without_a_whole_header_is_refused(lab: Lab, folder: Path, length: int, text: str) -> None:
    cut = folder / "cut.qcow2"
    cut.write_bytes(lab.image.read_bytes()[:length])
    with pytest.raises(HypervisorError, match=text):
        lab.driver.inspect_image(HostFile(str(cut)))


def test_what_a_killed_worker_left_behind_is_in_nobodys_way_and_goes(lab: Lab, folder: Path) -> None:
    host = libvirt.open(lab.uri)
    now = int(time.time())
    for name, path in (
        (f"hotdesk-reading-{now - 4000}-old", f"{folder}/."),
        (f"hotdesk-reading-{now - 10}-young", f"{folder}/./."),
        ("hotdesk-reading-room", f"{folder}/./././."),
    ):
        host.storagePoolCreateXML(storage_xml.storage_pool(StoragePoolSpec(name, "dir", path)), 0)
    (folder / "image").touch()
    assert lab.driver.inspect_image(HostFile(f"{folder}/image")).format == "raw"
    left = {f"hotdesk-reading-{now - 10}-young", "hotdesk-reading-room"}
    assert set(passing_pools(lab)) == left, "somebody may still use a young one, and one is not ours"
    for name in left:
        host.storagePoolLookupByName(name).destroy()


# -- copying


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_copy_is_whole_sealed_and_as_large(lab: Lab, folder: Path, kind: str) -> None:
    image = folder / f"image.{kind}"
    qemu_img("create", "-f", kind, image, "3M")
    written(image, 7)
    copy = target()
    facts = lab.driver.copy_image(HostFile(str(image)), copy)
    stored = lab.folder / copy.name
    assert (facts.path, facts.format, facts.capacity_bytes) == (str(stored), "qcow2", 3 * MIB)
    assert (facts.backing_path, stored.stat().st_mode & 0o777) == (None, 0o444)
    assert same_content(image, stored)
    info = subprocess.check_output(["qemu-img", "info", stored], text=True)
    assert "compat: 1.1" in info
    assert lab.driver.volume(copy) == facts
    assert lab.driver.checksum(copy) == hashlib.sha256(stored.read_bytes()).hexdigest()
    lab.driver.delete_volume(copy)
    assert not stored.exists(), "a sealed volume can be deleted"


def test_a_copy_of_a_layer_stands_on_nothing(lab: Lab, folder: Path) -> None:
    layer, copy = target(), target()
    disk = written(Path(lab.driver.create_overlay(layer, BASE).path), 9)
    facts = lab.driver.copy_image(layer, copy)
    assert (facts.backing_path, facts.backing_format) == (None, None)
    assert same_content(disk, Path(facts.path))
    assert not same_content(lab.image, Path(facts.path))
    assert lab.driver.create_overlay(target(), copy).backing_path == facts.path


def test_a_whole_copy_is_used_again_and_a_broken_one_is_not(lab: Lab, folder: Path) -> None:
    """Disks may stand on a copy that is whole: a late worker must not take it from under them."""
    first, second, other = folder / "first.raw", folder / "second.raw", folder / "other.raw"
    for number, image in enumerate((first, second)):
        written(_empty(image, "2M"), number + 1)
    written(_empty(other, "3M"), 3)
    copy = target()
    stored = lab.folder / copy.name
    stored.write_bytes(b"QFI\xfb what a copy that broke off wrote")
    stored.chmod(0o644)
    lab.driver.volumes(POOL)
    made = lab.driver.copy_image(HostFile(str(first)), copy)
    assert same_content(first, stored)
    assert lab.driver.volume(copy) == made
    assert lab.driver.copy_image(HostFile(str(second)), copy) == made
    assert same_content(first, stored)
    with pytest.raises(HypervisorError, match="is not a copy of"):
        lab.driver.copy_image(HostFile(str(other)), copy)
    lab.driver.delete_volume(copy)
    lab.driver.copy_image(HostFile(str(second)), copy)
    assert same_content(second, stored)


def test_a_copy_that_fails_says_why_and_leaves_nothing(lab: Lab, folder: Path) -> None:
    base, layer = folder / "base.qcow2", folder / "layer.qcow2"
    qemu_img("create", "-f", "qcow2", base, "1M")
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", base, layer)
    base.unlink()
    copy = target()
    begun = time.monotonic()
    with pytest.raises(HypervisorError, match="No such file"):
        lab.driver.copy_image(HostFile(str(layer)), copy)
    assert time.monotonic() - begun < 2, "it is not tried again and again"
    assert lab.driver.volume(copy) is None
    with pytest.raises(VolumeMissing):
        lab.driver.copy_image(HostFile(f"{folder}/missing"), copy)
    with pytest.raises(VolumeMissing):
        lab.driver.checksum(copy)


def test_a_long_copy_holds_up_nobody_and_outlives_its_worker(lab: Lab, folder: Path) -> None:
    image = written(_empty(folder / "image.raw", "256M"), 5, "256M")
    copy = target()
    worker = subprocess.Popen([sys.executable, "-c", COPY, lab.uri, image, POOL, copy.name])
    with _held(copy.name) as inode_of_copy:
        begun = time.monotonic()
        lab.driver.create_overlay(target(), BASE)
        lab.driver.volumes(POOL)
        assert lab.driver.inspect_image(HostFile(str(image))).format == "raw"
        assert time.monotonic() - begun < 2
        worker.kill()
        worker.wait()
        copied: list[object] = []
        source = HostFile(str(image))
        again = [
            threading.Thread(target=lambda: copied.append(lab.driver.copy_image(source, copy))) for _two in range(2)
        ]
        for thread in again:
            thread.start()
        time.sleep(0.5)
        assert copied == [], "they wait for the copy that the daemon still makes"
        inode = inode_of_copy()
    for thread in again:
        thread.join(timeout=20)
    assert copied == 2 * [lab.driver.volume(copy)]
    stored = lab.folder / copy.name
    assert stored.stat().st_ino == inode, "and do not make it anew"
    assert same_content(image, stored)
    [left] = passing_pools(lab)
    assert left.startswith("hotdesk-reading-"), "the killed worker's, which goes when it is old"
    libvirt.open(lab.uri).storagePoolLookupByName(left).destroy()


# -- helpers


def _empty(image: Path, size: str) -> Path:
    qemu_img("create", "-f", image.suffix[1:], image, size)
    return image


@contextlib.contextmanager
def _held(name: str) -> Iterator[Callable[[], int]]:
    """Hold the process that writes the copy of this name, as soon as it has begun."""
    give_up_at = time.monotonic() + 15
    process, path = None, None
    while process is None or path is None or not path.exists():
        assert time.monotonic() < give_up_at
        process, path = _copying(name)
    os.kill(process, signal.SIGSTOP)
    try:
        assert path.stat().st_mode & 0o777 != 0o444, "it is not sealed before it is whole"
        yield lambda: path.stat().st_ino
    finally:
        os.kill(process, signal.SIGCONT)


def _copying(name: str) -> tuple[int | None, Path | None]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode().split("\0")
            if words[0].endswith("qemu-img") and words[-2].endswith(name):
                return int(process.name), Path(words[-2])
    return None, None
