"""Data centers: the outermost containers."""

from typing import Any

from django.db.models import Count
from django.utils.translation import gettext_lazy, ngettext_lazy

from broker import access
from broker.models import DataCenter
from broker.operations import data_centers
from portal.manage.cells import Column
from portal.manage.inventory_forms import DataCenterForm
from portal.manage.properties import NUMBER, TEXT
from portal.manage.resource import Action, Resource, Tab, counted, each, removed
from portal.manage.shared import PERMISSIONS, events_tab


class DataCenters(Resource):
    """The list of data centers."""

    kind = "data-centers"
    title = gettext_lazy("Data Centers")
    icon = "server"
    model = DataCenter
    select_one = gettext_lazy("Select one data center.")
    select_some = gettext_lazy("Select at least one data center.")
    new_form = edit_form = DataCenterForm
    edit_permission = "manage_data_centers"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("clusters", gettext_lazy("Clusters"), "cluster_count", NUMBER, number=True),
        Column("storage", gettext_lazy("Storage"), "storage_count", NUMBER, number=True),
        Column("templates", gettext_lazy("Templates"), "template_count", NUMBER, number=True),
        Column("description", gettext_lazy("Description"), type=TEXT),
        Column("comment", gettext_lazy("Comment"), type=TEXT, shown=False),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/facts.html"),
        Tab(
            "clusters",
            gettext_lazy("Clusters"),
            kind="clusters",
            narrow=lambda rows, row: rows.filter(data_center=row.pk),
        ),
        Tab(
            "storage",
            gettext_lazy("Storage"),
            kind="storage",
            narrow=lambda rows, row: rows.filter(data_center=row.pk),
        ),
        Tab(
            "templates",
            gettext_lazy("Templates"),
            kind="templates",
            narrow=lambda rows, row: rows.filter(data_center=row.pk),
        ),
        PERMISSIONS,
        events_tab("subject_id"),
    )
    actions = (
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(data_centers.remove, "data_center", removed),
            "manage_data_centers",
            "trash-2",
            question=counted(
                ngettext_lazy("Remove this data center?", "Remove these %(count)s data centers?", "count")
            ),
            danger=True,
            leaves=True,
        ),
    )

    def detailed(self, rows: Any) -> Any:
        return rows.annotate(
            cluster_count=Count("clusters", distinct=True),
            storage_count=Count("storage_pools", distinct=True),
            template_count=Count("templates", distinct=True),
        )

    def may_create(self, user: Any) -> bool:
        return access.everywhere(user, "manage_data_centers")
