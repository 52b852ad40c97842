"""Clusters: hosts among which VMs may move."""

from typing import Any

from django.db.models import Count, Q
from django.utils.translation import gettext_lazy, ngettext_lazy

from broker import access
from broker.models import Cluster, DataCenter
from broker.operations import clusters
from broker.states import HostStatus, MigrationPolicy
from portal.manage.cells import Column
from portal.manage.inventory_forms import ClusterForm
from portal.manage.properties import CHOICE, NUMBER, SWITCH, TEXT
from portal.manage.query import quoted
from portal.manage.resource import Action, Resource, Tab, counted, each, removed
from portal.manage.shared import PERMISSIONS, events_tab


class Clusters(Resource):
    """The list of clusters."""

    kind = "clusters"
    title = gettext_lazy("Clusters")
    icon = "boxes"
    model = Cluster
    example = gettext_lazy("data_center = Main and hosts > 1")
    select_one = gettext_lazy("Select one cluster.")
    select_some = gettext_lazy("Select at least one cluster.")
    new_form = edit_form = ClusterForm
    edit_permission = "manage_clusters"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("data_center", gettext_lazy("Data center"), "data_center.name", TEXT),
        Column("hosts", gettext_lazy("Hosts"), "host_count", NUMBER, number=True),
        Column("hosts_up", gettext_lazy("Hosts up"), "up_count", NUMBER, number=True),
        Column("pools", gettext_lazy("Pools"), "pool_count", NUMBER, number=True),
        Column("migration_policy", gettext_lazy("Migration policy"), type=CHOICE, choices=MigrationPolicy.choices),
        Column("spice_proxy", gettext_lazy("SPICE proxy"), type=TEXT),
        Column("allow_plain_spice", gettext_lazy("Unencrypted displays"), type=SWITCH, shown=False),
        Column("description", gettext_lazy("Description"), type=TEXT),
        Column("comment", gettext_lazy("Comment"), type=TEXT, shown=False),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/facts.html"),
        Tab(
            "hosts",
            gettext_lazy("Hosts"),
            kind="hosts",
            narrow=lambda rows, row: rows.filter(cluster=row.pk),
            query=lambda row: f"cluster = {quoted(row.name)}",
        ),
        Tab(
            "pools",
            gettext_lazy("Pools"),
            kind="pools",
            narrow=lambda rows, row: rows.filter(cluster=row.pk),
            query=lambda row: f"cluster = {quoted(row.name)}",
        ),
        Tab(
            "vms",
            gettext_lazy("Virtual Machines"),
            kind="vms",
            narrow=lambda rows, row: rows.filter(cluster=row.pk),
            query=lambda row: f"cluster = {quoted(row.name)}",
        ),
        PERMISSIONS,
        events_tab("subject_id"),
    )
    actions = (
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(clusters.remove, "cluster", removed),
            "manage_clusters",
            "trash-2",
            question=counted(ngettext_lazy("Remove this cluster?", "Remove these %(count)s clusters?", "count")),
            danger=True,
            leaves=True,
        ),
    )

    def detailed(self, rows: Any) -> Any:
        return rows.select_related("data_center").annotate(
            host_count=Count("hosts", distinct=True),
            up_count=Count("hosts", distinct=True, filter=Q(hosts__status=HostStatus.UP)),
            pool_count=Count("pools", distinct=True),
        )

    def may_create(self, user: Any) -> bool:
        return access.can_anywhere(user, "manage_clusters", DataCenter)
