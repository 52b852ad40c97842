"""What a host's capabilities document says of its processors and memory. Pure: text in, values out."""

import xml.etree.ElementTree as ET

from broker.drivers.hypervisor.interface import NumaNode


def kvm_offered(capabilities_xml: str) -> bool:
    """Whether they speak of KVM, which does not prove that guests run under it."""
    return _element(capabilities_xml).find("./guest/arch[@name='x86_64']/domain[@type='kvm']") is not None


def cpu_model(capabilities_xml: str) -> str:
    """The name libvirt has for the processor; empty where it has none."""
    return _element(capabilities_xml).findtext("./host/cpu/model") or ""


def sockets_and_cores(capabilities_xml: str) -> tuple[int, int]:
    """How many of each the whole host has; processors that are offline say nothing of theirs."""
    processors = _element(capabilities_xml).findall("./host/topology/cells/cell/cpus/cpu[@core_id]")
    cores = {(one.get("socket_id"), one.get("die_id"), one.get("core_id")) for one in processors}
    return len({socket for socket, _die, _core in cores}), len(cores)


def numa_nodes(capabilities_xml: str) -> tuple[NumaNode, ...]:
    """The host's NUMA nodes, in their order; libvirt writes sizes in KiB."""
    cells = _element(capabilities_xml).findall("./host/topology/cells/cell")
    return tuple(
        NumaNode(
            id=int(cell.get("id", "0")),
            memory_mib=int(cell.findtext("./memory") or 0) // 1024,
            cpus=tuple(sorted(int(cpu.get("id", "0")) for cpu in cell.findall("./cpus/cpu"))),
        )
        for cell in cells
    )


def _element(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 libvirt writes it anew, without entities
