"""Storage: where disks live."""

from typing import Any

from django.db.models import BigIntegerField, Count, Max, OuterRef, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from broker import access
from broker.models import DataCenter, StoragePool, StoragePoolOnHost, Volume
from broker.operations import storage
from portal.manage.cells import NOTHING, Column, meter, size
from portal.manage.inventory_forms import StorageForm
from portal.manage.properties import NUMBER, TEXT
from portal.manage.resource import Action, Resource, Tab, counted, each, removed
from portal.manage.shared import PERMISSIONS, events_tab

MOST = 200


def used_cell(pool: Any) -> Any:
    if not pool.capacity:
        return NOTHING
    used = pool.capacity - (pool.available or 0)
    return meter(used, pool.capacity, _("%(used)s of %(total)s") % {"used": size(used), "total": size(pool.capacity)})


def hosts_of(pool: Any, user: Any) -> dict[str, Any]:
    return {"on_hosts": list(pool.on_hosts.select_related("host", "storage_pool").order_by("host__name"))}


def volumes_of(pool: Any, user: Any) -> dict[str, Any]:
    """Base images and disks, and how many disks stand on each."""
    rows = pool.volumes.select_related("backing").annotate(overlay_count=Count("overlays")).order_by("name")
    return {"volumes": list(rows[:MOST])}


def _one(rows: Any) -> Coalesce:
    return Coalesce(Subquery(rows.values("n"), output_field=BigIntegerField()), Value(0))


class Storage(Resource):
    """The list of storage pools."""

    kind = "storage"
    title = gettext_lazy("Storage")
    icon = "database"
    model = StoragePool
    select_one = gettext_lazy("Select one storage.")
    select_some = gettext_lazy("Select at least one storage.")
    new_form = edit_form = StorageForm
    edit_permission = "manage_storage"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("data_center", gettext_lazy("Data center"), "data_center.name", TEXT),
        Column("path", gettext_lazy("Path"), "target_path", TEXT),
        Column("used", gettext_lazy("Used"), "capacity", NUMBER, draw=used_cell),
        Column("bases", gettext_lazy("Base images"), "base_count", NUMBER, number=True),
        Column("disks", gettext_lazy("Disks"), "disk_count", NUMBER, number=True),
        Column(
            "promised",
            gettext_lazy("Promised to disks"),
            "disk_bytes",
            NUMBER,
            number=True,
            draw=lambda pool: size(pool.disk_bytes),
        ),
        Column("hosts", gettext_lazy("Active on hosts"), "host_count", NUMBER, number=True),
        Column("description", gettext_lazy("Description"), type=TEXT),
        Column("comment", gettext_lazy("Comment"), type=TEXT, shown=False),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/facts.html"),
        Tab("hosts", gettext_lazy("Hosts"), "manage/tabs/on_hosts.html", hosts_of),
        Tab("volumes", gettext_lazy("Volumes"), "manage/tabs/volumes.html", volumes_of),
        PERMISSIONS,
        events_tab("subject_id"),
    )
    actions = (
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(storage.remove, "storage_pool", removed),
            "manage_storage",
            "trash-2",
            question=counted(ngettext_lazy("Remove this storage?", "Remove these %(count)s storages?", "count")),
            consequence=gettext_lazy("Nothing in the folder is touched."),
            danger=True,
            leaves=True,
        ),
    )

    def detailed(self, rows: Any) -> Any:
        # Each in a subquery of its own: joins of hosts and volumes would multiply one another.
        on_hosts = StoragePoolOnHost.objects.filter(storage_pool=OuterRef("pk")).order_by().values("storage_pool")
        volumes = Volume.objects.filter(storage_pool=OuterRef("pk")).order_by().values("storage_pool")
        disks = volumes.filter(purpose=Volume.Purpose.DISK)
        return rows.select_related("data_center").annotate(
            capacity=_one(on_hosts.annotate(n=Max("capacity_bytes"))),
            available=_one(on_hosts.annotate(n=Max("available_bytes"))),
            host_count=_one(on_hosts.filter(active=True).annotate(n=Count("pk"))),
            base_count=_one(volumes.filter(purpose=Volume.Purpose.BASE).annotate(n=Count("pk"))),
            disk_count=_one(disks.annotate(n=Count("pk"))),
            disk_bytes=_one(disks.annotate(n=Sum("capacity_bytes"))),
        )

    def may_create(self, user: Any) -> bool:
        return access.can_anywhere(user, "manage_storage", DataCenter)
