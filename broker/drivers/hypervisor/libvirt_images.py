"""One host over libvirt: disk images, looked at and copied by the host itself, wherever it is."""

import hashlib
import time
from pathlib import PurePosixPath

import libvirt

from broker.drivers.hypervisor import passing_pools, storage_xml
from broker.drivers.hypervisor.connection import translated
from broker.drivers.hypervisor.interface import (
    HostFile,
    HypervisorError,
    ImageFacts,
    VolumeFacts,
    VolumeMissing,
    VolumeName,
)
from broker.drivers.hypervisor.libvirt_storage import QCOW2_MAGIC, LibvirtStorage, refresh

HEADER_BYTES = 80
EXTERNAL_DATA = 1 << 2
TRIES = 5
# What libvirt's storage says to one of two who copy to the same target at the same time.
OVERTAKEN = {
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_NO_STORAGE_POOL,
    libvirt.VIR_ERR_NO_STORAGE_VOL,
    libvirt.VIR_ERR_OPERATION_INVALID,
}


class LibvirtImages(LibvirtStorage):
    """The images of one host."""

    @translated
    def inspect_image(self, source: VolumeName | HostFile) -> ImageFacts:
        """What an image is, as libvirt and its own header say."""
        path = self._file(source)
        with passing_pools.reading(self._host, path.parent) as pool:
            volume = _require_file(pool, path)
            xml = volume.XMLDesc(0)
            facts = storage_xml.volume_facts(xml)
            if facts.format == "qcow2":
                _refuse_unfit_header(path, b"".join(self._pieces(volume, HEADER_BYTES)))
            return ImageFacts(
                format=facts.format,
                capacity_bytes=facts.capacity_bytes,
                length_bytes=storage_xml.length_bytes(xml),
                backing_path=_real_path(facts.backing_path, pool, path.parent),
            )

    @translated
    def copy_image(self, source: VolumeName | HostFile, target: VolumeName) -> VolumeFacts:
        """A whole qcow2 copy that stands on nothing; a whole one that is there is used again."""
        image = self.inspect_image(source)
        tries_left = TRIES
        while True:
            tries_left -= 1
            try:
                facts = self._copy(self._file(source), target)
                break
            except libvirt.libvirtError as error:
                overtaken = (
                    error.get_error_domain() == libvirt.VIR_FROM_STORAGE and error.get_error_code() in OVERTAKEN
                )
                if not overtaken or not tries_left:
                    raise
                time.sleep(0.5)
        if (facts.format, facts.backing_path, facts.capacity_bytes) != ("qcow2", None, image.capacity_bytes):
            raise HypervisorError(f"The volume {target.name} exists and is not a copy of {self._file(source)}.")
        return facts

    @translated
    def checksum(self, volume: VolumeName) -> str:
        """The SHA-256 of the volume's bytes as they are stored, in hexadecimal digits."""
        digest = hashlib.sha256()
        for piece in self._pieces(self._require_volume(volume)):
            digest.update(piece)
        return digest.hexdigest()

    def _copy(self, source: PurePosixPath, target: VolumeName) -> VolumeFacts:
        path = PurePosixPath(self.path(target))
        with passing_pools.writing(self._host, path) as pool:
            copy = passing_pools.find(pool, path.name)
            # libvirt seals a copy when it is whole, so one that can be written has broken off.
            if copy is not None and not storage_xml.is_sealed(copy.XMLDesc(0)):
                copy.delete(0)
                copy = None
            if copy is None:
                with passing_pools.reading(self._host, source.parent) as folder:
                    pool.createXMLFrom(storage_xml.copied_volume(path.name), _require_file(folder, source), 0)
        # The real storage pool may have seen what broke off, and would go on to report it.
        refresh(self._host.storagePoolLookupByName(target.storage_pool))
        return storage_xml.volume_facts(self._require_volume(target).XMLDesc(0))

    def _file(self, source: VolumeName | HostFile) -> PurePosixPath:
        """Where the image is on the host."""
        if isinstance(source, VolumeName):
            return PurePosixPath(self.path(source))
        path = PurePosixPath(source.path)
        if not path.is_absolute() or ".." in path.parts or not path.name:
            raise HypervisorError(f"{source.path!r} is not the whole path of a file.")
        return path


def _require_file(pool: libvirt.virStoragePool, path: PurePosixPath) -> libvirt.virStorageVol:
    volume = passing_pools.find(pool, path.name)
    if volume is None:
        raise VolumeMissing(f"The host has no file {path}.")
    if volume.info()[0] != libvirt.VIR_STORAGE_VOL_FILE:
        raise HypervisorError(f"{path} is not a file.")
    return volume


def _real_path(path: str | None, pool: libvirt.virStoragePool, folder: PurePosixPath) -> str | None:
    """A path that libvirt made relative to the passing pool's, by the folder's usual path."""
    passing = f"{storage_xml.target_path(pool.XMLDesc(0))}/"
    if path is None or not path.startswith(passing):
        return path
    return str(folder / path.removeprefix(passing))


def _refuse_unfit_header(path: PurePosixPath, header: bytes) -> None:
    """What libvirt does not tell: the data is encrypted, or in another file."""
    if len(header) < 72 or header[:4] != QCOW2_MAGIC:
        raise HypervisorError(f"{path} is not a whole qcow2 image.")
    version = int.from_bytes(header[4:8], "big")
    if int.from_bytes(header[32:36], "big"):
        raise HypervisorError(f"{path} is encrypted.")
    if version >= 3 and int.from_bytes(header[72:80], "big") & EXTERNAL_DATA:
        raise HypervisorError(f"{path} keeps its data in another file.")
