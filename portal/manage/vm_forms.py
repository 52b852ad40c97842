"""New Virtual Machine, Edit Virtual Machine, and publishing one as a template version."""

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker import access
from broker.models import Template
from broker.operations import vms
from portal.manage import forms as base
from portal.manage.forms import Need, Section
from portal.manage.machine_forms import CONSOLE, HOST, NOT_LATER, MachineForm

GENERAL = (
    *("cluster", "template", "template_version", "operating_system", "optimized_for"),
    *("name", "description", "comment", "memory_mib", "vcpus", "delete_protection"),
)
OF_MEMBERS = ("description", "comment", "delete_protection")
SECTIONS = (
    Section("general", gettext_lazy("General"), (("", GENERAL),)),
    Section("console", gettext_lazy("Console"), CONSOLE, advanced=True),
    HOST,
)


class NewVirtualMachine(MachineForm):
    """An independent VM that is to be made from a template."""

    title = gettext_lazy("New Virtual Machine")
    submit = gettext_lazy("Create the virtual machine")
    sections = SECTIONS
    create_permission = "create_vm"

    def save(self) -> str:
        vm, _job = vms.create(by=self.user, **self.values())
        return _("Virtual machine %(vm)s is being created.") % {"vm": vm}


class EditVirtualMachine(MachineForm):
    """A VM that exists. Members of a pool are all alike: only words about them can be changed."""

    title = gettext_lazy("Edit Virtual Machine")
    sections = SECTIONS

    def prepare(self) -> None:
        super().prepare()
        self.fixed["template_version"] = NOT_LATER
        if self.row.pool_id is None:
            self.note = _("Changes of its hardware take effect when it is started the next time.")
            return
        of_pool = _("VMs of a pool have the settings of their pool. Detach it first.")
        for section in SECTIONS:
            for _heading, names in section.groups:
                self.fixed |= {name: of_pool for name in names if name not in (*OF_MEMBERS, *self.fixed)}
        self.note = of_pool

    def template_of_row(self) -> Template:
        return self.row.template_version.template

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        return {**super().filled(values), "template_version": str(self.row.template_version_id)}

    def save(self) -> str:
        allowed = self.values()
        if self.row.pool_id is not None:
            allowed = {name: allowed[name] for name in OF_MEMBERS}
        vms.change(vm=self.row, changes=allowed, expected=self.expected(), by=self.user)
        return _("Virtual machine %(vm)s was saved.") % {"vm": self.row}


class ActionForm(forms.Form):
    """What an action asks for besides a yes. It knows the rows it is about."""

    needs: ClassVar[dict[str, Need]] = {}

    def __init__(self, data: Any = None, *, user: Any, rows: list[Any]) -> None:
        super().__init__(data)
        self.user = user
        self.rows = rows
        self.prepare()

    def prepare(self) -> None:
        """Choices that depend on the user and the rows."""


class PublishForm(ActionForm):
    """Into a new template, or as a further version of one."""

    name = base.text(gettext_lazy("Name of a new template"))
    template = forms.ModelChoiceField(
        Template.objects.none(),
        label=gettext_lazy("Or a further version of"),
        required=False,
        empty_label=gettext_lazy("A new template"),
    )

    def prepare(self) -> None:
        templates: Any = self.fields["template"]
        templates.queryset = access.visible(self.user, Template, "manage_templates").order_by("name", "pk")

    def clean(self) -> dict[str, Any]:
        if bool(self.cleaned_data.get("name")) == bool(self.cleaned_data.get("template")):
            self.add_error("name", _("Give either the name of a new template, or choose an existing one."))
        return self.cleaned_data
