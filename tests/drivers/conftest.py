"""A real hypervisor of our own: a private libvirt daemon, a storage pool and Tiny Linux."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import libvirt
import pytest
from lxml import etree

from broker.drivers import hypervisor
from broker.drivers.hypervisor import Acceleration, Hypervisor, NicSpec, StoragePoolSpec, VmSpec, VolumeName
from broker.lab import guest
from broker.lab.libvirtd import PrivateLibvirtd

SCHEMAS = Path("/usr/share/libvirt/schemas")
GOLDEN = Path(__file__).parents[1] / "data"
POOL = "test"
INSTALLATION = "test-installation"
BASE = VolumeName(POOL, "base.qcow2")


class Lab:
    """What the tests of the driver stand on."""

    def __init__(self, daemon: PrivateLibvirtd, folder: Path, image: Path) -> None:
        self.daemon, self.folder, self.image = daemon, folder, image
        self.uri = daemon.uri
        self.driver: Hypervisor = hypervisor.connect(daemon.uri)

    def spec(self, **changes: object) -> VmSpec:
        """A desktop of its own, with a fresh disk."""
        vm_id = uuid4()
        spec = VmSpec(
            id=vm_id,
            name=f"vm-{str(vm_id)[:8]}",
            installation=INSTALLATION,
            run=1,
            memory_mib=128,
            vcpus=1,
            operating_system="linux",
            optimized_for="server",
            acceleration=Acceleration.QEMU,
            disk=VolumeName(POOL, f"{vm_id}.run-1.qcow2"),
            nics=(NicSpec(mac="52:54:00:12:34:56"),),
            display_address="127.0.0.1",
        )
        self.driver.create_overlay(spec.disk, BASE)
        return replace(spec, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("hypervisor")
    image = folder / "tiny-linux.qcow2"
    guest.build(image)
    daemon = PrivateLibvirtd(folder / "libvirt")
    daemon.start()
    try:
        lab = Lab(daemon, folder / "volumes", image)
        lab.driver.ensure_storage_pool(StoragePoolSpec(POOL, "dir", str(lab.folder)))
        lab.driver.upload_volume(BASE, image)
        yield lab
    finally:
        daemon.stop()


@pytest.fixture
def host_uri(lab: Lab) -> str:
    return lab.uri


@pytest.fixture
def driver(lab: Lab) -> Iterator[Hypervisor]:
    """The host; whatever a test leaves on it is removed."""
    yield lab.driver
    connection = libvirt.open(lab.uri)
    for domain in connection.listAllDomains(0):
        if domain.isActive():
            with contextlib.suppress(libvirt.libvirtError):  # a daemon just restarted may be faster
                domain.destroy()
        if domain.isPersistent():
            domain.undefine()
    connection.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], float], bool]:
    """Ask until it is so, or the seconds are over."""

    def ask(question: Callable[[], bool], seconds: float) -> bool:
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at:
            if question():
                return True
            time.sleep(0.1)
        return False

    return ask


@pytest.fixture
def assert_golden() -> Callable[[str, str], None]:
    """The document is what the golden file says."""

    def check(name: str, document: str) -> None:
        parser = etree.XMLParser(remove_blank_text=True)
        pretty = etree.tostring(etree.fromstring(document, parser), pretty_print=True, encoding="unicode")
        assert pretty == (GOLDEN / name).read_text()

    return check


@pytest.fixture
def assert_valid() -> Callable[[str, str], None]:
    """libvirt's own schema accepts the document."""

    def check(schema: str, document: str) -> None:
        rules = etree.RelaxNG(etree.parse(SCHEMAS / schema))
        rules.assertValid(etree.fromstring(document))

    return check
