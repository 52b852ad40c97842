"""A real hypervisor of our own: a private libvirt daemon, a storage pool and Tiny Linux."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import libvirt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree

from broker.drivers import hypervisor
from broker.drivers.hypervisor import Acceleration, Hypervisor, NicSpec, StoragePoolSpec, VmSpec, VolumeName
from broker.lab import guest
from broker.lab.libvirtd import PrivateLibvirtd

SCHEMAS = Path("/usr/share/libvirt/schemas")
GOLDEN = Path(__file__).parents[1] / "data"
POOL = "test"
INSTALLATION = "test-installation"
ORGANIZATION = (
    (NameOID.COUNTRY_NAME, "KR"),
    (NameOID.ORGANIZATION_NAME, "Desks, Chairs \\ Co"),
    (NameOID.COMMON_NAME, "호스트"),
)
BASE = VolumeName(POOL, "base.qcow2")


class Lab:
    """What the tests of the driver stand on."""

    def __init__(self, daemon: PrivateLibvirtd, folder: Path, image: Path, authority: str) -> None:
        self.daemon, self.folder, self.image = daemon, folder, image
        self.authority = authority
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


def supply_certificate(folder: Path) -> str:
    """What an organization with a name of its own might give to its host, signed by itself; who signed it, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name, now = x509.Name([x509.NameAttribute(kind, value) for kind, value in ORGANIZATION]), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    authority = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem = authority.public_bytes(serialization.Encoding.PEM)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir()
    (folder / "server-key.pem").write_bytes(key.private_bytes(*plain))
    for file in ("ca-cert.pem", "server-cert.pem"):
        (folder / file).write_bytes(pem)
    return pem.decode()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("hypervisor")
    image = folder / "tiny-linux.qcow2"
    guest.build(image)
    authority = supply_certificate(folder / "certificates")
    daemon = PrivateLibvirtd(folder / "libvirt", certificates=folder / "certificates")
    daemon.start()
    try:
        lab = Lab(daemon, folder / "volumes", image, authority)
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
