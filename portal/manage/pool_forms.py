"""New Pool and Edit Pool: the shared settings, and what only pools have."""

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from broker import config
from broker.models import TemplateVersion
from broker.operations import pools
from broker.rules.deadlines import TIME_FIELDS
from broker.rules.pools import MAX_LOCATION
from broker.states import PoolType
from portal.manage import forms as base
from portal.manage.forms import Need, Section
from portal.manage.machine_forms import CONSOLE, HOST, NOT_LATER, MachineForm

AUTOMATIC = Need("type=automatic", gettext_lazy("Only automatic pools limit the time."))
OWN = ("prestarted_vms", "max_vms_per_user", "override_spice_proxy", "spice_proxy", "central_data", *TIME_FIELDS)


class PoolForm(MachineForm):
    """The fields that a new pool and one that is edited have in common."""

    prestarted_vms = base.number(
        gettext_lazy("Prestarted VMs"),
        initial=0,
        help_text=gettext_lazy("Running and waiting, so that nobody waits for them to boot."),
    )
    max_vms_per_user = base.number(gettext_lazy("Maximum number of VMs per user"), initial=1)
    type = forms.ChoiceField(label=gettext_lazy("Type"), choices=PoolType.choices, widget=forms.RadioSelect)
    override_spice_proxy = base.switch(gettext_lazy("Override SPICE Proxy"))
    spice_proxy = base.text(
        gettext_lazy("Overridden SPICE proxy address"),
        help_text=gettext_lazy("As protocol://host:port, such as http://proxy.example.com:3128."),
    )
    central_data = base.text(
        gettext_lazy("Location of central data"),
        max_length=MAX_LOCATION,
        help_text=gettext_lazy(
            r"Where the data of users is, such as \\files\home or smb://files/home, without any password. Every "
            "desktop that starts from now on finds it on a CD with the label HOTDESK; nothing is stored in it."
        ),
    )

    disconnect_grace_minutes = base.number(
        gettext_lazy("Minutes kept after the viewer is closed"),
        required=False,
        help_text=gettext_lazy("Whoever connects again in time keeps the desktop. Leave it empty for no limit."),
    )
    max_session_minutes = base.number(
        gettext_lazy("Longest session, in minutes"),
        required=False,
        help_text=gettext_lazy("Counted from when the desktop is ready. Leave it empty for no limit."),
    )
    idle_limit_minutes = base.number(
        gettext_lazy("Idle limit, in minutes"),
        required=False,
        help_text=gettext_lazy(
            "A desktop is idle while its processor rests (IdleProcessorPercent); programs that work on count as use. "
            "Leave it empty for no limit."
        ),
    )
    extension_minutes = base.number(
        gettext_lazy("Extension, in minutes"),
        required=False,
        help_text=gettext_lazy(
            "By how much users may put each of these ends off, once. Leave it empty to allow none."
        ),
    )

    needs: ClassVar[dict[str, Need]] = {
        **MachineForm.needs,
        "prestarted_vms": Need("type=automatic", gettext_lazy("Only automatic pools can have prestarted VMs."), 0),
        **dict.fromkeys(TIME_FIELDS, AUTOMATIC),
        "spice_proxy": Need(
            "override_spice_proxy=on", gettext_lazy("Tick “Override SPICE Proxy” to give an address."), ""
        ),
    }
    create_permission = "create_pool"
    size_field: ClassVar[str]

    @classmethod
    def layout(cls, size_field: str) -> tuple[Section, ...]:
        """The tabs; how many VMs is asked differently of a new pool and of an old one."""
        general = (
            *("cluster", "template", "template_version", "operating_system", "optimized_for"),
            *("name", "description", "comment", size_field, "prestarted_vms", "max_vms_per_user"),
            *("memory_mib", "vcpus", "delete_protection"),
        )
        return (
            Section("general", gettext_lazy("General"), (("", general),)),
            Section(
                "type",
                gettext_lazy("Type"),
                (("", ("type",)), (gettext_lazy("Time of a desktop"), TIME_FIELDS)),
                advanced=True,
            ),
            Section(
                "console",
                gettext_lazy("Console"),
                (("", ("override_spice_proxy", "spice_proxy")), *CONSOLE),
                advanced=True,
            ),
            Section("data", gettext_lazy("Data"), (("", ("central_data",)),), advanced=True),
            HOST,
        )


class NewPool(PoolForm):
    """A pool that is to be made."""

    title = gettext_lazy("New Pool")
    submit = gettext_lazy("Create the pool")
    sections = PoolForm.layout("size")
    size = base.number(gettext_lazy("Number of VMs"), initial=1)

    def prepare(self) -> None:
        super().prepare()
        self.fields["name"].help_text = _("A run of ? is replaced by the VM's number, as in desk-??.")
        self.fields["size"].help_text = _("At most %(most)s.") % {"most": config.get("MaxVmsInPool")}

    def initial_values(self) -> dict[str, Any]:
        found = super().initial_values()
        return {**found, "type": PoolType.AUTOMATIC, "size": 1, "prestarted_vms": 0, "max_vms_per_user": 1}

    def save(self) -> str:
        pool, _job = pools.create(by=self.user, **self.values())
        return _("Pool %(pool)s is being created; its VMs appear one by one.") % {"pool": pool}


class EditPool(PoolForm):
    """A pool that exists; the same fields, with the number of VMs to add."""

    title = gettext_lazy("Edit Pool")
    note = gettext_lazy(
        "Changes apply to new virtual machines only. Prestarting, limits, the SPICE proxy and how users open "
        "desktops apply at once, the location of central data at every later start."
    )
    sections = PoolForm.layout("increase_by")
    increase_by = base.number(gettext_lazy("Increase number of VMs in pool by"), initial=0)

    def prepare(self) -> None:
        super().prepare()
        self.fixed["type"] = NOT_LATER
        size = self.row.vms.count()
        self.fields["increase_by"].help_text = ngettext(
            "It has %(size)s VM now.", "It has %(size)s VMs now.", size
        ) % {"size": size}

    def template_of_row(self) -> Any:
        return self.row.template

    def fields_of_row(self) -> tuple[str, ...]:
        return (*super().fields_of_row(), *OWN)

    def present(self) -> dict[str, Any]:
        return {**super().present(), "template_version": self.row.template_version}

    def thawed(self, frozen: dict[str, Any]) -> dict[str, Any]:
        version = TemplateVersion.objects.filter(pk=frozen["template_version"]).first()
        return {**super().thawed(frozen), "template_version": version}

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        version = values["template_version"]
        own = {"type": self.row.type, "increase_by": 0, "template_version": str(version.pk) if version else ""}
        return {**super().filled(values), **own}

    def save(self) -> str:
        changes = self.values()
        increase_by = changes.pop("increase_by")
        pools.change(pool=self.row, changes=changes, increase_by=increase_by, expected=self.expected(), by=self.user)
        if increase_by:
            return _("Pool %(pool)s was saved; its new VMs appear one by one.") % {"pool": self.row}
        return _("Pool %(pool)s was saved.") % {"pool": self.row}
