"""The domain XML says what a VM is, to the letter, and can be read back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from lxml import etree

from broker.drivers.hypervisor import (
    Acceleration,
    HypervisorError,
    MigrationSpec,
    NicSpec,
    NumaCell,
    NumaSpec,
    VmSpec,
    VolumeName,
    domain_xml,
)

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


# Everything that a pool's Host and Console tabs can say.
CHOSEN = replace(
    DESKTOP,
    vcpus=4,
    cpu_passthrough=True,
    numa=NumaSpec("strict", (NumaCell(2048, (0, 1), (0,)), NumaCell(2048, (2, 3), (1, 2)))),
    clipboard=False,
    file_transfer=False,
    migration=MigrationSpec("never", "legacy", 250, auto_converge=True, compressed=False),
    config_drive=VolumeName("fast", "central-data-0123456789abcdef.iso"),
    plain_display=False,
    smartcard=True,
)


def document(spec: VmSpec) -> str:
    log, drive = (None if one is None else f"/srv/fast/{one.name}" for one in (spec.console_log, spec.config_drive))
    return domain_xml.domain(
        spec,
        disk_path=f"/srv/fast/{spec.disk.name}",
        console_log_path=log,
        config_drive_path=drive,
        password="not-a-secret",
    )


@pytest.mark.parametrize(
    ("name", "spec"), [("desktop-kvm.xml", DESKTOP), ("server-qemu.xml", SERVER), ("chosen-kvm.xml", CHOSEN)]
)
@pytest.mark.req("R041", "R077", "R082", "R089", "R100", "R102", "R104")
def test_a_domain_is_written_to_the_letter_and_as_libvirt_wants_it(
    name: str, spec: VmSpec, assert_golden: Check, assert_valid: Check
) -> None:
    assert_valid("domain.rng", document(spec))
    assert_golden(name, document(spec))


@pytest.mark.req("R104", "R105", "R106")
@pytest.mark.parametrize("mode", ["strict", "preferred", "interleave"])
@pytest.mark.parametrize("acceleration", list(Acceleration))
def test_every_tune_mode_is_what_libvirt_wants(mode: str, acceleration: Acceleration, assert_valid: Check) -> None:
    numa = NumaSpec(mode, (NumaCell(4096, (0, 1), (0,)),))
    written = document(replace(DESKTOP, numa=numa, acceleration=acceleration))
    assert_valid("domain.rng", written)
    root = etree.fromstring(written)
    assert root.xpath("numatune/memory/@mode") == root.xpath("numatune/memnode/@mode") == [mode]
    assert root.xpath("cpu/numa/cell/@cpus") == ["0,1"]


@pytest.mark.req("R100")
@pytest.mark.parametrize(
    ("acceleration", "asked", "mode"),
    [
        (Acceleration.KVM, True, "host-passthrough"),
        (Acceleration.KVM, False, "host-model"),
        (Acceleration.QEMU, True, "maximum"),
        (Acceleration.QEMU, False, None),
    ],
)
def test_the_processor_is_the_hosts_own_where_that_can_be(
    acceleration: Acceleration, asked: bool, mode: str | None
) -> None:
    root = etree.fromstring(document(replace(DESKTOP, acceleration=acceleration, cpu_passthrough=asked)))
    assert root.xpath("cpu/@mode") == ([] if mode is None else [mode])


@pytest.mark.req("R102")
def test_virtual_nodes_that_are_not_pinned_leave_the_memory_to_the_host(assert_valid: Check) -> None:
    numa = NumaSpec("interleave", (NumaCell(2048, (0,), ()), NumaCell(2048, (1,), ())))
    for spec, mode in ((DESKTOP, "host-model"), (SERVER, None)):
        written = document(replace(spec, numa=numa))
        assert_valid("domain.rng", written)
        root = etree.fromstring(written)
        assert root.find("numatune") is None
        assert root.xpath("string(cpu/@mode)") == (mode or "")
        assert [cell.get("cpus") for cell in root.iterfind("cpu/numa/cell")] == ["0", "1"]


def test_a_downtime_that_nobody_chose_is_not_written() -> None:
    migration = MigrationSpec("automatic", "legacy", downtime_ms=None, auto_converge=False, compressed=True)
    [mark] = etree.fromstring(document(replace(DESKTOP, migration=migration))).find("metadata")
    said = dict(mark.items())
    assert "migration-downtime-ms" not in said
    assert (said["migration-mode"], said["migration-policy"]) == ("automatic", "legacy")
    assert (said["auto-converge"], said["compressed"]) == ("off", "on")


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
    parsed = domain_xml.parse(live)
    assert (parsed.domain_id, parsed.display_port, parsed.display_tls_port) == (7, 5903, None)
    parsed = domain_xml.parse(live.replace("port='5903' ", "port='-1' tlsPort='5904' "))
    assert (parsed.display_port, parsed.display_tls_port) == (None, 5904)
    parsed = domain_xml.parse(live.replace("id='7' ", ""))
    assert (parsed.domain_id, parsed.display_port, parsed.display_tls_port) == (None, None, None)


def test_a_ticket_leaves_the_clipboard_as_it_is() -> None:
    until = datetime(2030, 1, 2, tzinfo=UTC)
    device = domain_xml.ticket(document(CHOSEN), password="new", valid_until=until, disconnect=False)
    assert etree.fromstring(device).xpath("string(clipboard/@copypaste)") == "no"


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
        domain_xml.domain(DESKTOP, disk_path="/d", console_log_path=None, config_drive_path=None, password=password)
    assert 60 * "x" not in str(refusal.value)
