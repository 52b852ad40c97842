"""Does KVM really run guests on this host? A device and an offer of libvirt prove little."""

import contextlib
import time
import uuid
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

from broker.drivers.hypervisor.interface import (
    Acceleration,
    AccelerationVerdict,
    DomainState,
    HostUnreachable,
    Hypervisor,
    HypervisorError,
    VmSpec,
    VolumeName,
)

INSTALLATION = "probe"
MEMORY_MIB = 256
LOOK_SECONDS = 0.5
MODULES = Path("/sys/module")
HARDWARE_MODULES = ("kvm_intel", "kvm_amd")


class _Host(Hypervisor, Protocol):
    """A hypervisor that says where it is."""

    uri: str


def probe(
    driver: _Host, image: Path | None, storage_pool: str, seconds: int, *, look_at_modules: bool
) -> AccelerationVerdict:
    """KVM only where nothing speaks against it and, with an image, a guest has booted under it."""
    if not driver.facts().kvm_offered:
        return AccelerationVerdict(Acceleration.QEMU, "libvirt does not offer KVM on this host.")
    if look_at_modules and urlsplit(driver.uri).hostname is None:
        reason = _unfit_modules()
        if reason is not None:
            return AccelerationVerdict(Acceleration.QEMU, reason)
    if image is None or not storage_pool:
        return AccelerationVerdict(Acceleration.KVM, "libvirt offers KVM; that was not proved by booting a guest.")
    return _boot(driver, image, storage_pool, seconds)


def _unfit_modules() -> str | None:
    """Why this machine's kernel modules rule out KVM; null when they do not."""
    if any((MODULES / name).exists() for name in HARDWARE_MODULES):
        return None
    others = sorted(path.name for path in MODULES.glob("kvm_*"))
    loaded = f"only {', '.join(others)}" if others else "none"
    return f"KVM needs the kernel module kvm_intel or kvm_amd; {loaded} is loaded."


def _boot(driver: Hypervisor, image: Path, storage_pool: str, seconds: int) -> AccelerationVerdict:
    """Boot the image under KVM. Two probes of one host at the same time would end each other's guests."""
    for left in driver.domains(INSTALLATION):
        _clean_up(driver, storage_pool, left.vm_id)
    vm_id = uuid.uuid4()
    base, disk = _volumes(storage_pool, vm_id)
    begun = time.monotonic()
    try:
        driver.upload_volume(base, image)
        driver.create_overlay(disk, base)
        driver.start(_spec(vm_id, disk))
        answered = _agent_answers_within(driver, vm_id, seconds)
    except HostUnreachable:
        raise
    except HypervisorError as error:
        said = " ".join(str(error).split())  # the emulator's last words may be many lines
        return AccelerationVerdict(Acceleration.QEMU, f"A guest could not be started under KVM: {said}")
    finally:
        _clean_up(driver, storage_pool, vm_id)
    if answered:
        took = time.monotonic() - begun
        return AccelerationVerdict(Acceleration.KVM, f"A guest booted under KVM in {took:.0f} s.")
    return AccelerationVerdict(Acceleration.QEMU, f"A guest did not boot under KVM within {seconds} s.")


def _volumes(storage_pool: str, vm_id: UUID) -> tuple[VolumeName, VolumeName]:
    base = VolumeName(storage_pool, f"probe-{vm_id}.base.qcow2")
    return base, VolumeName(storage_pool, f"probe-{vm_id}.qcow2")


def _spec(vm_id: UUID, disk: VolumeName) -> VmSpec:
    return VmSpec(
        id=vm_id,
        name=f"probe-{vm_id}",
        installation=INSTALLATION,
        run=1,
        memory_mib=MEMORY_MIB,
        vcpus=1,
        operating_system="probe",
        optimized_for="server",
        acceleration=Acceleration.KVM,
        disk=disk,
        nics=(),
        display_address="127.0.0.1",
    )


def _agent_answers_within(driver: Hypervisor, vm_id: UUID, seconds: int) -> bool:
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        if driver.guest_agent_answers(vm_id, INSTALLATION):
            return True
        facts = driver.domain(vm_id, INSTALLATION)
        if facts is None or facts.state in (DomainState.OFF, DomainState.CRASHED):
            return False
        time.sleep(LOOK_SECONDS)
    return False


def _clean_up(driver: Hypervisor, storage_pool: str, vm_id: UUID) -> None:
    """As much as the host lets us: what is left behind is taken by the next probe."""
    base, disk = _volumes(storage_pool, vm_id)
    with contextlib.suppress(HypervisorError):
        driver.destroy(vm_id, INSTALLATION)
        driver.delete_volume(disk)
        driver.delete_volume(base)
        # Last, because the domain is what the next probe finds.
        driver.undefine(vm_id, INSTALLATION)
