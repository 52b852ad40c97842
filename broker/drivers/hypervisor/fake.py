"""A hypervisor in memory: domains, layers and tickets, and failures on demand or by name (`fake_failings`).

For tests, load tests and simulation; nothing runs on it. It remembers who wrote on which layer, so that one can ask
whether anybody met what another one left (I4).
"""

import hashlib
import random
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from broker.drivers.hypervisor.fake_failings import Failings
from broker.drivers.hypervisor.interface import (
    Acceleration,
    AccelerationVerdict,
    AnotherRun,
    DomainEvent,
    DomainFacts,
    DomainMissing,
    DomainState,
    EventKind,
    HostFacts,
    HostFile,
    HostUnreachable,
    HostUsage,
    HypervisorError,
    ImageFacts,
    StoragePoolFacts,
    StoragePoolSpec,
    VmSpec,
    VolumeFacts,
    VolumeMissing,
    VolumeName,
)

EVENTS_KEPT = 10_000
PERFECT = Failings()
OFF = (DomainState.OFF, DomainState.CRASHED)


@dataclass
class Domain:
    """A domain, and what will become of its guest: seconds of the monotonic clock, null for never."""

    spec: VmSpec
    state: DomainState = DomainState.OFF
    live_run: int = 0
    domain_id: int | None = None
    ticket: str | None = None
    booted_at: float | None = None
    crashes_at: float | None = None
    before: DomainFacts | None = None
    tls_port: int | None = None

    def facts(self) -> DomainFacts:
        """As it truly is."""
        on = self.state not in OFF
        run = self.live_run if on else self.spec.run
        plain, tls = (5900 if self.spec.plain_display else None, self.tls_port) if on else (None, None)
        return DomainFacts(self.spec.id, self.spec.name, run, self.state, self.domain_id, plain, tls)


@dataclass
class FakeHypervisor:
    """One host. So many starts and copies fail as `failing_` says; `unreachable` refuses everything.

    Hosts that share storage are given the same `volume_table` and `backing_of`. A guest boots in `boot_seconds`, and
    more slowly when more than `boots_at_once` do so at the same time (0: they do not disturb each other).
    """

    domain_table: dict[UUID, Domain] = field(default_factory=dict)
    volume_table: dict[str, list[str]] = field(default_factory=dict)
    backing_of: dict[str, str] = field(default_factory=dict)
    images: dict[str, ImageFacts] = field(default_factory=dict)
    failing_starts: int = 0
    unreachable: bool = False
    agent_answers: bool = True
    ignores_shutdown: bool = False
    failing_copies: int = 0
    started: int = 0
    reboots: int = 0
    processors: dict[UUID, int] = field(default_factory=dict)
    looking: dict[UUID, int] = field(default_factory=dict)
    told: list[tuple[UUID, str]] = field(default_factory=list)
    failings: Failings = PERFECT
    boot_seconds: float = 0.0
    boots_at_once: int = 0
    memory_mib: int = 8192
    tls_port: int | None = None
    peak_mib: int = 0
    lots: random.Random = field(default_factory=random.Random)
    happened: deque[tuple[int, DomainEvent]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    away_until: float = 0.0
    booting: set[UUID] = field(default_factory=set)
    doomed: set[UUID] = field(default_factory=set)

    def _reach(self) -> None:
        now = time.monotonic()
        if now >= self.away_until and self._falls(self.failings.disappears):
            self.away_until = now + self.failings.away
        if self.unreachable or now < self.away_until:
            raise HostUnreachable("the host does not answer")
        self._pass_time(now)

    def _falls(self, share: float) -> bool:
        return share > 0 and self.lots.random() < share

    def _pass_time(self, now: float) -> None:
        """What became of the guests since anybody looked."""
        # Copies, for tests with threads change them meanwhile.
        for domain in [self.domain_table.get(vm_id) for vm_id in tuple(self.doomed)]:
            if domain is not None and domain.crashes_at is not None and domain.crashes_at <= now:
                self._change(domain, DomainState.CRASHED, "crashed")
        for domain in [self.domain_table.get(vm_id) for vm_id in tuple(self.booting)]:
            if domain is not None and domain.booted_at is not None and domain.booted_at <= now:
                self.booting.discard(domain.spec.id)
                self._happened(EventKind.AGENT, domain.spec.id, "connected")

    def _change(self, domain: Domain, state: DomainState, word: str) -> None:
        vm_id = domain.spec.id
        domain.before = domain.facts()
        domain.state = state
        if state in OFF:
            domain.domain_id = domain.ticket = domain.crashes_at = domain.booted_at = None
            self.booting.discard(vm_id)
            self.doomed.discard(vm_id)
        self._happened(EventKind.LIFECYCLE, vm_id, word)

    def _happened(self, kind: EventKind, vm_id: UUID, word: str) -> None:
        number = self.happened[-1][0] + 1 if self.happened else 1
        self.happened.append((number, DomainEvent(kind, vm_id, word)))

    def events_after(self, number: int) -> list[tuple[int, DomainEvent]]:
        """What happened since, numbered from 1; whoever lags behind by thousands has missed some."""
        self._reach()
        return [(at, event) for at, event in self.happened if at > number]

    def facts(self) -> HostFacts:
        self._reach()
        return HostFacts("fake", self.memory_mib, 8, "9.0.0", "7.2.0", kvm_offered=False)

    def usage(self) -> HostUsage:
        self._reach()
        stalled = max(0, 100 - 100 * self.boots_at_once // max(1, len(self.booting))) if self.boots_at_once else None
        return HostUsage(memory_used_mib=1024, cpu_busy_ns=10**9, cpu_total_ns=10**10, stalled_percent=stalled)

    def domains(self, installation: str) -> list[DomainFacts]:
        self._reach()
        return [self._facts(key) for key, one in self.domain_table.items() if one.spec.installation == installation]

    def domain(self, vm_id: UUID, installation: str) -> DomainFacts | None:
        self._reach()
        return self._facts(vm_id) if vm_id in self.domain_table else None

    def _facts(self, vm_id: UUID) -> DomainFacts:
        domain = self.domain_table[vm_id]
        if domain.before is not None and self._falls(self.failings.lies):
            return domain.before
        return domain.facts()

    def define(self, spec: VmSpec) -> None:
        self._reach()
        self.domain_table.setdefault(spec.id, Domain(spec)).spec = spec

    def start(self, spec: VmSpec) -> DomainFacts:
        self._reach()
        self.define(spec)
        if self.failing_starts:
            self.failing_starts -= 1
            raise HypervisorError("the start failed, as the test wants it")
        if self._falls(self.failings.refuses):
            raise HypervisorError("the host refused the start")
        for volume in filter(None, (spec.disk, spec.config_drive)):
            if volume.name not in self.volume_table:
                raise HypervisorError(f"there is no volume {volume.name}")
        domain = self.domain_table[spec.id]
        if domain.state in (DomainState.RUNNING, DomainState.PAUSED) and domain.live_run != spec.run:
            raise HypervisorError("another run of this domain is running")
        if domain.state == DomainState.RUNNING:
            return domain.facts()
        if not spec.plain_display and self.tls_port is None:
            raise HypervisorError("the host has no certificate for TLS")
        self.started += 1
        self._change(domain, DomainState.RUNNING, "started")
        domain.tls_port = self.tls_port
        domain.live_run, domain.domain_id = spec.run, self.started
        self._boot(domain)
        used = sum(one.spec.memory_mib for one in self.domain_table.values() if one.state not in OFF)
        self.peak_mib = max(self.peak_mib, used)
        return domain.facts()

    def _boot(self, domain: Domain) -> None:
        now, vm_id = time.monotonic(), domain.spec.id
        crowd = max(1.0, (len(self.booting) + 1) / self.boots_at_once) if self.boots_at_once else 1.0
        if not self._falls(self.failings.never_boots):
            domain.booted_at = now + self.boot_seconds * crowd
            self.booting.add(vm_id)
        if self._falls(self.failings.crashes):
            domain.crashes_at = now + self.failings.crashes_after
            self.doomed.add(vm_id)

    def undefine(self, vm_id: UUID, installation: str) -> None:
        self._reach()
        self.domain_table.pop(vm_id, None)
        self.booting.discard(vm_id)
        self.doomed.discard(vm_id)

    def shutdown(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        if not self.ignores_shutdown:
            self.destroy(vm_id, installation, run=run)

    def reboot(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        self._reach()
        self._meant(vm_id, run)
        self.reboots += 1

    def suspend(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        self._pause(vm_id, run, DomainState.PAUSED)

    def resume(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        self._pause(vm_id, run, DomainState.RUNNING)

    def _pause(self, vm_id: UUID, run: int | None, state: DomainState) -> None:
        self._reach()
        self._meant(vm_id, run)
        if vm_id not in self.domain_table:
            raise DomainMissing("the domain is not defined")
        domain = self.domain_table[vm_id]
        if domain.state not in (DomainState.RUNNING, DomainState.PAUSED):
            raise HypervisorError("the domain is not running")
        self._change(domain, state, "suspended" if state == DomainState.PAUSED else "resumed")

    def destroy(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        self._reach()
        self._meant(vm_id, run)
        domain = self.domain_table.get(vm_id)
        if domain is not None and domain.state not in OFF:
            self._change(domain, DomainState.OFF, "stopped")

    def _meant(self, vm_id: UUID, run: int | None) -> None:
        domain = self.domain_table.get(vm_id)
        on = domain is not None and domain.state in (DomainState.RUNNING, DomainState.PAUSED)
        if domain is not None and on and run not in (None, domain.live_run):
            raise AnotherRun("another run is on")

    def processor_times(self, installation: str) -> dict[UUID, int]:
        self._reach()
        return {vm_id: self.processors.get(vm_id, 0) for vm_id in self.running()}

    def viewers(self, vm_id: UUID, installation: str, *, run: int | None = None) -> int:
        self._reach()
        self._meant(vm_id, run)
        return self.looking.get(vm_id, 0)

    def tell(self, vm_id: UUID, installation: str, text: str, *, run: int | None = None) -> None:
        self._reach()
        self._meant(vm_id, run)
        self.told.append((vm_id, text))

    def guest_agent_answers(self, vm_id: UUID, installation: str) -> bool:
        self._reach()
        booted = self.domain_table[vm_id].booted_at if vm_id in self.domain_table else None
        return self.agent_answers and booted is not None and booted <= time.monotonic()

    def set_ticket(
        self,
        vm_id: UUID,
        installation: str,
        *,
        password: str,
        valid_seconds: int,
        disconnect: bool,
        run: int | None = None,
    ) -> None:
        self._reach()
        self._meant(vm_id, run)
        domain = self.domain_table.get(vm_id)
        if domain is None or domain.state != DomainState.RUNNING:
            raise DomainMissing("the domain is not running")
        domain.ticket = password if valid_seconds else None

    def ensure_storage_pool(self, spec: StoragePoolSpec) -> StoragePoolFacts:
        self._reach()
        return StoragePoolFacts(10**12, 0, 10**12)

    def volumes(self, storage_pool: str) -> list[VolumeFacts]:
        self._reach()
        return [self._volume(name) for name in self.volume_table]

    def volume(self, volume: VolumeName) -> VolumeFacts | None:
        return self._volume(volume.name) if volume.name in self.volume_table else None

    def _volume(self, name: str) -> VolumeFacts:
        below = self.backing_of.get(name)
        backing = (None, None) if below is None else (f"/fake/{below}", "qcow2")
        return VolumeFacts(name, f"/fake/{name}", "qcow2", 2**24, 2**18, *backing)

    def create_overlay(self, volume: VolumeName, backing: VolumeName) -> VolumeFacts:
        self._reach()
        self.volume_table.setdefault(volume.name, [])
        self.backing_of[volume.name] = backing.name
        return self._volume(volume.name)

    def upload_volume(self, volume: VolumeName, source: Path) -> VolumeFacts:
        self._reach()
        self.volume_table.setdefault(volume.name, [])
        return self._volume(volume.name)

    def write_volume(self, volume: VolumeName, content: bytes) -> None:
        self._reach()
        if self.volume_table.setdefault(volume.name, [content.hex()]) != [content.hex()]:
            raise HypervisorError("the volume exists and is something else")

    def inspect_image(self, source: VolumeName | HostFile) -> ImageFacts:
        self._reach()
        if isinstance(source, HostFile) and source.path in self.images:
            return self.images[source.path]
        if isinstance(source, VolumeName) and source.name in self.volume_table:
            facts = self._volume(source.name)
            return ImageFacts(facts.format, facts.capacity_bytes, 2**18, facts.backing_path)
        where = source.path if isinstance(source, HostFile) else source.name
        raise VolumeMissing(f"The host has no file {where}.")

    def copy_image(self, source: VolumeName | HostFile, target: VolumeName) -> VolumeFacts:
        """The copy holds what was written on the source and on all it stands on; a copy that is there stays."""
        self.inspect_image(source)
        if self.failing_copies:
            self.failing_copies -= 1
            raise HypervisorError("the copy failed, as the test wants it")
        written: list[str] = []
        name = source.name if isinstance(source, VolumeName) else None
        while name is not None:
            written = self.volume_table.get(name, []) + written
            name = self.backing_of.get(name)
        self.volume_table.setdefault(target.name, written)
        return self._volume(target.name)

    def checksum(self, volume: VolumeName) -> str:
        self._reach()
        if volume.name not in self.volume_table:
            raise VolumeMissing(f"there is no volume {volume.name}")
        return hashlib.sha256("\n".join(self.volume_table[volume.name]).encode()).hexdigest()

    def read_volume(self, volume: VolumeName, limit_bytes: int) -> bytes:
        return b""

    def delete_volume(self, volume: VolumeName) -> None:
        self._reach()
        self.volume_table.pop(volume.name, None)
        self.backing_of.pop(volume.name, None)

    def probe_acceleration(self, image: Path | None, storage_pool: str, seconds: int) -> AccelerationVerdict:
        return AccelerationVerdict(Acceleration.QEMU, "a fake")

    # what happens in guests --------------------------------------------------------------------

    def write_in_guest(self, vm_id: UUID, text: str) -> None:
        self._disk(vm_id).append(text)

    def read_in_guest(self, vm_id: UUID) -> list[str]:
        return list(self._disk(vm_id))

    def guest_shuts_down(self, vm_id: UUID, *, crash: bool = False) -> None:
        state, word = (DomainState.CRASHED, "crashed") if crash else (DomainState.OFF, "shutdown")
        self._change(self.domain_table[vm_id], state, word)

    def most_used_mib(self) -> int:
        """The most memory that running domains ever had at the same time."""
        return self.peak_mib

    def layers(self) -> set[str]:
        return {name for name in self.volume_table if ".run-" in name}

    def running(self) -> set[UUID]:
        return {key for key, domain in self.domain_table.items() if domain.state == DomainState.RUNNING}

    def _disk(self, vm_id: UUID) -> list[str]:
        domain = self.domain_table[vm_id]
        assert domain.state == DomainState.RUNNING
        return self.volume_table[domain.spec.disk.name]
