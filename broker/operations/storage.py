"""Storage pools: add and remove them, make them reachable on every host, and delete volumes that nobody needs."""

import logging
import time
from typing import Any

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import grants, jobs, leases
from broker.drivers.hypervisor import Hypervisor, HypervisorError, VolumeFacts, VolumeName
from broker.drivers.hypervisor.config_drive import OF_CENTRAL_DATA, for_central_data
from broker.errors import Conflict, Invalid
from broker.models import DataCenter, Host, Pool, StoragePool, StoragePoolOnHost, VirtualMachine
from broker.models.vms import CLEAN
from broker.operations import edits
from broker.states import WORKING

log = logging.getLogger(__name__)

BATCH = 100
CLEARING = "clear config drives"
CLEARING_SECONDS = 10


@transaction.atomic
def create(
    *,
    data_center: DataCenter,
    name: str,
    target_path: str,
    description: str = "",
    comment: str = "",
    by: Any = None,
) -> StoragePool:
    """A directory that every host of the data center reaches under the same path."""
    edits.require_name(name, StoragePool.objects.filter(data_center=data_center))
    if "/" in name:
        raise Invalid(_("The name of a storage pool cannot hold '/'."), field="name")
    if not target_path.startswith("/") or any(ord(c) < 32 for c in target_path):
        raise Invalid(_("Give the whole path of a folder on the hosts."), field="target_path")
    pool = StoragePool.objects.create(
        data_center=data_center, name=name, target_path=target_path, description=description, comment=comment
    )
    edits.record("created", pool, by=by)
    for host in Host.objects.filter(cluster__data_center=data_center, status__in=WORKING):
        jobs.later("broker.monitor_host", host.pk)
    return pool


@transaction.atomic
def change(
    *, storage_pool: StoragePool, changes: dict[str, Any], expected: dict[str, Any] | None = None, by: Any = None
) -> None:
    """Change its words; hosts know it by its name and path, which stay."""
    storage_pool = edits.lock(storage_pool)
    fixed = [
        name
        for name in ("name", "target_path")
        if changes.get(name, getattr(storage_pool, name)) != getattr(storage_pool, name)
    ]
    if fixed:
        raise Invalid.fields(
            [(name, _("Hosts know the storage pool by this; it cannot be changed.")) for name in fixed]
        )
    changed = edits.apply(storage_pool, changes, expected=expected)
    if changed:
        edits.record("changed", storage_pool, by=by, fields=", ".join(changed))


@transaction.atomic
def remove(*, storage_pool: StoragePool, by: Any) -> None:
    """Forget a storage pool without volumes of ours; nothing in the folder is touched."""
    storage_pool = edits.lock(storage_pool)
    volumes = list(storage_pool.volumes.order_by("name").values_list("name", flat=True)[:10])
    if volumes:
        text = _("%(name)s still holds volumes: %(names)s.")
        raise Conflict(text % {"name": storage_pool, "names": ", ".join(volumes)}, code="IN_USE")
    edits.record("removed", storage_pool, by=by)
    grants.forget(storage_pool)
    storage_pool.delete()


# -- in a worker -----------------------------------------------------------------------------------


def make_reachable_on_host(*, host: Host, driver: Hypervisor) -> list[StoragePool]:
    """See that the host has every storage pool of its data center, and write down how full they are."""
    pools = list(StoragePool.objects.filter(data_center=host.cluster.data_center_id).order_by("pk"))
    for pool in pools:
        seen = driver.ensure_storage_pool(pool.spec())
        StoragePoolOnHost.objects.update_or_create(
            storage_pool=pool,
            host=host,
            defaults={
                "active": True,
                "capacity_bytes": seen.capacity_bytes,
                "allocation_bytes": seen.allocation_bytes,
                "available_bytes": seen.available_bytes,
                "seen_at": timezone.now(),
            },
        )
    return pools


def kept_by(host: Host) -> QuerySet[StoragePool]:
    """The storage pools in which this host tidies up: one of those that reach a pool does it for all of them."""
    reach = StoragePoolOnHost.objects.filter(storage_pool=OuterRef("pk"), active=True, host__status__in=WORKING)
    keeper = reach.order_by("host_id").values("host_id")[:1]
    return StoragePool.objects.annotate(keeper=Subquery(keeper)).filter(keeper=host.pk)


def delete_doomed_on_host(*, pool: StoragePool, driver: Hypervisor) -> None:
    """Delete the volumes that nobody needs any more, and their rows once they are gone."""
    doomed = pool.volumes.filter(doomed_at__isnull=False)
    for volume in doomed.order_by("doomed_at", "pk")[:BATCH]:
        if volume.overlays.exists():
            continue  # what stands on it goes first
        try:
            driver.delete_volume(volume.address())
        except HypervisorError as error:
            log.warning("%s: %s", volume, error)
            continue
        volume.delete()


def clear_config_drives_on_host(*, driver: Hypervisor, pool: StoragePool, found: list[VolumeFacts]) -> None:
    """Delete the config drives among the volumes that tell a location no pool has any more, and no run was told.

    A run is written down before its drive is looked for. Whoever looks waits while drives are deleted, so either the
    run is seen here, or it meets no drive any more and writes its own.
    """
    drives = {volume.name for volume in found if OF_CENTRAL_DATA.fullmatch(volume.name)}
    if not drives - _wanted_drives():
        return
    with leases.kept(CLEARING, seconds=CLEARING_SECONDS) as mine:
        for name in sorted(drives - _wanted_drives()) if mine else ():
            try:
                driver.delete_volume(VolumeName(pool.name, name))
            except HypervisorError as error:
                log.warning("%s: %s", name, error)


def wait_for_clearing() -> None:
    """Return when nobody deletes config drives; whoever died over it is waited for until his term is over."""
    while leases.is_held(CLEARING):
        time.sleep(0.02)


def _wanted_drives() -> set[str]:
    rows = (Pool.objects.all(), VirtualMachine.objects.exclude(CLEAN))
    told = [table.exclude(central_data="").values_list("central_data", flat=True).distinct() for table in rows]
    return {for_central_data(location).name for locations in told for location in locations}
