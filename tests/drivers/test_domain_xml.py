"""The domain XML says what a VM is, to the letter, and can be read back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from lxml import etree

from broker.drivers.hypervisor import Acceleration, HypervisorError, NicSpec, VmSpec, VolumeName, domain_xml

Check = Callable[[str, str], None]

DESKTOP = VmSpec(
    id=UUID("5e0bd9b2-7a3c-4c1f-9a53-0f6f3a4f9d11"),
    name="design-3",
    installation="office",
    run=3,
    memory_mib=4096,
    vcpus=2,
    operating_system="linux",
    optimized_for="desktop",
    acceleration=Acceleration.KVM,
    disk=VolumeName("fast", "5e0bd9b2.run-3.qcow2"),
    nics=(NicSpec("52:54:00:00:00:01"), NicSpec("52:54:00:00:00:02")),
    display_address="192.0.2.10",
)
SERVER = replace(
    DESKTOP,
    run=0,
    optimized_for="server",
    acceleration=Acceleration.QEMU,
    nics=(),
    console_log=VolumeName("fast", "5e0bd9b2.run-3.serial"),
)


def document(spec: VmSpec) -> str:
    log = None if spec.console_log is None else f"/srv/fast/{spec.console_log.name}"
    return domain_xml.domain(
        spec, disk_path=f"/srv/fast/{spec.disk.name}", console_log_path=log, password="not-a-secret"
    )


@pytest.mark.parametrize(("name", "spec"), [("desktop-kvm.xml", DESKTOP), ("server-qemu.xml", SERVER)])
def test_a_domain_is_written_to_the_letter_and_as_libvirt_wants_it(
    name: str, spec: VmSpec, assert_golden: Check, assert_valid: Check
) -> None:
    assert_valid("domain.rng", document(spec))
    assert_golden(name, document(spec))


def test_words_of_users_stay_words() -> None:
    name = "a<b>&\"c'"
    root = etree.fromstring(document(replace(DESKTOP, name=name, operating_system=name)))
    assert root.findtext("name") == name
    assert root.xpath("string(metadata/*/@os)") == name


def test_the_mark_is_read_back() -> None:
    parsed = domain_xml.parse(document(DESKTOP))
    assert parsed.name == "design-3"
    assert parsed.mark == domain_xml.Mark("office", str(DESKTOP.id), 3)


def test_a_domain_of_others_has_no_mark() -> None:
    parsed = domain_xml.parse("<domain type='qemu'><name>theirs</name><metadata><x/></metadata></domain>")
    assert parsed.mark is None
    assert parsed.display_port is None


def test_only_a_running_domain_has_an_id_and_a_display_port() -> None:
    live = document(DESKTOP).replace("<domain ", "<domain id='7' ").replace("<graphics ", "<graphics port='5903' ")
    assert (domain_xml.parse(live).domain_id, domain_xml.parse(live).display_port) == (7, 5903)
    at_rest = live.replace("id='7' ", "")
    assert (domain_xml.parse(at_rest).domain_id, domain_xml.parse(at_rest).display_port) == (None, None)


@pytest.mark.parametrize(("disconnect", "connected"), [(True, "disconnect"), (False, "keep")])
def test_a_ticket_changes_nothing_of_the_display_but_who_gets_in(disconnect: bool, connected: str) -> None:
    device = etree.fromstring(
        domain_xml.ticket(
            document(DESKTOP),
            password="new",
            valid_until=datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
            disconnect=disconnect,
        )
    )
    assert {str(key): str(value) for key, value in device.items()} == {
        "type": "spice",
        "autoport": "yes",
        "passwd": "new",
        "passwdValidTo": "2030-01-02T03:04:05",
        "connected": connected,
    }
    assert device.xpath("string(listen/@address)") == "192.0.2.10"


@pytest.mark.parametrize("password", ["", 60 * "x"])
def test_a_password_that_spice_would_take_and_not_honour_is_refused(password: str) -> None:
    with pytest.raises(HypervisorError, match="1 to 59") as refusal:
        domain_xml.domain(DESKTOP, disk_path="/d", console_log_path=None, password=password)
    assert 60 * "x" not in str(refusal.value)
