"""The one narrow door to hypervisors: nothing above it imports libvirt or sees XML, URIs and error codes."""

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
    Hypervisor,
    HypervisorError,
    ImageFacts,
    MigrationSpec,
    NicSpec,
    NotOurDomain,
    NumaCell,
    NumaNode,
    NumaSpec,
    StoragePoolFacts,
    StoragePoolSpec,
    VmSpec,
    VolumeFacts,
    VolumeMissing,
    VolumeName,
)

__all__ = [
    "Acceleration",
    "AccelerationVerdict",
    "AnotherRun",
    "DomainEvent",
    "DomainFacts",
    "DomainMissing",
    "DomainState",
    "EventKind",
    "HostFacts",
    "HostFile",
    "HostUnreachable",
    "HostUsage",
    "Hypervisor",
    "HypervisorError",
    "ImageFacts",
    "MigrationSpec",
    "NicSpec",
    "NotOurDomain",
    "NumaCell",
    "NumaNode",
    "NumaSpec",
    "StoragePoolFacts",
    "StoragePoolSpec",
    "VmSpec",
    "VolumeFacts",
    "VolumeMissing",
    "VolumeName",
    "connect",
]


def connect(uri: str) -> Hypervisor:
    """The host behind a libvirt URI. Nothing is opened before the first verb."""
    # Imported here, because the web processes read the values above and must never load libvirt.
    from broker.drivers.hypervisor.libvirt_driver import LibvirtHypervisor

    return LibvirtHypervisor(uri)
