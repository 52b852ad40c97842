"""What the broker may ask of a hypervisor, and the plain values that cross that door.

Above this door nobody sees XML, URIs, libvirt objects or libvirt error codes.
Sizes are MiB or bytes as the name says; times are seconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from uuid import UUID


class HypervisorError(Exception):
    """The hypervisor refused or failed; the text is for administrators and never holds a secret."""


class HostUnreachable(HypervisorError):
    """The host's daemon does not answer: nothing is known about what it runs."""


class DomainMissing(HypervisorError):
    """The domain is not defined on this host."""


class NotOurDomain(HypervisorError):
    """A domain with this UUID or name exists but does not carry our mark: it is never touched."""


class AnotherRun(HypervisorError):
    """The domain is on with another run than the one that was meant: whoever asked was overtaken."""


class VolumeMissing(HypervisorError):
    """The storage pool holds no volume of this name."""


class DomainState(StrEnum):
    """What the hypervisor says of a domain, in the words we need to tell apart."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting_down"
    OFF = "off"
    CRASHED = "crashed"


class Acceleration(StrEnum):
    """How guests execute: in hardware, or translated by QEMU (TCG)."""

    KVM = "kvm"
    QEMU = "qemu"


@dataclass(frozen=True)
class VolumeName:
    """A volume, by the names libvirt's storage API knows it by."""

    storage_pool: str
    name: str


@dataclass(frozen=True)
class VolumeFacts:
    """A volume as its storage pool reports it."""

    name: str
    path: str
    format: str
    capacity_bytes: int
    allocation_bytes: int
    backing_path: str | None
    backing_format: str | None


@dataclass(frozen=True)
class StoragePoolSpec:
    """A directory storage pool as it must exist on a host."""

    name: str
    type: str
    target_path: str


@dataclass(frozen=True)
class StoragePoolFacts:
    """Capacity of an active storage pool."""

    capacity_bytes: int
    allocation_bytes: int
    available_bytes: int


@dataclass(frozen=True)
class NicSpec:
    """One network card. User-mode networking until a network is chosen for it."""

    mac: str


@dataclass(frozen=True)
class NumaCell:
    """One virtual NUMA node; `host_nodes` is empty where it is not pinned."""

    memory_mib: int
    cpus: tuple[int, ...]
    host_nodes: tuple[int, ...]


@dataclass(frozen=True)
class NumaSpec:
    """The virtual NUMA nodes of a VM; `tune_mode` is strict, preferred or interleave."""

    tune_mode: str
    cells: tuple[NumaCell, ...]


@dataclass(frozen=True)
class MigrationSpec:
    """How a VM would be migrated, with everything it inherits resolved. Null downtime leaves it to the host."""

    mode: str
    policy: str
    downtime_ms: int | None
    auto_converge: bool
    compressed: bool


@dataclass(frozen=True)
class VmSpec:
    """Everything a domain is made of. `run` is 0 for the domain at rest; without `plain_display` it asks for TLS."""

    id: UUID
    name: str
    installation: str
    run: int
    memory_mib: int
    vcpus: int
    operating_system: str
    optimized_for: str
    acceleration: Acceleration
    disk: VolumeName
    nics: tuple[NicSpec, ...]
    display_address: str
    console_log: VolumeName | None = None
    cpu_passthrough: bool = False
    numa: NumaSpec | None = None
    clipboard: bool = True
    file_transfer: bool = True
    migration: MigrationSpec | None = None
    config_drive: VolumeName | None = None
    plain_display: bool = True
    smartcard: bool = False
    graphics: str = "spice"


@dataclass(frozen=True)
class DomainFacts:
    """A domain of this installation as the hypervisor reports it.

    `run` stands in the metadata of the live domain (of the inactive one when it is off). `domain_id` and the ports of
    the display are null unless it is running; a display has one of them, or both.
    """

    vm_id: UUID
    name: str
    run: int
    state: DomainState
    domain_id: int | None
    display_port: int | None
    display_tls_port: int | None = None


@dataclass(frozen=True)
class NumaNode:
    """A NUMA node of a host."""

    id: int
    memory_mib: int
    cpus: tuple[int, ...]


@dataclass(frozen=True)
class HostUsage:
    """How much of a host is used; the counters run since it booted, so two looks give a share.

    `cpu_waiting_ns`: idle because of disks. `stalled_percent`: PSI of the last seconds; null where out of reach.
    """

    memory_used_mib: int
    cpu_busy_ns: int
    cpu_total_ns: int
    cpu_waiting_ns: int = 0
    stalled_percent: int | None = None


@dataclass(frozen=True)
class HostFile:
    """A file on the host, by its whole path."""

    path: str


@dataclass(frozen=True)
class ImageFacts:
    """A disk image as the host's storage reports it."""

    format: str
    capacity_bytes: int
    length_bytes: int
    backing_path: str | None


@dataclass(frozen=True)
class HostFacts:
    """What a host is and has."""

    hostname: str
    memory_mib: int
    cpu_threads: int
    libvirt_version: str
    qemu_version: str
    kvm_offered: bool
    cpu_model: str = ""
    cpu_sockets: int = 0
    cpu_cores: int = 0
    numa_nodes: tuple[NumaNode, ...] = ()


@dataclass(frozen=True)
class AccelerationVerdict:
    """What the boot probe found, and the sentence that explains it."""

    acceleration: Acceleration
    reason: str


class EventKind(StrEnum):
    """What an event of a host's stream is about."""

    LIFECYCLE = "lifecycle"
    GRAPHICS = "graphics"
    AGENT = "agent"


@dataclass(frozen=True)
class DomainEvent:
    """Something happened to a domain. `detail` is a word of libvirt's, such as "stopped" or "connected"."""

    kind: EventKind
    vm_id: UUID
    detail: str


class Hypervisor(Protocol):
    """One host. Every verb is idempotent where its name allows and raises only HypervisorError kinds.

    Verbs that take a `run` act only while that run is on, else AnotherRun: a worker that was paused and overtaken
    must not meet the next person's run. Null means whatever is on.
    """

    def facts(self) -> HostFacts: ...

    def usage(self) -> HostUsage: ...

    # domains -----------------------------------------------------------------------------------

    def domains(self, installation: str) -> list[DomainFacts]:
        """All domains that carry the mark of this installation, cheaply."""
        ...

    def domain(self, vm_id: UUID, installation: str) -> DomainFacts | None:
        """The domain of one VM; null when it is not defined. NotOurDomain when the mark differs."""
        ...

    def define(self, spec: VmSpec) -> None:
        """Define the domain, or replace its inactive definition."""
        ...

    def start(self, spec: VmSpec) -> DomainFacts:
        """Define and start. The display asks for a random ticket that is already past, so nobody gets in."""
        ...

    def undefine(self, vm_id: UUID, installation: str) -> None:
        """Forget the domain; no error when it is not there. It must be off."""
        ...

    def shutdown(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Ask the guest to shut down; no error when it is off already, or not defined."""
        ...

    def reboot(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Ask the guest to reboot, keeping the domain; reset it hard where the guest cannot be asked."""
        ...

    def destroy(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Turn it off at once; no error when it is off already, or not defined."""
        ...

    def suspend(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Pause it in the host's memory; no error when it is paused already."""
        ...

    def resume(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Let it go on; no error when it runs already."""
        ...

    def processor_times(self, installation: str) -> dict[UUID, int]:
        """Nanoseconds that each domain which is on has run; others' are among them, as asking whose costs calls."""
        ...

    def viewers(self, vm_id: UUID, installation: str, *, run: int | None = None) -> int:
        """How many viewers the display has now; 0 for a domain that is off or not defined."""
        ...

    def tell(self, vm_id: UUID, installation: str, text: str, *, run: int | None = None) -> None:
        """Show a message to whoever sits at the guest, through its agent; HypervisorError where it cannot."""
        ...

    def guest_agent_answers(self, vm_id: UUID, installation: str) -> bool:
        """Whether the agent in the guest answers a ping within two seconds."""
        ...

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
        """Make `password` the only ticket, for so many seconds (0: already past); `disconnect` throws viewers out."""
        ...

    # storage -----------------------------------------------------------------------------------

    def ensure_storage_pool(self, spec: StoragePoolSpec) -> StoragePoolFacts:
        """Define, build and start the storage pool where needed, refresh it, and report its capacity."""
        ...

    def volumes(self, storage_pool: str) -> list[VolumeFacts]:
        """All volumes, after a refresh."""
        ...

    def volume(self, volume: VolumeName) -> VolumeFacts | None: ...

    def create_overlay(self, volume: VolumeName, backing: VolumeName) -> VolumeFacts:
        """A thin qcow2 (compat 1.1) on `backing`, as large, with its format stated; reuses an equal one."""
        ...

    def upload_volume(self, volume: VolumeName, source: Path) -> VolumeFacts:
        """A volume holding the qcow2 file `source`, sent through the storage API and then read-only."""
        ...

    def write_volume(self, volume: VolumeName, content: bytes) -> None:
        """A read-only volume that holds these very bytes; reuses an equal one.

        HypervisorError for one of another length. Whoever writes the same name at the same time writes the same
        bytes: it is never emptied or made anew under a reader.
        """
        ...

    def read_volume(self, volume: VolumeName, limit_bytes: int) -> bytes:
        """The first `limit_bytes` of a volume's content, such as a console log."""
        ...

    def delete_volume(self, volume: VolumeName) -> None:
        """Delete the volume and see that it is gone; no error when it is not there."""
        ...

    # images --------------------------------------------------------------------------------------

    def inspect_image(self, source: VolumeName | HostFile) -> ImageFacts:
        """What an image is; VolumeMissing where there is none.

        HypervisorError for what is no file, is encrypted, or keeps its data in another file.
        """
        ...

    def copy_image(self, source: VolumeName | HostFile, target: VolumeName) -> VolumeFacts:
        """A read-only qcow2 copy that stands on nothing.

        May be repeated after any failure: what broke off is made anew, and a copy that became whole is kept, because
        disks may stand on it already. Whoever wants the source as it is now deletes the target first.
        """
        ...

    def checksum(self, volume: VolumeName) -> str:
        """The SHA-256 of the volume's bytes, in hexadecimal digits."""
        ...

    # the host itself ---------------------------------------------------------------------------

    def probe_acceleration(self, image: Path | None, storage_pool: str, seconds: int) -> AccelerationVerdict:
        """Find out whether KVM really runs guests here, by booting `image` under it for at most `seconds`."""
        ...
