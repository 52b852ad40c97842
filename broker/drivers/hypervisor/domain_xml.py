"""A VM as libvirt's domain XML, and what we read back from it. Pure: values in, text out."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from broker.drivers.hypervisor.interface import Acceleration, HypervisorError, NumaSpec, VmSpec

NAMESPACE = "urn:hotdesk:domain"
AGENT_CHANNEL = "org.qemu.guest_agent.0"
DISPLAY_CHANNEL = "com.redhat.spice.0"
TRANSLATION_CACHE_MIB = 32  # QEMU's own choice is a gigabyte for each guest
USB_REDIRECTIONS = 2
PASSWORD_LIMIT = 59  # SPICE takes 60 characters, and then nobody can log in
VNC_PASSWORD_LIMIT = 8  # what VNC itself looks at
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Mark:
    """Our metadata in a domain: whose it is, and which run."""

    installation: str
    vm_id: str
    run: int


@dataclass(frozen=True)
class ParsedDomain:
    """What we read from a domain's XML. `domain_id` is null for an inactive definition."""

    name: str
    mark: Mark | None
    domain_id: int | None
    display_port: int | None
    display_tls_port: int | None
    agent_connected: bool


def domain(
    spec: VmSpec, *, disk_path: str, console_log_path: str | None, config_drive_path: str | None, password: str
) -> str:
    """The whole domain. The display asks for `password`, which has already expired."""
    root = ET.Element("domain", type=spec.acceleration.value)
    _add(root, "name", spec.name)
    _add(root, "uuid", str(spec.id))
    _add_mark(root, spec)
    _add(root, "memory", str(spec.memory_mib), unit="MiB")
    _add(root, "vcpu", str(spec.vcpus))
    if spec.numa is not None:
        _add_numa_tuning(root, spec.numa)
    system = _add(root, "os")
    # i440fx rather than q35: it boots any BIOS disk, and faster where instructions are translated.
    _add(system, "type", "hvm", arch="x86_64", machine="pc")
    _add(system, "boot", dev="hd")
    _add_features(root, spec.acceleration)
    _add_processor(root, spec)
    _add(root, "clock", offset="utc")
    _add(root, "on_poweroff", "destroy")
    _add(root, "on_reboot", "restart")
    _add(root, "on_crash", "destroy")
    devices = _add(root, "devices")
    _add_disk(devices, disk_path)
    if config_drive_path is not None:
        _add_config_drive(devices, config_drive_path)
    for nic in spec.nics:
        interface = _add(devices, "interface", type="user")
        _add(interface, "mac", address=nic.mac)
        _add(interface, "model", type="virtio")
    _add_serial(devices, console_log_path)
    _add_display(devices, spec, password)
    _add_channels(devices, spec)
    if spec.optimized_for == "desktop":
        _add_desktop_devices(devices, spec)
    else:
        _add(devices, "controller", type="usb", model="none")
    _add(devices, "memballoon", model="virtio")
    rng = _add(devices, "rng", model="virtio")
    _add(rng, "backend", "/dev/urandom", model="random")
    return ET.tostring(root, encoding="unicode")


def parse(xml: str) -> ParsedDomain:
    """What we want to know of a domain, from its live or inactive XML."""
    root = _element(xml)
    domain_id = root.get("id")
    graphics = _display(root)
    agent = root.find(f"./devices/channel/target[@name='{AGENT_CHANNEL}']")
    return ParsedDomain(
        name=root.findtext("./name") or "",
        mark=_mark(root),
        domain_id=None if domain_id is None else int(domain_id),
        display_port=_port(graphics, "port") if domain_id is not None else None,
        display_tls_port=_port(graphics, "tlsPort") if domain_id is not None else None,
        agent_connected=agent is not None and agent.get("state") == "connected",
    )


def ticket(live_xml: str, *, password: str, valid_until: datetime, disconnect: bool) -> str:
    """The display of a running domain with a new ticket: the device to update."""
    graphics = _display(_element(live_xml))
    if graphics is None:
        raise HypervisorError("The domain has no display.")
    _set_ticket(graphics, password, valid_until)
    graphics.set("connected", "disconnect" if disconnect and graphics.get("type") == "spice" else "keep")
    return ET.tostring(graphics, encoding="unicode")


def vnc_address(live_xml: str) -> tuple[str, int] | None:
    """Where a running domain's VNC display listens; null for another display."""
    graphics = _display(_element(live_xml))
    if graphics is None or graphics.get("type") != "vnc":
        return None
    return graphics.get("listen", ""), int(graphics.get("port", "0"))


def _port(graphics: ET.Element | None, name: str) -> int | None:
    port = 0 if graphics is None else int(graphics.get(name, "0"))
    return port if port > 0 else None


def _element(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 libvirt writes it anew, without entities


def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _add_mark(root: ET.Element, spec: VmSpec) -> None:
    # Prefix and namespace written out: libvirt keeps this element apart from the rest of the document.
    attributes = {
        "xmlns:hotdesk": NAMESPACE,
        "installation": spec.installation,
        "id": str(spec.id),
        "run": str(spec.run),
        "os": spec.operating_system,
        **_migration(spec),
    }
    ET.SubElement(_add(root, "metadata"), "hotdesk:vm", attributes)


def _migration(spec: VmSpec) -> dict[str, str]:
    """What a migration would be started with; libvirt itself keeps none of this in a domain."""
    plan = spec.migration
    if plan is None:
        return {}
    downtime = {} if plan.downtime_ms is None else {"migration-downtime-ms": str(plan.downtime_ms)}
    return {
        "migration-mode": plan.mode,
        "migration-policy": plan.policy,
        **downtime,
        "auto-converge": "on" if plan.auto_converge else "off",
        "compressed": "on" if plan.compressed else "off",
    }


def _mark(root: ET.Element) -> Mark | None:
    element = root.find(f"./metadata/{{{NAMESPACE}}}vm")
    if element is None:
        return None
    run = element.get("run", "")
    return Mark(
        installation=element.get("installation", ""),
        vm_id=element.get("id", ""),
        run=int(run) if run.isdecimal() else 0,
    )


def _add_numa_tuning(root: ET.Element, numa: NumaSpec) -> None:
    """Where the host takes the memory of virtual nodes from; nothing where none of them is pinned."""
    pinned = [(number, cell.host_nodes) for number, cell in enumerate(numa.cells) if cell.host_nodes]
    if not pinned:
        return
    tuning = _add(root, "numatune")
    union = sorted({node for _number, nodes in pinned for node in nodes})
    _add(tuning, "memory", mode=numa.tune_mode, nodeset=_set(union))
    for number, nodes in pinned:
        _add(tuning, "memnode", cellid=str(number), mode=numa.tune_mode, nodeset=_set(nodes))


def _set(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _add_features(root: ET.Element, acceleration: Acceleration) -> None:
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if acceleration == Acceleration.QEMU:
        _add(_add(features, "tcg"), "tb-cache", str(TRANSLATION_CACHE_MIB), unit="MiB")


def _add_processor(root: ET.Element, spec: VmSpec) -> None:
    attributes = _processor(spec)
    if not attributes and spec.numa is None:
        return
    processor = _add(root, "cpu", **attributes)
    if spec.numa is not None:
        numa = _add(processor, "numa")
        for number, cell in enumerate(spec.numa.cells):
            _add(numa, "cell", id=str(number), cpus=_set(cell.cpus), memory=str(cell.memory_mib), unit="MiB")


def _processor(spec: VmSpec) -> dict[str, str]:
    """Which processor the guest sees; nothing leaves it to QEMU."""
    if spec.acceleration == Acceleration.KVM:
        passed_through = {"mode": "host-passthrough", "check": "none", "migratable": "on"}
        return passed_through if spec.cpu_passthrough else {"mode": "host-model"}
    # libvirt refuses to pass the host's processor to a translated guest: the most that QEMU imitates is nearest.
    return {"mode": "maximum"} if spec.cpu_passthrough else {}


def _add_disk(devices: ET.Element, path: str) -> None:
    disk = _add(devices, "disk", type="file", device="disk")
    _add(disk, "driver", name="qemu", type="qcow2", discard="unmap")
    _add(disk, "source", file=path)
    _add(disk, "target", dev="vda", bus="virtio")


def _add_config_drive(devices: ET.Element, path: str) -> None:
    """A CD in the drive that every system knows without a driver of ours."""
    drive = _add(devices, "disk", type="file", device="cdrom")
    _add(drive, "driver", name="qemu", type="raw")
    _add(drive, "source", file=path)
    _add(drive, "target", dev="hda", bus="ide")
    _add(drive, "readonly")


def _add_serial(devices: ET.Element, log_path: str | None) -> None:
    """A text console, whose output may also go to a file that each run begins anew."""
    serial = _add(devices, "serial", type="pty")
    if log_path is not None:
        _add(serial, "log", file=log_path, append="off")
    _add(serial, "target", port="0")
    _add(_add(devices, "console", type="pty"), "target", type="serial", port="0")


def _add_display(devices: ET.Element, spec: VmSpec, password: str) -> None:
    if spec.graphics == "vnc" and not spec.plain_display:
        raise HypervisorError("VNC displays are not encrypted, and this cluster wants them to be.")
    graphics = _add(devices, "graphics", type=spec.graphics, autoport="yes")
    if not spec.plain_display:
        # Left to itself libvirt opens a plain port always, and one for TLS where the host has a certificate.
        graphics.set("defaultMode", "secure")
    # Without a password now the display would let anybody in, and could never be given one later.
    _set_ticket(graphics, password, LONG_AGO)
    _add(graphics, "listen", type="address", address=spec.display_address)
    if spec.graphics == "vnc":
        _add(_add(devices, "video"), "model", type="vga")
        return
    if not spec.clipboard:
        _add(graphics, "clipboard", copypaste="no")
    if not spec.file_transfer:
        _add(graphics, "filetransfer", enable="no")
    _add(_add(devices, "video"), "model", type="qxl")


def _set_ticket(graphics: ET.Element, password: str, valid_until: datetime) -> None:
    if not 0 < len(password.encode()) <= PASSWORD_LIMIT:
        raise HypervisorError(f"A display's password has 1 to {PASSWORD_LIMIT} characters.")
    graphics.set("passwd", password[:VNC_PASSWORD_LIMIT] if graphics.get("type") == "vnc" else password)
    graphics.set("passwdValidTo", f"{valid_until.astimezone(UTC):%Y-%m-%dT%H:%M:%S}")


def _display(root: ET.Element) -> ET.Element | None:
    return root.find("./devices/graphics")


def _add_channels(devices: ET.Element, spec: VmSpec) -> None:
    if spec.graphics == "spice":
        display = _add(devices, "channel", type="spicevmc")
        _add(display, "target", type="virtio", name=DISPLAY_CHANNEL)
    agent = _add(devices, "channel", type="unix")
    _add(agent, "target", type="virtio", name=AGENT_CHANNEL)


def _add_desktop_devices(devices: ET.Element, spec: VmSpec) -> None:
    """What a person at a desktop misses on a server: sound, USB devices, a pointer that follows theirs."""
    _add(devices, "controller", type="usb", model="qemu-xhci")
    _add(devices, "input", type="tablet", bus="usb")
    _add(devices, "sound", model="ich9")
    if spec.graphics != "spice":
        return
    if spec.smartcard:
        _add(devices, "smartcard", mode="passthrough", type="spicevmc")
    for _number in range(USB_REDIRECTIONS):
        _add(devices, "redirdev", bus="usb", type="spicevmc")
