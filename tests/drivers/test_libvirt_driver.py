"""The driver against a real daemon and real guests, translated by QEMU (no hardware needed)."""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import libvirt
import pytest

from broker.drivers import hypervisor
from broker.drivers.hypervisor import (
    Acceleration,
    AnotherRun,
    DomainEvent,
    DomainMissing,
    DomainState,
    EventKind,
    HostUnreachable,
    Hypervisor,
    HypervisorError,
    NotOurDomain,
    NumaCell,
    NumaSpec,
    VmSpec,
    VolumeName,
    event_stream,
)
from broker.lab.libvirtd import PrivateLibvirtd
from tests import spice
from tests.drivers.conftest import INSTALLATION, POOL, Lab

Eventually = Callable[[Callable[[], bool], float], bool]
FOREIGN = """
<domain type="qemu"><name>{name}</name><uuid>{id}</uuid><memory unit="MiB">16</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os></domain>
"""


def set_ticket(driver: Hypervisor, spec: VmSpec, password: str, *, seconds: int, out: bool = False) -> None:
    driver.set_ticket(spec.id, INSTALLATION, password=password, valid_seconds=seconds, disconnect=out)


# -- domains


def test_a_host_says_what_it_has(driver: Hypervisor) -> None:
    facts = driver.facts()
    assert facts.cpu_threads == os.cpu_count()
    assert facts.memory_mib > 512
    assert facts.libvirt_version.count(".") == facts.qemu_version.count(".") == 2


def test_a_started_desktop_runs_with_our_mark(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec(run=3, optimized_for="desktop", console_log=VolumeName(POOL, f"{uuid4()}.serial"))
    facts = driver.start(spec)
    assert (facts.vm_id, facts.name, facts.run, facts.state) == (spec.id, spec.name, 3, DomainState.RUNNING)
    assert facts.domain_id and facts.display_port
    assert driver.start(spec) == facts
    assert driver.domains(INSTALLATION) == [facts]
    assert driver.domains("another installation") == []
    with pytest.raises(HypervisorError, match="run 3 instead of 4"):
        driver.start(replace(spec, run=4))
    driver.define(replace(spec, run=0))
    assert driver.domain(spec.id, INSTALLATION) == facts, "the live domain counts"
    with pytest.raises(HypervisorError, match="is on"):
        driver.undefine(spec.id, INSTALLATION)
    for verb in (driver.shutdown, driver.reboot, driver.destroy):
        with pytest.raises(AnotherRun):
            verb(spec.id, INSTALLATION, run=2)
    late = {"password": "late", "valid_seconds": 60, "disconnect": False, "run": 2}
    with pytest.raises(AnotherRun):
        driver.set_ticket(spec.id, INSTALLATION, **late)
    assert driver.domain(spec.id, INSTALLATION) == facts, "nothing that was meant for another run happened"
    driver.destroy(spec.id, INSTALLATION, run=3)
    driver.destroy(spec.id, INSTALLATION, run=3)
    driver.shutdown(spec.id, INSTALLATION)
    at_rest = replace(facts, run=0, state=DomainState.OFF, domain_id=None, display_port=None, display_tls_port=None)
    assert driver.domain(spec.id, INSTALLATION) == at_rest
    driver.undefine(spec.id, INSTALLATION)
    driver.undefine(spec.id, INSTALLATION)
    assert driver.domain(spec.id, INSTALLATION) is None
    driver.destroy(spec.id, INSTALLATION)
    with pytest.raises(DomainMissing):
        driver.reboot(spec.id, INSTALLATION)


def test_a_guest_answers_reboots_speaks_and_shuts_down(lab: Lab, driver: Hypervisor, eventually: Eventually) -> None:
    log = VolumeName(POOL, f"{uuid4()}.serial")
    spec = lab.spec(console_log=log)
    driver.start(spec)

    def answers() -> bool:
        return driver.guest_agent_answers(spec.id, INSTALLATION)

    assert not answers(), "nothing has booted yet"
    assert eventually(answers, 60)
    assert eventually(lambda: b"HOTDESK-READY" in driver.read_volume(log, 100_000), 10)
    before = driver.domain(spec.id, INSTALLATION)
    driver.reboot(spec.id, INSTALLATION)
    assert eventually(lambda: not answers(), 20)
    assert eventually(answers, 60)
    assert driver.domain(spec.id, INSTALLATION) == before, "a reboot keeps the domain"
    driver.shutdown(spec.id, INSTALLATION)
    assert eventually(lambda: _state(driver, spec) == DomainState.OFF, 30)
    assert not answers()


def test_an_emulator_that_dies_is_a_crash(lab: Lab, driver: Hypervisor, eventually: Eventually) -> None:
    spec = lab.spec()
    driver.start(spec)
    os.kill(_emulator(spec), signal.SIGKILL)
    assert eventually(lambda: _state(driver, spec) == DomainState.CRASHED, 10)


def test_domains_of_others_are_never_touched(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec()
    connection = libvirt.open(lab.uri)
    theirs = connection.defineXML(FOREIGN.format(name=spec.name, id=uuid4()))
    for verb in (driver.define, driver.start):
        with pytest.raises(NotOurDomain):
            verb(spec)
    theirs.undefine()
    theirs = connection.defineXML(FOREIGN.format(name="theirs", id=spec.id))
    before = theirs.XMLDesc(0)
    theirs.create()
    assert driver.domains(INSTALLATION) == []
    for verb in (driver.define, driver.start):
        with pytest.raises(NotOurDomain):
            verb(spec)
    for ask in (driver.domain, driver.undefine, driver.shutdown, driver.reboot, driver.destroy):
        with pytest.raises(NotOurDomain):
            ask(spec.id, INSTALLATION)
    with pytest.raises(NotOurDomain):
        set_ticket(driver, spec, "x", seconds=10)
    assert theirs.isActive()
    theirs.destroy()
    assert theirs.XMLDesc(0) == before


def test_another_installation_on_the_same_host_is_somebody_else(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec()
    driver.define(spec)
    with pytest.raises(NotOurDomain):
        driver.destroy(spec.id, "another installation")


# -- tickets


def test_a_display_opens_only_to_the_newest_ticket_while_it_is_valid(
    lab: Lab, driver: Hypervisor, eventually: Eventually
) -> None:
    spec = lab.spec()
    port = driver.start(spec).display_port
    assert port is not None

    def link(password: str) -> str:
        return spice.link("127.0.0.1", port, password)

    assert link("") == "PERMISSION_DENIED", "a domain never starts open to all"
    first, second = 59 * "a", "second"
    set_ticket(driver, spec, first, seconds=120)
    assert [link(first), link(first), link("wrong"), link("")] == ["OK", "OK", *2 * ["PERMISSION_DENIED"]]
    set_ticket(driver, spec, second, seconds=120)
    assert [link(first), link(second)] == ["PERMISSION_DENIED", "OK"]
    set_ticket(driver, spec, second, seconds=2)
    assert eventually(lambda: link(second) == "PERMISSION_DENIED", 5), "it expires"
    set_ticket(driver, spec, second, seconds=0)
    assert link(second) == "PERMISSION_DENIED"


def test_a_viewer_stays_or_goes_as_asked(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec()
    port = driver.start(spec).display_port
    assert port is not None
    set_ticket(driver, spec, "ticket", seconds=60)
    answer, viewer = spice.connect("127.0.0.1", port, "ticket")
    assert answer == "OK" and viewer is not None
    set_ticket(driver, spec, "newer", seconds=60)
    assert viewer.is_connected(within_seconds=1)
    set_ticket(driver, spec, "newest", seconds=0, out=True)
    assert not viewer.is_connected(within_seconds=1)
    viewer.channel.close()


def test_a_ticket_is_in_no_error(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec()
    driver.define(spec)
    for password in ("very-secret", 60 * "secret"):
        with pytest.raises(HypervisorError) as refusal:
            set_ticket(driver, spec, password, seconds=10)
        assert "secret" not in str(refusal.value)
    with pytest.raises(DomainMissing):
        set_ticket(driver, replace(spec, id=uuid4()), "x", seconds=10)


# -- the connection


def test_a_frozen_daemon_is_unreachable_within_seconds_and_comes_back(lab: Lab, driver: Hypervisor) -> None:
    driver.facts()
    with _frozen(lab):
        for _opened_before in (True, False):
            begun = time.monotonic()
            with pytest.raises(HostUnreachable):
                driver.domains(INSTALLATION)
            assert time.monotonic() - begun < 7
    assert driver.domains(INSTALLATION) == []


def test_a_frozen_host_costs_one_thread_however_often_it_is_asked(lab: Lab) -> None:
    uri = f"{lab.uri}&again=1"
    with _frozen(lab):
        for _call in range(2):
            with pytest.raises(HostUnreachable):
                hypervisor.connect(uri).facts()
        assert [thread.name for thread in threading.enumerate()].count(f"open {uri}") == 1
    assert hypervisor.connect(uri).facts().hostname


def test_a_daemon_that_was_restarted_is_connected_to_again(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec()
    facts = driver.start(spec)
    _restart(lab.daemon)
    assert driver.domain(spec.id, INSTALLATION) == facts, "guests live through it"


def test_a_daemon_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(HostUnreachable):
        hypervisor.connect(f"qemu+unix:///system?socket={tmp_path}/none").facts()


def test_a_forked_child_says_so_instead_of_reading_its_parents_replies(driver: Hypervisor) -> None:
    driver.facts()
    child = os.fork()
    if child == 0:
        try:
            driver.facts()
        except HypervisorError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert driver.facts()


# -- events


def test_events_arrive(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec()
    with _watching(lab) as (events, _failures):
        port = driver.start(spec).display_port
        assert port is not None
        _await(events, DomainEvent(EventKind.LIFECYCLE, spec.id, "started"))
        set_ticket(driver, spec, "ticket", seconds=60)
        assert spice.link("127.0.0.1", port, "ticket") == "OK"
        for detail in ("connected", "initialized", "disconnected"):
            _await(events, DomainEvent(EventKind.GRAPHICS, spec.id, detail))
        _await(events, DomainEvent(EventKind.AGENT, spec.id, "connected"), seconds=60)
        driver.reboot(spec.id, INSTALLATION)
        _await(events, DomainEvent(EventKind.AGENT, spec.id, "disconnected"), seconds=20)
        driver.destroy(spec.id, INSTALLATION)
        _await(events, DomainEvent(EventKind.LIFECYCLE, spec.id, "stopped"))


def test_the_watcher_notices_a_daemon_that_ends_or_hangs(lab: Lab) -> None:
    with _watching(lab) as (_events, failures):
        _restart(lab.daemon)
        assert isinstance(failures.get(timeout=1), HostUnreachable)
    with _watching(lab) as (_events, failures), _frozen(lab):
        assert isinstance(failures.get(timeout=7), HostUnreachable)


# -- acceleration


def test_a_machine_without_hardware_modules_is_known_without_booting(driver: Hypervisor) -> None:
    verdict = driver.probe_acceleration(None, "", 5)
    if verdict.acceleration == Acceleration.QEMU:
        assert "kvm_intel or kvm_amd" in verdict.reason or "does not offer KVM" in verdict.reason
    else:
        assert "not proved" in verdict.reason


def test_a_boot_probe_leaves_nothing_behind(lab: Lab, driver: Hypervisor) -> None:
    before = driver.volumes(POOL)
    verdict = driver.probe_acceleration(lab.image, POOL, 15, look_at_modules=False)  # type: ignore[call-arg]
    trusted = driver.probe_acceleration(None, "", 5).acceleration
    assert verdict.acceleration == trusted, verdict.reason
    assert driver.domains("probe") == []
    assert driver.volumes(POOL) == before


# -- helpers


def _state(driver: Hypervisor, spec: VmSpec) -> DomainState | None:
    facts = driver.domain(spec.id, INSTALLATION)
    return None if facts is None else facts.state


def _emulator(spec: VmSpec) -> int:
    """The process of this domain's QEMU, by the UUID on its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        words = (process / "cmdline").read_bytes().split(b"\0")
        if words[0].endswith(b"qemu-system-x86_64") and str(spec.id).encode() in words:
            return int(process.name)
    raise AssertionError("It does not run.")


@contextmanager
def _frozen(lab: Lab) -> Iterator[None]:
    lab.daemon.pause()
    try:
        yield
    finally:
        lab.daemon.resume()


def _restart(daemon: PrivateLibvirtd) -> None:
    """Kill the daemon; return when its successor answers."""
    killed = daemon.kill_daemon()
    while daemon.daemon_pid() in (killed, None):
        time.sleep(0.02)
    daemon.wait_until_ready()


Watched = tuple[queue.SimpleQueue[DomainEvent], queue.SimpleQueue[Exception]]


@contextmanager
def _watching(lab: Lab) -> Iterator[Watched]:
    """Listen to the host meanwhile: what happened, and what ended the listening."""
    events: queue.SimpleQueue[DomainEvent] = queue.SimpleQueue()
    failures: queue.SimpleQueue[Exception] = queue.SimpleQueue()
    connected, enough = threading.Event(), threading.Event()

    def listen() -> None:
        try:
            event_stream.watch(
                lab.uri,
                on_connected=connected.set,
                on_event=events.put,
                keep_going=lambda: not enough.is_set(),
                installation=INSTALLATION,
            )
        except HypervisorError as error:
            failures.put(error)

    listener = threading.Thread(target=listen)
    listener.start()
    assert connected.wait(10)
    yield events, failures
    enough.set()
    listener.join(timeout=5)
    assert not listener.is_alive()


def _await(events: queue.SimpleQueue[DomainEvent], wanted: DomainEvent, seconds: float = 5) -> None:
    seen = []
    give_up_at = time.monotonic() + seconds
    while (left := give_up_at - time.monotonic()) > 0:
        try:
            seen.append(events.get(timeout=left))
        except queue.Empty:
            break
        if seen[-1] == wanted:
            return
    raise AssertionError(f"{wanted} did not arrive, only {seen}")


@pytest.mark.req("R231", "R232")
def test_a_domain_is_suspended_and_goes_on(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec()
    with pytest.raises(DomainMissing):
        driver.suspend(spec.id, INSTALLATION)
    driver.start(spec)
    with pytest.raises(AnotherRun):
        driver.suspend(spec.id, INSTALLATION, run=spec.run + 1)
    for _twice in range(2):
        driver.suspend(spec.id, INSTALLATION, run=spec.run)
    facts = driver.domain(spec.id, INSTALLATION)
    assert facts is not None and facts.state == DomainState.PAUSED
    for _twice in range(2):
        driver.resume(spec.id, INSTALLATION, run=spec.run)
    facts = driver.domain(spec.id, INSTALLATION)
    assert facts is not None and facts.state == DomainState.RUNNING
    driver.destroy(spec.id, INSTALLATION)
    with pytest.raises(HypervisorError):
        driver.suspend(spec.id, INSTALLATION)


@pytest.mark.req("R100", "R102", "R104", "R105", "R106")
@pytest.mark.parametrize("mode", ["strict", "preferred", "interleave"])
def test_a_domain_starts_with_its_nodes_on_the_hosts(lab: Lab, driver: Hypervisor, mode: str) -> None:
    cells = (NumaCell(64, (0,), (0,)), NumaCell(64, (1,), (0,)))
    if mode == "preferred":
        cells = (NumaCell(128, (0, 1), (0,)),)
    spec = lab.spec(vcpus=2, numa=NumaSpec(mode, cells), cpu_passthrough=True)
    driver.start(spec)
    connection = libvirt.open(lab.uri)
    live = connection.lookupByUUIDString(str(spec.id)).XMLDesc(0)
    connection.close()
    assert live.count("<memnode ") == len(cells)
    assert f"mode='{mode}' nodeset='0'" in live
    assert "mode='maximum'" in live


@pytest.mark.req("R104")
def test_a_node_that_the_host_does_not_have_is_named(lab: Lab, driver: Hypervisor) -> None:
    spec = lab.spec(numa=NumaSpec("strict", (NumaCell(128, (0,), (7,)),)))
    with pytest.raises(HypervisorError, match="NUMA node 7 is unavailable"):
        driver.start(spec)


def test_a_host_says_what_it_has_and_how_busy_it_is(driver: Hypervisor) -> None:
    facts = driver.facts()
    assert facts.numa_nodes and facts.cpu_cores >= facts.cpu_sockets >= 1
    # Of a node libvirt tells what its kernel manages, which may be less than there is in the host.
    assert all(0 < node.memory_mib <= facts.memory_mib for node in facts.numa_nodes)
    assert sorted(cpu for node in facts.numa_nodes for cpu in node.cpus) == list(range(facts.cpu_threads))
    first, second = driver.usage(), driver.usage()
    assert 0 < first.memory_used_mib < facts.memory_mib
    assert 0 < first.cpu_busy_ns < first.cpu_total_ns <= second.cpu_total_ns
