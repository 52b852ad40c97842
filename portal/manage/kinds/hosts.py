"""Hosts: the machines that run VMs."""

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from broker import access
from broker.models import Cluster, Host, VirtualMachine
from broker.operations import hosts
from broker.states import HostStatus
from portal.manage.cells import NOTHING, Column, mebibytes, meter, status
from portal.manage.inventory_forms import HostForm
from portal.manage.properties import CHOICE, MOMENT, NUMBER, TEXT
from portal.manage.query import quoted
from portal.manage.resource import Action, Resource, Tab, counted, each, removed
from portal.manage.shared import PERMISSIONS, events_tab


def accepted(count: int) -> str:
    return ngettext(
        "The order for %(count)s host was accepted; its status follows.",
        "The orders for %(count)s hosts were accepted; their status follows.",
        count,
    ) % {"count": count}


def why_not_activated(host: Any) -> str | None:
    if host.status in (HostStatus.UP, HostStatus.ACTIVATING):
        return _("%(host)s is up or being activated already.") % {"host": host}
    return None


def why_not_maintained(host: Any) -> str | None:
    if host.status in (HostStatus.MAINTENANCE, HostStatus.PREPARING):
        return _("%(host)s is in maintenance or being prepared for it already.") % {"host": host}
    return None


def why_not_removed(host: Any) -> str | None:
    return (
        None
        if host.status == HostStatus.MAINTENANCE
        else _("%(host)s must be in maintenance first.") % {"host": host}
    )


def memory_cell(host: Any) -> Any:
    if not host.memory_mib:
        return NOTHING
    words = {
        "used": mebibytes(host.memory_used_mib) if host.memory_used_mib else "0",
        "total": mebibytes(host.memory_mib),
    }
    return meter(host.memory_used_mib, host.memory_mib, _("%(used)s of %(total)s") % words)


def cpu_cell(host: Any) -> Any:
    return _percent(host.cpu_busy_percent)


def pressure_cell(host: Any) -> Any:
    return _percent(host.pressure_percent)


def _percent(value: int | None) -> Any:
    return NOTHING if value is None else meter(value, 100, _("%(percent)s %%") % {"percent": value})


def storage_of(host: Any, user: Any) -> dict[str, Any]:
    return {
        "on_hosts": list(
            host.storage_pools_on_host.select_related("storage_pool", "host").order_by("storage_pool__name")
        )
    }


class Hosts(Resource):
    """The list of hosts."""

    kind = "hosts"
    title = gettext_lazy("Hosts")
    icon = "hard-drive"
    model = Host
    example = gettext_lazy("status = up and cluster = Default")
    select_one = gettext_lazy("Select one host.")
    select_some = gettext_lazy("Select at least one host.")
    new_form = edit_form = HostForm
    edit_permission = "manage_hosts"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("status", gettext_lazy("Status"), type=CHOICE, choices=HostStatus.choices, draw=status),
        Column("cluster", gettext_lazy("Cluster"), "cluster.name", TEXT),
        Column("vms", gettext_lazy("VMs"), "vm_count", NUMBER, number=True),
        Column("cpu", gettext_lazy("CPU"), "cpu_busy_percent", NUMBER, draw=cpu_cell),
        Column("pressure", gettext_lazy("Pressure"), "pressure_percent", NUMBER, draw=pressure_cell, shown=False),
        Column("memory", gettext_lazy("Memory used"), "memory_used_mib", NUMBER, draw=memory_cell),
        Column("acceleration", gettext_lazy("Acceleration"), type=TEXT),
        Column("status_reason", gettext_lazy("Reason"), type=TEXT),
        Column("display_address", gettext_lazy("Display address"), type=TEXT, shown=False),
        Column("uri", gettext_lazy("libvirt URI"), type=TEXT, shown=False),
        Column("data_center", gettext_lazy("Data center"), "cluster.data_center.name", TEXT, shown=False),
        Column("description", gettext_lazy("Description"), type=TEXT, shown=False),
        Column("comment", gettext_lazy("Comment"), type=TEXT, shown=False),
        Column("last_seen_at", gettext_lazy("Last seen"), type=MOMENT, shown=False),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/host.html"),
        Tab(
            "vms",
            gettext_lazy("Virtual Machines"),
            kind="vms",
            narrow=lambda rows, row: rows.filter(host=row.pk),
            query=lambda row: f"host = {quoted(row.name)}",
        ),
        Tab("storage", gettext_lazy("Storage"), "manage/tabs/on_hosts.html", storage_of),
        PERMISSIONS,
        events_tab("host_id"),
    )
    actions = (
        Action(
            "activate",
            gettext_lazy("Activate"),
            each(hosts.activate, "host", accepted),
            "manage_hosts",
            "power",
            possible=why_not_activated,
        ),
        Action(
            "maintain",
            gettext_lazy("Maintenance"),
            each(hosts.maintain, "host", accepted),
            "manage_hosts",
            "wrench",
            possible=why_not_maintained,
            question=counted(
                ngettext_lazy(
                    "Put this host into maintenance?", "Put these %(count)s hosts into maintenance?", "count"
                )
            ),
            consequence=gettext_lazy(
                "Nothing starts there any more and prestarted VMs are ended. "
                "Desktops in use stay until they are returned."
            ),
        ),
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(hosts.remove, "host", removed),
            "manage_hosts",
            "trash-2",
            possible=why_not_removed,
            question=counted(ngettext_lazy("Remove this host?", "Remove these %(count)s hosts?", "count")),
            danger=True,
            leaves=True,
        ),
    )

    def detailed(self, rows: Any) -> Any:
        there = VirtualMachine.objects.filter(host=OuterRef("pk")).order_by().values("host")
        vms = Subquery(there.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
        reserved = Subquery(there.annotate(n=Sum("memory_mib")).values("n"), output_field=IntegerField())
        return rows.select_related("cluster__data_center").annotate(
            vm_count=Coalesce(vms, Value(0)), reserved_mib=Coalesce(reserved, Value(0))
        )

    def may_create(self, user: Any) -> bool:
        return access.can_anywhere(user, "manage_hosts", Cluster)
