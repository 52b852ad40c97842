"""Forms of what pools stand on: data centers, clusters, hosts, storage and templates."""

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker import access
from broker.models import Cluster, DataCenter, Host, StoragePool, Template
from broker.operations import clusters, data_centers, hosts, storage, templates
from broker.states import Graphics, Inherit, MigrationPolicy, OptimizedFor, ReadyWhen
from portal import rights
from portal.manage import forms as base
from portal.manage.forms import ManageForm, Need, Section
from portal.manage.machine_forms import NOT_LATER

WORDS = ("name", "description", "comment")


def one_section(*names: str) -> tuple[Section, ...]:
    return (Section("general", gettext_lazy("General"), (("", names),)),)


def choose(label: Any, **options: Any) -> forms.ModelChoiceField:
    """A row of another kind; the form says later which."""
    return forms.ModelChoiceField(DataCenter.objects.none(), label=label, empty_label=None, **options)


class NamedForm(ManageForm):
    """A name and words about it."""

    name = base.text(gettext_lazy("Name"))
    description = base.text(gettext_lazy("Description"), max_length=base.MOST_TEXT)
    comment = base.text(gettext_lazy("Comment"), max_length=base.MOST_TEXT)

    def saved(self) -> str:
        return _("%(name)s was saved.") % {"name": self.cleaned_data.get("name") or self.row}

    def offer(self, name: str, model: Any, permission: str) -> None:
        """Let a row be chosen among those on which the user may do this."""
        field: Any = self.fields[name]
        field.queryset = access.visible(self.user, model, permission).order_by("name", "pk")
        if self.row is not None:
            field.queryset = model.objects.filter(pk=getattr(self.row, f"{name}_id"))
            self.fixed[name] = NOT_LATER
            self.initial[name] = getattr(self.row, f"{name}_id")
        else:
            self.initial.setdefault(name, self.given.get(name) or field.queryset.first())


class DataCenterForm(NamedForm):
    """New or Edit."""

    sections = one_section(*WORDS)

    def prepare(self) -> None:
        self.title = _("New Data Center") if self.row is None else _("Edit Data Center")

    def save(self) -> str:
        if self.row is None:
            data_centers.create(by=self.user, **self.values())
        else:
            data_centers.change(data_center=self.row, changes=self.values(), expected=self.expected(), by=self.user)
        return self.saved()


class ClusterForm(NamedForm):
    """New or Edit, with the SPICE proxy and how its VMs are migrated unless they differ."""

    data_center = choose(gettext_lazy("Data center"))
    spice_proxy = base.text(
        gettext_lazy("SPICE proxy"),
        help_text=gettext_lazy("As protocol://host:port, such as http://proxy.example.com:3128; blank for none."),
    )
    allow_plain_spice = base.switch(
        gettext_lazy("Displays may be opened unencrypted"),
        help_text=gettext_lazy("Without it every host needs a certificate: `manage.py certificates` makes them."),
    )
    migration_policy = forms.ChoiceField(label=gettext_lazy("Migration policy"), choices=MigrationPolicy.choices)
    auto_converge = forms.ChoiceField(label=gettext_lazy("Auto converge migrations"), choices=Inherit.choices)
    migrate_compressed = forms.ChoiceField(
        label=gettext_lazy("Enable migration compression"), choices=Inherit.choices
    )
    sections = (
        Section(
            "general", gettext_lazy("General"), (("", ("data_center", *WORDS, "spice_proxy", "allow_plain_spice")),)
        ),
        Section(
            "migration",
            gettext_lazy("Migration Options"),
            (("", ("migration_policy", "auto_converge", "migrate_compressed")),),
        ),
    )

    def prepare(self) -> None:
        self.title = _("New Cluster") if self.row is None else _("Edit Cluster")
        self.offer("data_center", DataCenter, "manage_clusters")

    def initial_values(self) -> dict[str, Any]:
        inherited = dict.fromkeys(("auto_converge", "migrate_compressed"), Inherit.INHERIT)
        return {"migration_policy": MigrationPolicy.LEGACY, "allow_plain_spice": True, **inherited}

    def fields_of_row(self) -> tuple[str, ...]:
        return (*WORDS, "spice_proxy", "allow_plain_spice", "migration_policy", "auto_converge", "migrate_compressed")

    def save(self) -> str:
        if self.row is None:
            clusters.create(by=self.user, **self.values())
        else:
            clusters.change(cluster=self.row, changes=self.values(), expected=self.expected(), by=self.user)
        return self.saved()


class HostForm(NamedForm):
    """New or Edit: how a host is reached."""

    cluster = choose(gettext_lazy("Cluster"))
    uri = base.text(
        gettext_lazy("libvirt URI"),
        max_length=1000,
        help_text=gettext_lazy("Such as qemu+tls://host1.example.com/system or qemu:///system."),
    )
    display_address = base.text(
        gettext_lazy("Display address"), help_text=gettext_lazy("Where viewers reach this host.")
    )
    acceleration_mode = forms.ChoiceField(
        label=gettext_lazy("Acceleration"), choices=Host.AccelerationMode.choices, required=False
    )
    memory_overcommit_percent = base.number(
        gettext_lazy("Memory that may be promised, in percent of the real one"), initial=100
    )
    sections = one_section(
        "cluster", "name", "uri", "display_address", "description", "comment", "acceleration_mode",
        "memory_overcommit_percent",
    )  # fmt: skip

    def prepare(self) -> None:
        self.title = _("New Host") if self.row is None else _("Edit Host")
        self.offer("cluster", Cluster, "manage_hosts")

    def fields_of_row(self) -> tuple[str, ...]:
        return (*WORDS, "uri", "display_address", "acceleration_mode", "memory_overcommit_percent")

    def initial_values(self) -> dict[str, Any]:
        return {"acceleration_mode": Host.AccelerationMode.AUTOMATIC, "memory_overcommit_percent": 100}

    def save(self) -> str:
        if self.row is None:
            host = hosts.add(by=self.user, **self.values())
            return _("Host %(host)s is being activated.") % {"host": host}
        hosts.change(host=self.row, changes=self.values(), expected=self.expected(), by=self.user)
        return self.saved()


class StorageForm(NamedForm):
    """New or Edit: a directory that all hosts of a data center reach."""

    data_center = choose(gettext_lazy("Data center"))
    target_path = base.text(
        gettext_lazy("Path"),
        max_length=1000,
        help_text=gettext_lazy("A directory that every host of the data center reaches under this path."),
    )
    sections = one_section("data_center", "name", "target_path", "description", "comment")

    def prepare(self) -> None:
        self.title = _("New Storage") if self.row is None else _("Edit Storage")
        self.offer("data_center", DataCenter, "manage_storage")
        if self.row is not None:
            self.fixed |= dict.fromkeys(("name", "target_path"), NOT_LATER)

    def save(self) -> str:
        if self.row is None:
            storage.create(by=self.user, **self.values())
        else:
            storage.change(storage_pool=self.row, changes=self.values(), expected=self.expected(), by=self.user)
        return self.saved()


class ImportTemplate(NamedForm):
    """A disk image becomes a template, or a further version of one."""

    title = gettext_lazy("Import Template")
    submit = gettext_lazy("Import")
    storage_pool = choose(gettext_lazy("Storage"))
    into = forms.ModelChoiceField(
        Template.objects.none(),
        label=gettext_lazy("Template"),
        required=False,
        empty_label=gettext_lazy("A new template"),
    )
    source = forms.ChoiceField(
        label=gettext_lazy("Image"),
        choices=[
            ("volume", gettext_lazy("A volume of the storage")),
            ("path", gettext_lazy("A file on the hosts")),
        ],
        widget=forms.RadioSelect,
    )
    volume_name = base.text(gettext_lazy("Name of the volume"))
    path = base.text(gettext_lazy("Path of the file"), max_length=1000)
    operating_system = base.text(gettext_lazy("Operating System"), max_length=100)
    optimized_for = forms.ChoiceField(label=gettext_lazy("Optimized for"), choices=OptimizedFor.choices)
    memory_mib = base.number(gettext_lazy("Memory (MiB)"), initial=1024)
    vcpus = base.number(gettext_lazy("Virtual CPUs"), initial=1)
    ready_when = forms.ChoiceField(label=gettext_lazy("Ready when"), choices=ReadyWhen.choices)
    ready_text = base.text(gettext_lazy("Text on the serial console"), max_length=200)
    ready_delay_seconds = base.number(gettext_lazy("Seconds after the start"), required=False)
    start_timeout_seconds = base.number(gettext_lazy("Seconds until a start counts as failed"), initial=300)
    graphics = forms.ChoiceField(label=gettext_lazy("Display"), choices=Graphics.choices)
    rdp_address = base.text(gettext_lazy("Address at which guests offer RDP"), max_length=255)
    needs: ClassVar[dict[str, Need]] = {
        "name": Need("into=", gettext_lazy("A further version keeps the name of its template."), ""),
        "operating_system": Need("into=", gettext_lazy("A further version keeps that of its template."), ""),
        "optimized_for": Need("into=", gettext_lazy("A further version keeps that of its template."), "desktop"),
        "volume_name": Need("source=volume", gettext_lazy("The image is a file on the hosts."), ""),
        "path": Need("source=path", gettext_lazy("The image is a volume of the storage."), ""),
        "ready_text": Need("ready_when=serial", gettext_lazy("Only for a text on the serial console."), ""),
        "ready_delay_seconds": Need("ready_when=delay", gettext_lazy("Only for a time since the start."), 0),
    }
    sections = (
        Section(
            "general",
            gettext_lazy("General"),
            (
                ("", ("storage_pool", "into", "name", "description", "comment")),
                (gettext_lazy("Image"), ("source", "volume_name", "path")),
            ),
        ),
        Section(
            "machine",
            gettext_lazy("Virtual machines"),
            (
                ("", ("operating_system", "optimized_for", "memory_mib", "vcpus")),
                (gettext_lazy("Display"), ("graphics", "rdp_address")),
                (
                    gettext_lazy("Ready"),
                    ("ready_when", "ready_text", "ready_delay_seconds", "start_timeout_seconds"),
                ),
            ),
        ),
    )

    def prepare(self) -> None:
        self.offer("storage_pool", StoragePool, "manage_templates")
        into: Any = self.fields["into"]
        into.queryset = access.visible(self.user, Template, "manage_templates").order_by("name", "pk")
        self.initial["into"] = self.given.get("into")

    def initial_values(self) -> dict[str, Any]:
        words = {"source": "volume", "optimized_for": OptimizedFor.DESKTOP, "ready_when": ReadyWhen.AGENT}
        return {**words, "graphics": Graphics.SPICE, "memory_mib": 1024, "vcpus": 1, "start_timeout_seconds": 300}

    def save(self) -> str:
        values = self.values()
        del values["source"]
        values["ready_delay_seconds"] = values["ready_delay_seconds"] or 0
        source = {"path": values["path"], "volume": values["volume_name"]}
        rights.require_importing(self.user, values["storage_pool"], values["into"], **source)
        version, _job = templates.import_image(by=self.user, **values)
        return _("%(version)s is being made; Jobs shows how far it is.") % {"version": version}


class EditTemplate(NamedForm):
    """The name and the words; versions never change."""

    title = gettext_lazy("Edit Template")
    operating_system = base.text(gettext_lazy("Operating System"), max_length=100)
    optimized_for = forms.ChoiceField(label=gettext_lazy("Optimized for"), choices=OptimizedFor.choices)
    sections = one_section(*WORDS, "operating_system", "optimized_for")

    def save(self) -> str:
        templates.change(template=self.row, changes=self.values(), expected=self.expected(), by=self.user)
        return self.saved()
