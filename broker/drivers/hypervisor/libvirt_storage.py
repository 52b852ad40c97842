"""One host over libvirt: storage pools and volumes."""

import time
from collections.abc import Iterator
from pathlib import Path

import libvirt

from broker.drivers.hypervisor import connection, storage_xml
from broker.drivers.hypervisor.connection import translated
from broker.drivers.hypervisor.interface import (
    HypervisorError,
    StoragePoolFacts,
    StoragePoolSpec,
    VolumeFacts,
    VolumeMissing,
    VolumeName,
)

BUSY_SECONDS = 5.0
BUSY_PAUSE_SECONDS = 0.05
CHUNK_BYTES = 256 * 1024
QCOW2_MAGIC = b"QFI\xfb"


class LibvirtStorage:
    """The storage of one host, by its libvirt URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @property
    def _host(self) -> libvirt.virConnect:
        return connection.handle(self.uri)

    @translated
    def ensure_storage_pool(self, spec: StoragePoolSpec) -> StoragePoolFacts:
        """Define, build and start the storage pool where needed, refresh it, and report its capacity."""
        if spec.type != "dir":
            raise HypervisorError(f"Storage pools of type {spec.type} are not supported.")
        try:
            pool = self._host.storagePoolLookupByName(spec.name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise
            pool = self._host.storagePoolDefineXML(storage_xml.storage_pool(spec))
        path = storage_xml.target_path(pool.XMLDesc(0))
        if path != spec.target_path:
            raise HypervisorError(f"The storage pool {spec.name} is at {path} instead of {spec.target_path}.")
        if not pool.isActive():
            pool.build(0)
            try:
                pool.create(0)
            except libvirt.libvirtError:
                if not pool.isActive():
                    raise
        pool.setAutostart(1)
        refresh(pool)
        _state, capacity, allocation, available = pool.info()
        return StoragePoolFacts(capacity, allocation, available)

    @translated
    def volumes(self, storage_pool: str) -> list[VolumeFacts]:
        """All volumes, after a refresh."""
        pool = self._host.storagePoolLookupByName(storage_pool)
        refresh(pool)
        found = []
        for volume in pool.listAllVolumes(0):
            try:
                found.append(storage_xml.volume_facts(volume.XMLDesc(0)))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                    raise  # else it is gone since it was listed
        return found

    @translated
    def volume(self, volume: VolumeName) -> VolumeFacts | None:
        """One volume, or null."""
        found = self._find_volume(volume)
        return None if found is None else storage_xml.volume_facts(found.XMLDesc(0))

    @translated
    def create_overlay(self, volume: VolumeName, backing: VolumeName) -> VolumeFacts:
        """A thin qcow2 on top of `backing`, as large; an equal one is used again."""
        below = storage_xml.volume_facts(self._require_volume(backing).XMLDesc(0))
        if below.format != "qcow2":
            raise HypervisorError(f"{below.name} is {below.format or 'of no known format'} and not qcow2.")
        if self._find_volume(volume) is None:
            wanted = storage_xml.overlay_volume(
                volume.name, capacity_bytes=below.capacity_bytes, backing_path=below.path
            )
            self._created(volume, wanted)
        shape = ("qcow2", below.path, "qcow2", below.capacity_bytes)
        for look in ("known", "on disk"):
            if look == "on disk":
                # libvirt may have seen it while another host was making it.
                refresh(self._host.storagePoolLookupByName(volume.storage_pool))
            facts = storage_xml.volume_facts(self._require_volume(volume).XMLDesc(0))
            if (facts.format, facts.backing_path, facts.backing_format, facts.capacity_bytes) == shape:
                return facts
        raise HypervisorError(f"The volume {volume.name} exists and is not an overlay of {below.name}.")

    @translated
    def upload_volume(self, volume: VolumeName, source: Path) -> VolumeFacts:
        """Create a volume holding the qcow2 file `source`; one that was uploaded before is used again."""
        length, capacity = _qcow2_sizes(source)
        found = self._find_volume(volume)
        if found is not None and storage_xml.length_bytes(found.XMLDesc(0)) < length:
            found.delete(0)  # an upload that broke off
            found = None
        if found is None:
            self._send(volume, source, length)
            found = self._require_volume(volume)
        xml = found.XMLDesc(0)
        facts = storage_xml.volume_facts(xml)
        shape = (facts.format, facts.capacity_bytes, storage_xml.length_bytes(xml))
        if shape != ("qcow2", capacity, length):
            raise HypervisorError(f"The volume {volume.name} exists and is not a copy of {source.name}.")
        return facts

    @translated
    def write_volume(self, volume: VolumeName, content: bytes) -> None:
        """A read-only volume that holds these very bytes; an equal one is used again."""
        ends_at = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                found = self._to_fill(volume, content)
                if found is not None:
                    self._fill(found, content)
                return
            except libvirt.libvirtError as error:
                # Another worker writes the same, and libvirt lets no second one: soon nothing may be left to do.
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or time.monotonic() > ends_at:
                    raise
                time.sleep(BUSY_PAUSE_SECONDS)

    def _to_fill(self, volume: VolumeName, content: bytes) -> libvirt.virStorageVol | None:
        """The volume, made if need be, that is to hold these bytes; null when it does."""
        found = self._find_volume(volume)
        if found is not None and _is_gone(found):
            refresh(self._host.storagePoolLookupByName(volume.storage_pool))  # another host deleted it
            found = self._find_volume(volume)
        if found is None:
            wanted = storage_xml.plain_volume(volume.name, capacity_bytes=len(content), mode=self._sealed_mode())
            found = self._created(volume, wanted)
        elif storage_xml.volume_facts(found.XMLDesc(0)).capacity_bytes != len(content):
            raise HypervisorError(f"The volume {volume.name} exists and is something else.")
        elif b"".join(self._pieces(found)) == content:
            return None
        return found

    def _fill(self, volume: libvirt.virStorageVol, content: bytes) -> None:
        stream = self._host.newStream(0)
        volume.upload(stream, 0, len(content), 0)
        _send_all(stream, content)
        stream.finish()

    @translated
    def read_volume(self, volume: VolumeName, limit_bytes: int) -> bytes:
        """The first `limit_bytes` of a volume's content."""
        found = self._require_volume(volume)
        return b"".join(self._pieces(found, limit_bytes))

    def _pieces(self, volume: libvirt.virStorageVol, limit_bytes: int = 0) -> Iterator[bytes]:
        """A volume's content from its beginning, piece by piece; all of it without a limit."""
        stream = self._host.newStream(0)
        volume.download(stream, 0, limit_bytes, 0)
        while piece := stream.recv(CHUNK_BYTES):
            yield piece
        stream.finish()

    @translated
    def delete_volume(self, volume: VolumeName) -> None:
        """Delete the volume and see that it is gone; no error when it is not there."""
        found = self._find_volume(volume)
        if found is None:
            return
        try:
            found.delete(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
        if self._find_volume(volume) is not None:
            raise HypervisorError(f"The volume {volume.name} was deleted and is still there.")

    def path(self, volume: VolumeName) -> str:
        """Where the volume is, or would be, on the host."""
        if "/" in volume.name:
            raise HypervisorError(f"{volume.name!r} cannot be the name of a volume.")
        pool = self._host.storagePoolLookupByName(volume.storage_pool)
        return f"{storage_xml.target_path(pool.XMLDesc(0))}/{volume.name}"

    def _find_volume(self, volume: VolumeName) -> libvirt.virStorageVol | None:
        """The volume; one that libvirt does not know may be on disk nevertheless, so it looks again there.

        On shared storage another host may have made it, and creating it again would empty it.
        """
        pool = self._host.storagePoolLookupByName(volume.storage_pool)
        for look in ("in libvirt's list", "on disk"):
            if look == "on disk":
                refresh(pool)
            try:
                return pool.storageVolLookupByName(volume.name)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                    raise
        return None

    def _require_volume(self, volume: VolumeName) -> libvirt.virStorageVol:
        found = self._find_volume(volume)
        if found is None:
            raise VolumeMissing(f"The storage pool {volume.storage_pool} holds no volume {volume.name}.")
        return found

    def _created(self, volume: VolumeName, xml: str) -> libvirt.virStorageVol:
        """The volume, made as the document says, or the one of somebody who was faster."""
        pool = self._host.storagePoolLookupByName(volume.storage_pool)
        try:
            return pool.createXML(xml, 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_STORAGE_VOL_EXIST:
                raise
            return self._require_volume(volume)

    def _send(self, volume: VolumeName, source: Path, length: int) -> None:
        pool = self._host.storagePoolLookupByName(volume.storage_pool)
        created = pool.createXML(storage_xml.upload_volume(volume.name, mode=self._sealed_mode()), 0)
        stream = self._host.newStream(0)
        created.upload(stream, 0, length, 0)
        try:
            with source.open("rb") as content:
                while piece := content.read(CHUNK_BYTES):
                    _send_all(stream, piece)
            stream.finish()
        except OSError as error:
            stream.abort()
            raise HypervisorError(f"{source} cannot be read: {error.strerror}.") from error
        refresh(pool)

    def _sealed_mode(self) -> str:
        """Only a daemon that runs as root can write what has no write permission."""
        return "0644" if "/session" in self._host.getURI() else storage_xml.SEALED_MODE


def _is_gone(volume: libvirt.virStorageVol) -> bool:
    """Whether libvirt only believes that it is there."""
    try:
        volume.info()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        return True
    return False


def _send_all(stream: libvirt.virStream, content: bytes) -> None:
    while content:
        content = content[stream.send(content) :]


def refresh(pool: libvirt.virStoragePool, patience_seconds: float = BUSY_SECONDS) -> None:
    """Look at the storage anew; libvirt refuses while volumes are being made or sent, so try for a while."""
    begun = time.monotonic()
    while True:
        try:
            pool.refresh(0)
        except libvirt.libvirtError as error:
            kind = (error.get_error_domain(), error.get_error_code())
            busy = kind == (libvirt.VIR_FROM_STORAGE, libvirt.VIR_ERR_INTERNAL_ERROR)
            waited = time.monotonic() - begun
            if not busy or waited > patience_seconds:
                raise
            time.sleep(0.02 if waited < BUSY_SECONDS else 1)
        else:
            return


def _qcow2_sizes(source: Path) -> tuple[int, int]:
    """The length of a qcow2 file, and the capacity of the disk in it; bytes."""
    try:
        with source.open("rb") as file:
            header = file.read(32)
        length = source.stat().st_size
    except OSError as error:
        raise HypervisorError(f"{source} cannot be read: {error.strerror}.") from error
    if len(header) < 32 or header[:4] != QCOW2_MAGIC:
        raise HypervisorError(f"{source} is not a qcow2 image.")
    return length, int.from_bytes(header[24:32], "big")
