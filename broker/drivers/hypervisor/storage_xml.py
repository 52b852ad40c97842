"""Storage pools and volumes as libvirt's XML, and back. Pure: values in, text out."""

import xml.etree.ElementTree as ET

from broker.drivers.hypervisor.interface import HypervisorError, StoragePoolSpec, VolumeFacts

SEALED_MODE = "0444"


def storage_pool(spec: StoragePoolSpec) -> str:
    """A directory storage pool."""
    pool = ET.Element("pool", type="dir")
    ET.SubElement(pool, "name").text = spec.name
    ET.SubElement(ET.SubElement(pool, "target"), "path").text = spec.target_path
    return ET.tostring(pool, encoding="unicode")


def overlay_volume(name: str, *, capacity_bytes: int, backing_path: str) -> str:
    """A thin qcow2 on top of another qcow2.

    The format of the backing file is stated: a guest could otherwise write a header into a raw one that makes
    the next start read any file of the host.
    """
    volume = _volume(name, capacity_bytes)
    target = ET.SubElement(volume, "target")
    ET.SubElement(target, "format", type="qcow2")
    ET.SubElement(target, "compat").text = "1.1"
    backing = ET.SubElement(volume, "backingStore")
    ET.SubElement(backing, "path").text = backing_path
    ET.SubElement(backing, "format", type="qcow2")
    return ET.tostring(volume, encoding="unicode")


def copied_volume(name: str) -> str:
    """A qcow2 that an image is copied into; it gets the image's capacity.

    libvirt sets the mode when all is written, so a copy that broke off is seen by its mode.
    """
    volume = _volume(name, 0)
    target = ET.SubElement(volume, "target")
    ET.SubElement(target, "format", type="qcow2")
    ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = SEALED_MODE
    ET.SubElement(target, "compat").text = "1.1"
    return ET.tostring(volume, encoding="unicode")


def plain_volume(name: str, *, capacity_bytes: int, mode: str) -> str:
    """A file of so many zeros, which its content is written over."""
    return _sent_volume(name, capacity_bytes, mode)


def upload_volume(name: str, *, mode: str) -> str:
    """An empty file that an image is sent into.

    It begins with no length at all, so that an upload that broke off is seen by its length. Once it holds a
    qcow2, the storage pool's refresh reports it as one.
    """
    return _sent_volume(name, 0, mode)


def _sent_volume(name: str, capacity_bytes: int, mode: str) -> str:
    volume = _volume(name, capacity_bytes)
    target = ET.SubElement(volume, "target")
    ET.SubElement(target, "format", type="raw")
    ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = mode
    return ET.tostring(volume, encoding="unicode")


def target_path(pool_xml: str) -> str:
    """The folder of a storage pool."""
    return _text(_element(pool_xml), "./target/path")


def volume_facts(volume_xml: str) -> VolumeFacts:
    """What libvirt says of a volume."""
    volume = _element(volume_xml)
    backing_format = volume.find("./backingStore/format")
    target_format = volume.find("./target/format")
    return VolumeFacts(
        name=_text(volume, "./name"),
        path=_text(volume, "./target/path"),
        format="" if target_format is None else target_format.get("type", ""),
        capacity_bytes=int(_text(volume, "./capacity")),
        allocation_bytes=int(_text(volume, "./allocation")),
        backing_path=volume.findtext("./backingStore/path") or None,
        backing_format=None if backing_format is None else backing_format.get("type"),
    )


def length_bytes(volume_xml: str) -> int:
    """The length of a volume's file, which for a qcow2 is not its capacity; libvirt does not state a 0."""
    return int(_element(volume_xml).findtext("./physical") or 0)


def is_sealed(volume_xml: str) -> bool:
    """Whether nobody may write it any more."""
    return _text(_element(volume_xml), "./target/permissions/mode") == SEALED_MODE


def _element(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 libvirt writes it anew, without entities


def _volume(name: str, capacity_bytes: int) -> ET.Element:
    volume = ET.Element("volume", type="file")
    ET.SubElement(volume, "name").text = name
    ET.SubElement(volume, "capacity", unit="bytes").text = str(capacity_bytes)
    ET.SubElement(volume, "allocation", unit="bytes").text = "0"
    return volume


def _text(element: ET.Element, path: str) -> str:
    text = element.findtext(path)
    if text is None:
        raise HypervisorError(f"libvirt's XML has no {path}")
    return text
