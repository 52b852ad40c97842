"""What a VM can be beyond its size, on a real daemon: virtual nodes, a display that shares less, a pause."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import libvirt
import libvirt_qemu
import pytest
from lxml import etree

from broker.drivers import certificates
from broker.drivers.hypervisor import (
    AnotherRun,
    DomainState,
    Hypervisor,
    HypervisorError,
    MigrationSpec,
    NumaCell,
    NumaSpec,
    VmSpec,
    vnc_viewers,
)
from broker.rules.consoles import Display, Tls, connection_file
from tests import spice
from tests.drivers.conftest import INSTALLATION, Lab
from tests.running import wait_until
from tests.viewer import RemoteViewer, screen


def live(lab: Lab, spec: VmSpec) -> libvirt.virDomain:
    return libvirt.open(lab.uri).lookupByUUIDString(str(spec.id))


def test_two_looks_tell_how_busy_a_host_is(driver: Hypervisor) -> None:
    before = driver.usage()
    assert 0 < before.memory_used_mib < driver.facts().memory_mib
    sum(number * number for number in range(2_000_000))
    after = driver.usage()
    busy, total = after.cpu_busy_ns - before.cpu_busy_ns, after.cpu_total_ns - before.cpu_total_ns
    assert 0 < busy <= total


@pytest.mark.req("R102", "R106")
def test_a_guest_has_its_virtual_nodes_of_which_some_are_pinned(lab: Lab, driver: Hypervisor) -> None:
    numa = NumaSpec("interleave", (NumaCell(64, (0,), ()), NumaCell(64, (1,), (0,))))
    spec = lab.spec(vcpus=2, numa=numa)
    driver.start(spec)
    domain = live(lab, spec)
    said = libvirt_qemu.qemuMonitorCommand(domain, "info numa", libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)
    assert "2 nodes" in said
    assert said.count("size: 64 MB") == 2
    root = etree.fromstring(domain.XMLDesc(0))
    assert root.xpath("string(numatune/memory/@mode)") == "interleave"
    [pinned] = root.iterfind("numatune/memnode")
    assert dict(pinned.items()) == {"cellid": "1", "mode": "interleave", "nodeset": "0"}


def test_a_display_shares_no_more_than_it_may_and_still_takes_tickets(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec(
        clipboard=False,
        file_transfer=False,
        migration=MigrationSpec("none", "legacy", downtime_ms=300, auto_converge=False, compressed=False),
    )
    port = driver.start(spec).display_port
    assert port is not None
    driver.set_ticket(spec.id, INSTALLATION, password="ticket", valid_seconds=60, disconnect=False)
    assert spice.link("127.0.0.1", port, "ticket") == "OK"
    root = etree.fromstring(live(lab, spec).XMLDesc(0))
    assert root.xpath("string(devices/graphics/clipboard/@copypaste)") == "no"
    assert root.xpath("string(devices/graphics/filetransfer/@enable)") == "no"
    assert root.xpath("string(metadata/*/@migration-downtime-ms)") == "300"


def test_a_display_may_be_opened_encrypted_only(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec(plain_display=False)
    facts = driver.start(spec)
    assert facts.display_port is None and facts.display_tls_port is not None
    driver.set_ticket(spec.id, INSTALLATION, password="ticket", valid_seconds=60, disconnect=False)
    assert driver.domain(spec.id, INSTALLATION) == facts
    assert spice.link("127.0.0.1", facts.display_tls_port, "ticket", ca=lab.authority) == "OK"
    assert spice.link("127.0.0.1", facts.display_tls_port, "other", ca=lab.authority) == "PERMISSION_DENIED"


def test_remote_viewer_knows_a_host_by_the_subject_that_its_certificate_has(
    lab: Lab, driver: Hypervisor, tmp_path: Path
) -> None:
    authority = lab.authority.encode()
    subject = certificates.read(authority, authority, datetime.now(UTC)).subject
    spec = lab.spec(plain_display=False)
    port = driver.start(spec).display_tls_port
    assert port is not None
    driver.set_ticket(spec.id, INSTALLATION, password="ticket", valid_seconds=60, disconnect=False)
    display = Display("odd", "127.0.0.1", None, "ticket", 60, tls=Tls(port, subject, lab.authority))
    with screen() as name, RemoteViewer(name, tmp_path, connection_file(display)) as viewer:
        wait_until(lambda: driver.viewers(spec.id, INSTALLATION), "the viewer is connected", 30)
        assert viewer.ports() == {port}


def test_a_smart_card_reader_is_a_device_of_a_desktop(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec(optimized_for="desktop", smartcard=True)
    driver.start(spec)
    root = etree.fromstring(live(lab, spec).XMLDesc(0))
    assert root.xpath("string(devices/smartcard/@type)") == "spicevmc"


@pytest.mark.req("R231", "R232")
def test_a_guest_is_suspended_and_goes_on(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec(run=3)
    started = driver.start(spec)

    def state() -> DomainState:
        facts = driver.domain(spec.id, INSTALLATION)
        assert facts is not None and facts.domain_id == started.domain_id
        return facts.state

    with pytest.raises(AnotherRun):
        driver.suspend(spec.id, INSTALLATION, run=2)
    assert state() == DomainState.RUNNING
    for _again in range(2):
        driver.suspend(spec.id, INSTALLATION, run=3)
        assert state() == DomainState.PAUSED
    with pytest.raises(AnotherRun):
        driver.resume(spec.id, INSTALLATION, run=2)
    assert state() == DomainState.PAUSED
    for _again in range(2):
        driver.resume(spec.id, INSTALLATION, run=3)
        assert state() == DomainState.RUNNING


@pytest.mark.req("R263", "R072")
def test_a_vnc_display_keeps_the_same_rules(lab: Lab, driver: Hypervisor, tmp_path: Path) -> None:
    spec = lab.spec(optimized_for="desktop", smartcard=True, graphics="vnc")
    port = driver.start(spec).display_port
    assert port is not None
    give = partial(driver.set_ticket, spec.id, INSTALLATION, disconnect=False)
    with pytest.raises(HypervisorError, match="refused the password"):
        vnc_viewers.throw_out("127.0.0.1", port, "guessed")
    give(password="an old ticket, long", valid_seconds=60)
    display = Display("odd", "127.0.0.1", port, "an old ticket, long", 60, type="vnc")
    with screen() as name, RemoteViewer(name, tmp_path, connection_file(display)) as viewer:
        viewer.wait_for_the_guest()
        give(password="a new ticket, long", valid_seconds=60)
        assert driver.viewers(spec.id, INSTALLATION) == 1, "a new ticket throws nobody out"
        driver.set_ticket(spec.id, INSTALLATION, password="no ticket", valid_seconds=0, disconnect=True)
        wait_until(lambda: driver.viewers(spec.id, INSTALLATION) == 0, "the viewer was thrown out", 10)
    for ticket in ("a new ticket, long", "an old ticket, long", "no ticket"):
        with pytest.raises(HypervisorError, match="refused the password"):
            vnc_viewers.throw_out("127.0.0.1", port, ticket)


def test_a_vnc_display_is_not_started_where_displays_must_be_encrypted(lab: Lab, driver: Hypervisor) -> None:
    with pytest.raises(HypervisorError, match="not encrypted"):
        driver.start(lab.spec(graphics="vnc", plain_display=False))
