"""The part of a form that New Pool and New Virtual Machine share (R062, R072), and what both do with a template."""

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker import access
from broker.models import Cluster, Host, MachineSettings, Template, TemplateVersion
from broker.models.machines import MAX_USB_FILTER
from broker.states import (
    ColorDepth,
    Effect,
    Inherit,
    MigrationMode,
    MigrationPolicy,
    NumaTuneMode,
    OptimizedFor,
    StartRunningOn,
    VersionState,
)
from portal.manage import forms as base
from portal.manage.forms import ManageForm, Need, Section
from portal.manage.resource import SEE
from portal.manage.widgets import DataCheckboxes, DataSelect, NumaPinning

FROM_TEMPLATE = ("operating_system", "optimized_for", "memory_mib", "vcpus")
LATEST = gettext_lazy("Latest")
NOT_LATER = gettext_lazy("This cannot be changed later.")

CONSOLE = (
    ("", ("clipboard", "file_transfer", "smartcard", "usb_filter")),
    (
        gettext_lazy("Unless users choose otherwise"),
        ("fullscreen", "remap_ctrl_alt_del", "usb_autoshare", "color_depth", "disabled_effects"),
    ),
)
HOST = Section(
    "host",
    gettext_lazy("Host"),
    (
        ("", ("start_running_on", "hosts")),
        (
            gettext_lazy("Migration Options"),
            (
                "migration_mode",
                "custom_migration_policy",
                "migration_policy",
                "custom_migration_downtime",
                "migration_downtime_ms",
                "auto_converge",
                "migrate_compressed",
                "host_cpu_passthrough",
            ),
        ),
        (gettext_lazy("Configure NUMA"), ("numa_node_count", "numa_tune_mode", "numa_pinning")),
    ),
    advanced=True,
)
LEGACY = "custom_migration_policy=on migration_policy=legacy | custom_migration_policy= cluster.policy=legacy"
ONLY_LEGACY = gettext_lazy("Only available when Legacy policy is selected.")


class MachineForm(ManageForm):
    """Fields of MachineSettings, with cluster, template and version."""

    cluster = forms.ModelChoiceField(
        Cluster.objects.none(), label=gettext_lazy("Cluster"), empty_label=None, widget=DataSelect
    )
    template = forms.ModelChoiceField(
        Template.objects.none(), label=gettext_lazy("Template"), empty_label=None, widget=DataSelect
    )
    template_version = forms.ChoiceField(
        label=gettext_lazy("Template version"),
        required=False,
        widget=DataSelect(attrs={"data-options-of": "template"}),
    )
    filled_from = forms.CharField(required=False, widget=forms.HiddenInput)
    operating_system = base.text(gettext_lazy("Operating System"), max_length=100)
    optimized_for = forms.ChoiceField(
        label=gettext_lazy("Optimized for"), choices=OptimizedFor.choices, required=False
    )
    name = base.text(gettext_lazy("Name"), max_length=1000)
    description = base.text(gettext_lazy("Description"), max_length=base.MOST_TEXT)
    comment = base.text(gettext_lazy("Comment"), max_length=base.MOST_TEXT)
    memory_mib = base.number(gettext_lazy("Memory (MiB)"), required=False)
    vcpus = base.number(gettext_lazy("Virtual CPUs"), required=False)
    delete_protection = base.switch(gettext_lazy("Delete Protection"))
    clipboard = base.switch(gettext_lazy("Copy and paste between the desktop and the viewer"), initial=True)
    file_transfer = base.switch(gettext_lazy("Drag files into the desktop"), initial=True)
    smartcard = base.switch(gettext_lazy("Smart card reader"))
    usb_filter = base.text(
        gettext_lazy("USB filter"),
        max_length=MAX_USB_FILTER,
        help_text=gettext_lazy(
            "Rules class,vendor,product,version,allow joined by |, where -1 stands for any, such as "
            "8,-1,-1,-1,1|-1,-1,-1,-1,0 for storage alone. Blank leaves it to the viewer."
        ),
    )
    fullscreen = base.switch(gettext_lazy("Open in full screen"))
    remap_ctrl_alt_del = base.switch(gettext_lazy("Ctrl+Alt+End sends Ctrl+Alt+Del to the desktop"), initial=True)
    usb_autoshare = base.switch(gettext_lazy("Share USB devices when they are plugged in"), initial=True)
    color_depth = forms.ChoiceField(label=gettext_lazy("Colour depth"), choices=ColorDepth.choices, required=False)
    disabled_effects = forms.MultipleChoiceField(
        label=gettext_lazy("Left out on slow lines"),
        choices=Effect.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    start_running_on = forms.ChoiceField(
        label=gettext_lazy("Start Running On"), choices=StartRunningOn.choices, widget=forms.RadioSelect
    )
    hosts = forms.ModelMultipleChoiceField(
        Host.objects.none(),
        label=gettext_lazy("Hosts"),
        required=False,
        widget=DataCheckboxes(attrs={"data-options-of": "cluster"}),
    )
    migration_mode = forms.ChoiceField(label=gettext_lazy("Migration mode"), choices=MigrationMode.choices)
    custom_migration_policy = base.switch(gettext_lazy("Use custom migration policy"))
    migration_policy = forms.ChoiceField(
        label=gettext_lazy("Migration policy"), choices=MigrationPolicy.choices, required=False
    )
    custom_migration_downtime = base.switch(gettext_lazy("Use custom migration downtime"))
    migration_downtime_ms = base.number(
        gettext_lazy("Migration downtime (ms)"), required=False, help_text=gettext_lazy("0 leaves it to the host.")
    )
    auto_converge = forms.ChoiceField(
        label=gettext_lazy("Auto converge migrations"), choices=Inherit.choices, required=False
    )
    migrate_compressed = forms.ChoiceField(
        label=gettext_lazy("Enable migration compression"), choices=Inherit.choices, required=False
    )
    host_cpu_passthrough = base.switch(gettext_lazy("Pass-through host CPU"))
    numa_node_count = base.number(gettext_lazy("NUMA node count"), required=False)
    numa_tune_mode = forms.ChoiceField(label=gettext_lazy("Tune mode"), choices=NumaTuneMode.choices)
    numa_pinning = NumaPinning(
        label=gettext_lazy("NUMA pinning"),
        help_text=gettext_lazy("The host's nodes of each virtual node, as in “0; 1”."),
    )

    needs: ClassVar[dict[str, Need]] = {
        "smartcard": Need(
            "optimized_for=desktop",
            gettext_lazy("Smart cards can be used only on VMs that are optimized as desktops."),
            False,
        ),
        "hosts": Need("start_running_on=specific", gettext_lazy("Choose “Specific Host(s)” to name hosts."), ()),
        "migration_policy": Need(
            "custom_migration_policy=on", gettext_lazy("The cluster's policy holds until a custom one is used.")
        ),
        "migration_downtime_ms": Need(
            "custom_migration_downtime=on", gettext_lazy("The host's own downtime holds until a custom one is used.")
        ),
        "auto_converge": Need(LEGACY, ONLY_LEGACY, Inherit.INHERIT),
        "migrate_compressed": Need(LEGACY, ONLY_LEGACY, Inherit.INHERIT),
        "host_cpu_passthrough": Need(
            "migration_mode=never",
            gettext_lazy("Only possible while “Do not allow migration” is selected."),
            False,
        ),
        "numa_pinning": Need(
            "start_running_on=specific numa_node_count!=,0",
            gettext_lazy("To pin NUMA nodes, choose the specific hosts that the VMs start on, and how many nodes."),
            (),
        ),
    }
    problems_at: ClassVar[dict[str, str]] = {"numa": "numa_pinning", "vm": "name"}
    create_permission: ClassVar[str] = ""

    def prepare(self) -> None:
        clusters: Any = self.fields["cluster"]
        clusters.queryset = self._clusters()
        clusters.widget.data_of = _cluster_data(clusters.queryset)
        templates: Any = self.fields["template"]
        templates.queryset = self._templates()
        self._offer_versions(list(templates.queryset.prefetch_related("versions")))
        hosts: Any = self.fields["hosts"]
        hosts.queryset = self._hosts()
        hosts.widget.data_of = _host_data(hosts.queryset)
        if self.row is not None:
            self.fixed |= dict.fromkeys(("cluster", "template", "name"), NOT_LATER)
            # A new one takes what is left out from its template.
            for name in FROM_TEMPLATE:
                self.fields[name].required = True

    def _clusters(self) -> Any:
        if self.row is not None:
            return Cluster.objects.filter(pk=self.row.cluster_id)
        return access.visible(self.user, Cluster, self.create_permission).order_by("name", "pk")

    def _templates(self) -> Any:
        if self.row is not None:
            return Template.objects.filter(pk=self.template_of_row().pk)
        return access.visible(self.user, Template, SEE).order_by("name", "pk")

    def _hosts(self) -> Any:
        seen = access.visible(self.user, Host, SEE)
        if self.row is not None:
            # Hosts that somebody else chose stay chosen, whether or not this person sees them.
            seen = Host.objects.filter(cluster=self.row.cluster_id).filter(pk__in=seen) | self.row.hosts.all()
            seen = seen.distinct()
        return seen.order_by("name", "pk")

    def template_of_row(self) -> Template:
        raise NotImplementedError

    def _offer_versions(self, templates: list[Template]) -> None:
        groups: list[Any] = [("", LATEST)]
        data: dict[str, dict[str, Any]] = {}
        for template in templates:
            ready = [one for one in template.versions.all() if one.state == VersionState.READY]
            ready.sort(key=lambda one: one.number, reverse=True)
            groups.append((template.name, [(str(one.pk), str(one.number)) for one in ready]))
            standard = {"operating_system": template.operating_system, "optimized_for": template.optimized_for}
            for one in ready:
                fill = {**standard, "memory_mib": one.memory_mib, "vcpus": one.vcpus}
                data[str(one.pk)] = {"for": str(template.pk), "fill": fill}
            data[str(template.pk)] = {"fill": data[str(ready[0].pk)]["fill"] if ready else standard}
        versions: Any = self.fields["template_version"]
        versions.choices = groups
        for name in ("template", "template_version"):
            widget: Any = self.fields[name].widget
            widget.data_of = lambda value, found=data: found.get(value, {})
        self.standards = data

    # -- values ------------------------------------------------------------------------------------

    def initial_values(self) -> dict[str, Any]:
        """As an unsaved row of the kind would be, with the settings of the template that is preselected."""
        template = self._templates().first()
        version = template.latest() if template else None
        found: dict[str, Any] = {
            "start_running_on": StartRunningOn.ANY,
            "migration_mode": MigrationMode.ALLOW,
            "auto_converge": Inherit.INHERIT,
            "migrate_compressed": Inherit.INHERIT,
            "numa_tune_mode": NumaTuneMode.INTERLEAVE,
            "numa_node_count": 0,
            "cluster": self._clusters().first(),
            "template": template,
        }
        if template is not None:
            found |= {"operating_system": template.operating_system, "optimized_for": template.optimized_for}
            found["filled_from"] = str(template.pk)
        if version is not None:
            found |= {"memory_mib": version.memory_mib, "vcpus": version.vcpus}
        on = ("clipboard", "file_transfer", "remap_ctrl_alt_del", "usb_autoshare")
        return {**found, **dict.fromkeys(on, True), "color_depth": ColorDepth.NONE}

    def present(self) -> dict[str, Any]:
        hosts = sorted(self.row.hosts.all(), key=lambda host: host.name)
        return {**{name: getattr(self.row, name) for name in self.fields_of_row()}, "hosts": hosts}

    def fields_of_row(self) -> tuple[str, ...]:
        return MachineSettings.SETTINGS

    def thawed(self, frozen: dict[str, Any]) -> dict[str, Any]:
        hosts = Host.objects.filter(pk__in=frozen["hosts"])
        return {**frozen, "hosts": sorted(hosts, key=lambda host: host.name)}

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        fixed = {"cluster": self.row.cluster, "template": self.template_of_row(), "name": self.row.name}
        return {
            **values,
            **fixed,
            "hosts": [host.pk for host in values["hosts"]],
            "custom_migration_policy": values["migration_policy"] is not None,
            "custom_migration_downtime": values["migration_downtime_ms"] is not None,
        }

    def clean_template_version(self) -> TemplateVersion | None:
        key = self.cleaned_data["template_version"]
        return TemplateVersion.objects.filter(pk=key).first() if key else None

    def values(self) -> dict[str, Any]:
        found = super().values()
        filled_from = found.pop("filled_from", "")
        for name in ("custom_migration_policy", "custom_migration_downtime"):
            found.pop(name, None)
        found["hosts"] = list(found.get("hosts") or ())
        found["numa_pinning"] = list(found.get("numa_pinning") or ())
        found["disabled_effects"] = list(found.get("disabled_effects") or ())
        found["color_depth"] = found.get("color_depth") or ColorDepth.NONE
        found["numa_node_count"] = found.get("numa_node_count") or 0
        found["migration_policy"] = found.get("migration_policy") or None
        if self.row is None:
            self._leave_to_template(found, filled_from)
        return found

    def _leave_to_template(self, found: dict[str, Any], filled_from: str) -> None:
        """Without a script another template does not refill the fields: those that still show the former one's
        standard were not chosen by anybody, and the new one's hold."""
        if filled_from == str(found["template"].pk):
            return
        former = self.standards.get(filled_from, {}).get("fill", {})
        for name in FROM_TEMPLATE:
            if str(found[name]) == str(former.get(name)):
                found[name] = None


def _cluster_data(clusters: Any) -> Any:
    policies = {str(one.pk): {"policy": one.migration_policy} for one in clusters}
    return lambda value: policies.get(value, {})


def _host_data(hosts: Any) -> Any:
    found = {
        str(host.pk): {
            "for": str(host.cluster_id),
            "numa": {
                "name": host.name,
                "nodes": host.numa_nodes,
                "summary": _("%(cpus)s CPUs, %(memory)s MiB memory, %(nodes)s NUMA nodes")
                % {"cpus": host.cpu_threads, "memory": host.memory_mib, "nodes": len(host.numa_nodes)},
            },
        }
        for host in hosts
    }
    return lambda value: found.get(value, {})
