"""The one narrow door to hypervisors: nothing above it imports libvirt or sees XML, URIs and error codes."""

from typing import cast

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
    """The host behind a libvirt URI, or behind `fake://`. Nothing is opened before the first verb."""
    # Imported here, because the web processes read the values above and must never load libvirt.
    if uri.startswith("fake:"):
        from broker.drivers.hypervisor import fake_fleet

        return cast(Hypervisor, fake_fleet.host(uri))
    from broker.drivers.hypervisor.libvirt_driver import LibvirtHypervisor

    return LibvirtHypervisor(uri)
