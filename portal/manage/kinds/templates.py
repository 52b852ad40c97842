"""Templates, and their versions, which are listed with the template they belong to."""

from typing import Any

from django.db.models import Count, IntegerField, Max, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from broker import access
from broker.models import DataCenter, Pool, Template, TemplateVersion
from broker.operations import templates
from broker.states import OptimizedFor, VersionState
from portal.manage.cells import Column, mebibytes, size, state
from portal.manage.inventory_forms import EditTemplate, ImportTemplate
from portal.manage.properties import CHOICE, MOMENT, NUMBER, TEXT, Property
from portal.manage.query import quoted
from portal.manage.resource import SEE, Action, Resource, Tab, counted, each, removed
from portal.manage.shared import PERMISSIONS, events_tab

READY = Q(versions__state=VersionState.READY)


class Templates(Resource):
    """The list of templates."""

    kind = "templates"
    title = gettext_lazy("Templates")
    icon = "copy"
    model = Template
    select_one = gettext_lazy("Select one template.")
    select_some = gettext_lazy("Select at least one template.")
    new_form = ImportTemplate
    new_label = gettext_lazy("Import")
    edit_form = EditTemplate
    edit_permission = "manage_templates"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("latest", gettext_lazy("Latest version"), "latest_number", NUMBER, number=True),
        Column("versions", gettext_lazy("Versions"), "version_count", NUMBER, number=True),
        Column("operating_system", gettext_lazy("Operating System"), type=TEXT),
        Column("optimized_for", gettext_lazy("Optimized for"), type=CHOICE, choices=OptimizedFor.choices),
        Column("pools", gettext_lazy("Pools"), "pool_count", NUMBER, number=True),
        Column("data_center", gettext_lazy("Data center"), "data_center.name", TEXT),
        Column("description", gettext_lazy("Description"), type=TEXT),
        Column("comment", gettext_lazy("Comment"), type=TEXT, shown=False),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/facts.html"),
        Tab(
            "versions",
            gettext_lazy("Versions"),
            kind="template-versions",
            narrow=lambda rows, row: rows.filter(template=row.pk),
            columns=("number", "state", "memory_mib", "vcpus", "pools", "vms", "checksum", "published_at"),
            actions=("remove",),
        ),
        Tab(
            "pools",
            gettext_lazy("Pools"),
            kind="pools",
            narrow=lambda rows, row: rows.filter(template=row.pk),
            query=lambda row: f"template = {quoted(row.name)}",
        ),
        Tab(
            "vms",
            gettext_lazy("Virtual Machines"),
            kind="vms",
            narrow=lambda rows, row: rows.filter(template_version__template=row.pk),
            query=lambda row: f"template_version = {quoted(row.name)}",
        ),
        PERMISSIONS,
        events_tab("subject_id"),
        Tab("jobs", gettext_lazy("Jobs"), kind="jobs", narrow=lambda rows, row: rows.filter(template=row.pk)),
    )
    actions = (
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(templates.remove, "template", removed),
            "manage_templates",
            "trash-2",
            question=counted(ngettext_lazy("Remove this template?", "Remove these %(count)s templates?", "count")),
            consequence=gettext_lazy("All its versions and their images are deleted."),
            danger=True,
            leaves=True,
        ),
    )

    def detailed(self, rows: Any) -> Any:
        return rows.select_related("data_center").annotate(
            latest_number=Max("versions__number", filter=READY),
            version_count=Count("versions", distinct=True),
            pool_count=Count("pools", distinct=True),
        )

    def may_create(self, user: Any) -> bool:
        return access.can_anywhere(user, "manage_templates", DataCenter)


class TemplateVersions(Resource):
    """All versions of all templates; reached from a template."""

    kind = "template-versions"
    title = gettext_lazy("Template Versions")
    icon = "copy"
    model = TemplateVersion
    in_navigation = False
    order = "template"
    named = "template"
    example = gettext_lazy("state = ready sortby number desc")
    select_one = gettext_lazy("Select one version.")
    select_some = gettext_lazy("Select at least one version.")
    columns = (
        Column("template", gettext_lazy("Template"), "template.name", TEXT, read=str),
        Column("number", gettext_lazy("Number"), type=NUMBER, number=True),
        Column("state", gettext_lazy("State"), type=CHOICE, choices=VersionState.choices, draw=state),
        Column("memory_mib", gettext_lazy("Memory"), type=NUMBER, draw=lambda row: mebibytes(row.memory_mib)),
        Column("vcpus", gettext_lazy("vCPUs"), type=NUMBER, number=True),
        Column("pools", gettext_lazy("Pools"), "pool_count", NUMBER, number=True),
        Column("vms", gettext_lazy("VMs"), "vm_count", NUMBER, number=True),
        Column(
            "size",
            gettext_lazy("Size"),
            "volume.capacity_bytes",
            NUMBER,
            draw=lambda row: size(row.volume.capacity_bytes),
        ),
        Column("checksum", gettext_lazy("Checksum"), type=TEXT),
        Column("published_at", gettext_lazy("Published"), type=MOMENT),
    )
    properties = (Property("source", "source", TEXT, gettext_lazy("Source")),)
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/version.html"),
        Tab(
            "vms",
            gettext_lazy("Virtual Machines"),
            kind="vms",
            narrow=lambda rows, row: rows.filter(template_version=row.pk),
        ),
    )
    actions = (
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(templates.remove_version, "version", removed),
            "manage_templates",
            "trash-2",
            possible=lambda row: (
                _("%(version)s is used.") % {"version": row} if row.pool_count or row.vm_count else None
            ),
            question=counted(ngettext_lazy("Remove this version?", "Remove these %(count)s versions?", "count")),
            consequence=gettext_lazy("Its image is deleted."),
            danger=True,
            leaves=True,
        ),
    )

    def visible(self, user: Any) -> Any:
        return TemplateVersion.objects.filter(template__in=access.visible(user, Template, SEE))

    def detailed(self, rows: Any) -> Any:
        fixed = Pool.objects.filter(template_version=OuterRef("pk")).order_by().values("template_version")
        pools = Subquery(fixed.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
        return rows.select_related("template", "volume").annotate(
            vm_count=Count("vms", distinct=True), pool_count=Coalesce(pools, Value(0))
        )

    def may(self, user: Any, permission: str, rows: list[Any]) -> bool:
        owners = {row.template_id for row in rows}
        return access.visible(user, Template, permission).filter(pk__in=owners).count() == len(owners)
