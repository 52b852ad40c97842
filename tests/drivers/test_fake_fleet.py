"""Fake hosts fail as their names say, and many processes share one fleet of them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from broker.drivers import hypervisor
from broker.drivers.hypervisor import (
    Acceleration,
    DomainEvent,
    DomainState,
    EventKind,
    HostUnreachable,
    HypervisorError,
    VmSpec,
    VolumeName,
    event_stream,
)
from tests.running import wait_until

HERE = "this installation"


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("fleet") / "fleet.sock"
    fleet = subprocess.Popen([sys.executable, "-m", "broker.drivers.hypervisor.fake_fleet", str(path), "--seed", "7"])
    wait_until(path.exists, "the fleet listens")
    yield path
    fleet.kill()
    fleet.wait()


@pytest.fixture
def host(socket: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One of the fleet, by how it is and fails."""
    monkeypatch.setenv("HOTDESK_FAKE_HOSTS", "1")
    return lambda **nature: hypervisor.connect(uri(socket, **nature))


def uri(socket: Path, **nature: float) -> str:
    words = "&".join([f"host={uuid4()}", *(f"{name}={value}" for name, value in nature.items())])
    return f"fake://{socket}?{words}"


def spec(vm_id: UUID) -> VmSpec:
    return VmSpec(
        id=vm_id,
        name=f"vm-{vm_id}",
        installation=HERE,
        run=1,
        memory_mib=128,
        vcpus=1,
        operating_system="Tiny Linux",
        optimized_for="desktop",
        acceleration=Acceleration.QEMU,
        disk=VolumeName("images", f"{vm_id}.run-1.qcow2"),
        nics=(),
        display_address="127.0.0.1",
    )


def start(driver: Any) -> UUID:
    vm_id = uuid4()
    driver.create_overlay(spec(vm_id).disk, VolumeName("images", "base.qcow2"))
    driver.start(spec(vm_id))
    return vm_id


def state(driver: Any, vm_id: UUID) -> DomainState:
    return driver.domain(vm_id, HERE).state


def test_a_perfect_host_boots_guests_in_their_time(host: Any) -> None:
    driver = host(boot_seconds=0.3)
    vm_id = start(driver)
    assert not driver.guest_agent_answers(vm_id, HERE)
    wait_until(lambda: driver.guest_agent_answers(vm_id, HERE), "the guest has booted", 5)
    driver.destroy(vm_id, HERE)
    assert state(driver, vm_id) == DomainState.OFF


def test_each_failing_does_what_its_name_says(host: Any) -> None:
    with pytest.raises(HypervisorError, match="refused"):
        start(host(refuses=1))
    never = host(never_boots=1)
    vm_id = start(never)
    assert not never.guest_agent_answers(vm_id, HERE)
    assert state(never, vm_id) == DomainState.RUNNING

    crashing = host(crashes=1, crashes_after=0.1)
    vm_id = start(crashing)
    wait_until(lambda: state(crashing, vm_id) == DomainState.CRASHED, "the guest crashes", 5)

    liar = host(lies=1)
    assert state(liar, start(liar)) == DomainState.OFF
    began = time.monotonic()
    host(slow=0.2).facts()
    assert time.monotonic() - began >= 0.2


def test_a_host_that_disappears_comes_back(host: Any) -> None:
    flaky = host(disappears=0.5, away=0.05)

    def answers() -> bool:
        try:
            return flaky.facts() is not None
        except HostUnreachable:
            return False

    wait_until(answers, "it answers", 5, pause=0.01)
    wait_until(lambda: not answers(), "it disappears", 5, pause=0.01)
    wait_until(answers, "it is back", 5, pause=0.01)


def test_a_failing_that_is_none_is_refused_with_the_names_there_are(host: Any) -> None:
    with pytest.raises(HypervisorError, match="knows no explodes; it knows slow"):
        host(explodes=1).facts()


def test_what_one_process_starts_another_one_sees(host: Any, socket: Path) -> None:
    where = uri(socket)
    vm_id = start(hypervisor.connect(where))
    look = f"from broker.drivers import hypervisor; print(hypervisor.connect({where!r}).domains({HERE!r}))"
    seen = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert str(vm_id) in seen.stdout


def test_what_happens_on_a_host_is_told_to_whoever_watches(host: Any, socket: Path) -> None:
    where = uri(socket, boot_seconds=0.2)
    told: list[DomainEvent] = []
    begun: list[UUID] = []
    event_stream.watch(
        where,
        on_connected=lambda: begun.append(start(hypervisor.connect(where))),
        on_event=told.append,
        keep_going=lambda: len(told) < 2,
        installation=HERE,
    )
    assert told == [
        DomainEvent(EventKind.LIFECYCLE, begun[0], "started"),
        DomainEvent(EventKind.AGENT, begun[0], "connected"),
    ]


@pytest.mark.parametrize("given", ["", "0", "false"])
def test_nobody_connects_to_fake_hosts_by_accident(socket: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HOTDESK_FAKE_HOSTS", given)
    with pytest.raises(HypervisorError, match="HOTDESK_FAKE_HOSTS"):
        hypervisor.connect(uri(socket))
