"""A hypervisor in memory for tests of rules and races: domains, layers and tickets, and failures on demand.

It remembers who wrote on which layer, so that a test can ask whether anybody met what another one left (I4).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from broker.drivers.hypervisor import (
    Acceleration,
    AccelerationVerdict,
    AnotherRun,
    DomainFacts,
    DomainMissing,
    DomainState,
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


@dataclass
class Domain:
    spec: VmSpec
    state: DomainState = DomainState.OFF
    live_run: int = 0
    domain_id: int | None = None
    ticket: str | None = None


@dataclass
class FakeHypervisor:
    """One host. So many starts and copies fail as `failing_` says; `unreachable` refuses everything.

    Hosts that share storage are given the same `volume_table` and `backing_of`.
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

    def _reach(self) -> None:
        if self.unreachable:
            raise HostUnreachable("the host does not answer")

    def facts(self) -> HostFacts:
        self._reach()
        return HostFacts("fake", 8192, 8, "9.0.0", "7.2.0", kvm_offered=False)

    def usage(self) -> HostUsage:
        self._reach()
        return HostUsage(memory_used_mib=1024, cpu_busy_ns=10**9, cpu_total_ns=10**10)

    def domains(self, installation: str) -> list[DomainFacts]:
        self._reach()
        return [self._facts(key) for key in self.domain_table]

    def domain(self, vm_id: UUID, installation: str) -> DomainFacts | None:
        self._reach()
        return self._facts(vm_id) if vm_id in self.domain_table else None

    def _facts(self, vm_id: UUID) -> DomainFacts:
        domain = self.domain_table[vm_id]
        on = domain.state not in (DomainState.OFF, DomainState.CRASHED)
        run = domain.live_run if on else domain.spec.run
        return DomainFacts(vm_id, domain.spec.name, run, domain.state, domain.domain_id, 5900 if on else None)

    def define(self, spec: VmSpec) -> None:
        self._reach()
        self.domain_table.setdefault(spec.id, Domain(spec)).spec = spec

    def start(self, spec: VmSpec) -> DomainFacts:
        self._reach()
        self.define(spec)
        if self.failing_starts:
            self.failing_starts -= 1
            raise HypervisorError("the start failed, as the test wants it")
        for volume in filter(None, (spec.disk, spec.config_drive)):
            if volume.name not in self.volume_table:
                raise HypervisorError(f"there is no volume {volume.name}")
        domain = self.domain_table[spec.id]
        if domain.state in (DomainState.RUNNING, DomainState.PAUSED) and domain.live_run != spec.run:
            raise HypervisorError("another run of this domain is running")
        self.started += 1
        domain.state, domain.live_run, domain.domain_id = DomainState.RUNNING, spec.run, self.started
        domain.ticket = None
        return self._facts(spec.id)

    def undefine(self, vm_id: UUID, installation: str) -> None:
        self._reach()
        self.domain_table.pop(vm_id, None)

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
        domain.state = state

    def destroy(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        self._reach()
        self._meant(vm_id, run)
        if vm_id in self.domain_table:
            domain = self.domain_table[vm_id]
            domain.state, domain.domain_id, domain.ticket = DomainState.OFF, None, None

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
        return self.agent_answers

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

    # what only tests do ------------------------------------------------------------------------

    def write_in_guest(self, vm_id: UUID, text: str) -> None:
        self._disk(vm_id).append(text)

    def read_in_guest(self, vm_id: UUID) -> list[str]:
        return list(self._disk(vm_id))

    def guest_shuts_down(self, vm_id: UUID, *, crash: bool = False) -> None:
        domain = self.domain_table[vm_id]
        domain.state = DomainState.CRASHED if crash else DomainState.OFF
        domain.domain_id = None

    def layers(self) -> set[str]:
        return {name for name in self.volume_table if ".run-" in name}

    def running(self) -> set[UUID]:
        return {key for key, domain in self.domain_table.items() if domain.state == DomainState.RUNNING}

    def _disk(self, vm_id: UUID) -> list[str]:
        domain = self.domain_table[vm_id]
        assert domain.state == DomainState.RUNNING
        return self.volume_table[domain.spec.disk.name]
