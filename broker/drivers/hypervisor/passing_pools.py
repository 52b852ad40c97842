"""Storage pools that exist only while an image is looked at or copied.

They open folders that are no storage pool. And libvirt refreshes no storage pool while an image is copied from it
or into it: a copy through the real one would keep all desktops on it waiting. libvirt allows one storage pool a
path but compares letters, and `/srv/fast/.` is the same folder as `/srv/fast`.
"""

import contextlib
import errno
import hashlib
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import PurePosixPath

import libvirt

from broker.drivers.hypervisor import storage_xml
from broker.drivers.hypervisor.interface import HypervisorError, StoragePoolSpec, VolumeMissing
from broker.drivers.hypervisor.libvirt_storage import refresh

READING = "hotdesk-reading-{second}-{number}"
WRITING = "hotdesk-writing-{digest}"
PATHS = 50  # so many passing pools may be in one folder at the same time
LEFTOVER_SECONDS = 3600
COPY_SECONDS = 6 * 3600.0


@contextlib.contextmanager
def reading(host: libvirt.virConnect, folder: PurePosixPath) -> Iterator[libvirt.virStoragePool]:
    """A storage pool of the caller's own in the folder, with all that is there now."""
    _end_leftovers(host)
    pool = _open(host, READING.format(second=int(time.time()), number=uuid.uuid4().hex), folder)
    try:
        yield pool
    finally:
        _end(pool)


@contextlib.contextmanager
def writing(host: libvirt.virConnect, file: PurePosixPath) -> Iterator[libvirt.virStoragePool]:
    """The storage pool of all who make this very file: it opens when nobody on this host is making it.

    The daemon goes on with the copy of a worker that was killed, so this may be a long wait.
    """
    pool = _open(host, WRITING.format(digest=hashlib.sha256(bytes(file)).hexdigest()), file.parent)
    try:
        refresh(pool, COPY_SECONDS)
        yield pool
    finally:
        _end(pool)


def find(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    """The volume, if the storage pool lists it."""
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        return None


def _open(host: libvirt.virConnect, name: str, folder: PurePosixPath) -> libvirt.virStoragePool:
    """The storage pool of this name, made in the folder where needed."""
    for number in range(1, PATHS + 1):
        with contextlib.suppress(libvirt.libvirtError):
            return host.storagePoolLookupByName(name)
        spec = StoragePoolSpec(name, "dir", f"{folder}{number * '/.'}")
        try:
            return host.storagePoolCreateXML(storage_xml.storage_pool(spec), 0)
        except libvirt.libvirtError as error:
            if error.get_int1() in (errno.ENOENT, errno.ENOTDIR):
                raise VolumeMissing(f"The host has no folder {folder}.") from error
            if error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR:
                # libvirt gives no reason when the header of any image in the folder is incomplete.
                raise HypervisorError(f"The host cannot list {folder}; an image in it may be cut short.") from error
            taken = error.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED  # the path, or now the name
            if not taken:
                raise
    raise HypervisorError(f"Too many images in {folder} are looked at or copied at the same time.")


def _end(pool: libvirt.virStoragePool) -> None:
    """The files stay. libvirt refuses while somebody copies, who ends it afterwards."""
    with contextlib.suppress(libvirt.libvirtError):
        pool.destroy()


def _end_leftovers(host: libvirt.virConnect) -> None:
    """A killed worker leaves its storage pool behind, where it does no harm."""
    for pool in host.listAllStoragePools(0):
        began = re.match(READING.format(second=r"(\d+)", number=""), pool.name())
        if began and int(began[1]) < time.time() - LEFTOVER_SECONDS:
            _end(pool)
