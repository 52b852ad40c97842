"""Virtual machines: members of pools, and independent ones."""

from typing import Any

from django.db.models import F, OuterRef, Prefetch, Subquery
from django.db.models.lookups import IsNull
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from broker import access
from broker.models import Cluster, DesktopRequest, VirtualMachine
from broker.operations import consoles, templates, vms
from broker.states import HOLDING, RunMode, VmHold, VmStatus
from portal import rights
from portal.connection_files import connection
from portal.manage.cells import Column, mebibytes
from portal.manage.properties import CHOICE, MOMENT, NUMBER, SWITCH, TEXT, Property
from portal.manage.resource import Action, Outcome, Resource, Tab, each
from portal.manage.shared import PERMISSIONS, events_tab
from portal.manage.vm_forms import EditVirtualMachine, NewVirtualMachine, PublishForm
from portal.manage.vm_reasons import (
    why_not_at_rest,
    why_not_detached,
    why_not_opened,
    why_not_opened_in_browser,
    why_not_released,
    why_not_removed,
    why_not_resumed,
    why_not_started,
    why_not_stopped,
    why_not_suspended,
    why_not_up,
    why_not_watched,
)
from portal.templatetags.hotdesk import state, with_icon

MOST = 100


def accepted(count: int) -> str:
    return ngettext(
        "The order for %(count)s virtual machine was accepted; its status follows.",
        "The orders for %(count)s virtual machines were accepted; their status follows.",
        count,
    ) % {"count": count}


def detach(rows: list[Any], user: Any, values: dict[str, Any]) -> Outcome:
    rights.require_detaching(user, rows)
    vms.detach(vms=rows, by=user)
    return Outcome(
        ngettext(
            "%(count)s virtual machine was detached and is independent now.",
            "%(count)s virtual machines were detached and are independent now.",
            len(rows),
        )
        % {"count": len(rows)}
    )


def publish(rows: list[Any], user: Any, values: dict[str, Any]) -> Outcome:
    rights.require_publishing(user, rows[0], values["template"])
    into = {"template": values["template"]} if values["template"] else {"name": values["name"]}
    version, _job = templates.publish(vm=rows[0], by=user, **into)
    return Outcome(_("%(version)s is being made; Jobs shows how far it is.") % {"version": version})


def in_browser(rows: list[Any], user: Any, values: dict[str, Any]) -> Any:
    return redirect("vm-console", rows[0].pk)


# -- what is shown -------------------------------------------------------------------------------------


def status_cell(vm: Any) -> Any:
    status = state(vm.status, vm.get_status_display())
    return status + state(vm.hold, vm.get_hold_display()) if vm.hold else status


def pool_cell(vm: Any) -> Any:
    """Whether it belongs to a pool is seen and read, not guessed from a colour (R055, R127)."""
    return with_icon("layers", vm.pool.name) if vm.pool else with_icon("monitor", _("Independent"))


def name_cell(vm: Any) -> Any:
    return with_icon("layers" if vm.pool_id else "monitor", vm.name)


def user_of(vm: Any) -> str:
    return ", ".join(wish.user.display_name for wish in vm.held_for)


def disk_of(vm: Any) -> str:
    """Whether an administrator wrote to its disk since it was made."""
    if vm.changed_at is None:
        return ""
    return _("Changed") if vm.has_unreleased_changes else _("Changed and released")


def general_of(vm: Any, user: Any) -> dict[str, Any]:
    return {"hosts": list(vm.hosts.order_by("name")), "addresses": [nic.mac for nic in vm.nics.all()]}


def holder() -> Subquery:
    """The name of whoever has it, for sorting and queries."""
    wishes = DesktopRequest.objects.filter(vm=OuterRef("pk"), state__in=HOLDING).order_by()
    return Subquery(wishes.values("user__username")[:1])


def asked(question: Any) -> Any:
    return lambda rows: question % {"count": len(rows)}


class VirtualMachines(Resource):
    """The list of virtual machines and everything that is done with them."""

    kind = "vms"
    title = gettext_lazy("Virtual Machines")
    icon = "monitor"
    model = VirtualMachine
    example = gettext_lazy("pool = helpdesk and status = up sortby host")
    select_one = gettext_lazy("Select one virtual machine.")
    select_some = gettext_lazy("Select at least one virtual machine.")
    nothing = gettext_lazy("There are no virtual machines yet. They are made together with a pool, or one by one.")
    new_form = NewVirtualMachine
    edit_form = EditVirtualMachine
    edit_permission = "edit_vm"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT, draw=name_cell),
        Column(
            "pool",
            gettext_lazy("Pool"),
            "pool.name",
            TEXT,
            read=lambda vm: vm.pool.name if vm.pool else _("Independent"),
            draw=pool_cell,
        ),
        Column(
            "status",
            gettext_lazy("Status"),
            type=CHOICE,
            choices=VmStatus.choices,
            draw=status_cell,
        ),
        Column("run_mode", gettext_lazy("Run mode"), type=CHOICE, choices=RunMode.choices),
        Column("host", gettext_lazy("Host"), "host.name", TEXT),
        Column("user", gettext_lazy("User"), "holder", TEXT, read=user_of),
        Column(
            "template_version",
            gettext_lazy("Template version"),
            "template_version.template.name",
            TEXT,
            read=lambda vm: str(vm.template_version),
        ),
        Column("hold", gettext_lazy("Hold"), type=CHOICE, choices=VmHold.choices, shown=False),
        Column("hold_reason", gettext_lazy("Reason of the hold"), type=TEXT, shown=False),
        Column("disk", gettext_lazy("Disk"), read=disk_of, shown=False),
        Column("cluster", gettext_lazy("Cluster"), "cluster.name", TEXT, shown=False),
        Column("description", gettext_lazy("Description"), type=TEXT, shown=False),
        Column("comment", gettext_lazy("Comment"), type=TEXT, shown=False),
        Column(
            "memory_mib",
            gettext_lazy("Memory"),
            type=NUMBER,
            number=True,
            shown=False,
            draw=lambda vm: mebibytes(vm.memory_mib),
        ),
        Column("vcpus", gettext_lazy("vCPUs"), type=NUMBER, number=True, shown=False),
        Column("run_started_at", gettext_lazy("Running since"), type=MOMENT, shown=False),
        Column("changed_at", gettext_lazy("Disk changed"), type=MOMENT, shown=False),
    )
    properties = (
        Property("independent", "independent", SWITCH, gettext_lazy("Independent")),
        Property("version", "template_version__number", NUMBER, gettext_lazy("Number of the template version")),
        Property("delete_protection", "delete_protection", SWITCH, gettext_lazy("Delete Protection")),
        Property("operating_system", "operating_system", TEXT, gettext_lazy("Operating System")),
        Property("failures", "failures", NUMBER, gettext_lazy("Failed starts in a row")),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/vm.html", general_of),
        Tab(
            "sessions",
            gettext_lazy("Sessions"),
            kind="sessions",
            narrow=lambda rows, vm: rows.filter(vm=vm.pk),
            columns=("requested_at", "user", "pool", "state", "ready_at", "connected_at", "ended_at", "end_reason"),
        ),
        PERMISSIONS,
        events_tab("vm_id"),
    )
    actions = (
        Action(
            "run",
            gettext_lazy("Run"),
            each(vms.start, "vm", accepted),
            "operate_vm",
            "play",
            possible=why_not_started,
        ),
        Action(
            "shutdown",
            gettext_lazy("Shut down"),
            each(vms.stop, "vm", accepted, at_once=False),
            "operate_vm",
            "power",
            possible=why_not_stopped,
            question=asked(
                ngettext_lazy(
                    "Shut this virtual machine down?", "Shut these %(count)s virtual machines down?", "count"
                )
            ),
            consequence=gettext_lazy(
                "The system is asked to shut down. A desktop in use is thereby returned, "
                "and everything on it is deleted."
            ),
            danger=True,
        ),
        Action(
            "turn-off",
            gettext_lazy("Turn off"),
            each(vms.stop, "vm", accepted, at_once=True),
            "operate_vm",
            "power-off",
            possible=why_not_stopped,
            question=asked(
                ngettext_lazy("Turn this virtual machine off?", "Turn these %(count)s virtual machines off?", "count")
            ),
            consequence=gettext_lazy(
                "It is cut off at once, as by pulling the plug. A desktop in use is thereby returned, "
                "and everything on it is deleted."
            ),
            danger=True,
        ),
        Action(
            "reboot",
            gettext_lazy("Reboot"),
            each(vms.reboot, "vm", accepted),
            "operate_vm",
            "rotate-ccw",
            possible=why_not_up,
            question=asked(
                ngettext_lazy("Reboot this virtual machine?", "Reboot these %(count)s virtual machines?", "count")
            ),
            consequence=gettext_lazy("Whoever works on it loses what is not saved."),
            danger=True,
            folded=True,
        ),
        Action(
            "suspend",
            gettext_lazy("Suspend"),
            each(vms.suspend, "vm", accepted),
            "operate_vm",
            "circle-pause",
            possible=why_not_suspended,
            folded=True,
        ),
        Action(
            "resume",
            gettext_lazy("Resume"),
            each(vms.resume, "vm", accepted),
            "operate_vm",
            "circle-play",
            possible=why_not_resumed,
            folded=True,
        ),
        Action(
            "release",
            gettext_lazy("Return to pool"),
            each(vms.release, "vm", accepted),
            "operate_vm",
            "undo-2",
            possible=why_not_released,
            question=asked(
                ngettext_lazy("Return this virtual machine?", "Return these %(count)s virtual machines?", "count")
            ),
            consequence=gettext_lazy(
                "Whoever has it loses it. It is cleaned and offered again; what was saved on its own disk stays."
            ),
            danger=True,
        ),
        Action(
            "connect",
            gettext_lazy("Connect (.vv)"),
            lambda rows, user, values: connection(consoles.issue_to_administrator(vm=rows[0], by=user)),
            "operate_vm",
            "screen-share",
            one=True,
            possible=why_not_opened,
            download=True,
        ),
        Action(
            "open",
            gettext_lazy("Open in browser"),
            in_browser,
            "operate_vm",
            "app-window",
            one=True,
            possible=why_not_opened_in_browser,
            download=True,
        ),
        Action(
            "watch",
            gettext_lazy("Look at the desktop"),
            in_browser,
            "watch_desktops",
            "eye",
            one=True,
            possible=why_not_watched,
            download=True,
            folded=True,
        ),
        Action(
            "detach",
            gettext_lazy("Detach"),
            detach,
            "edit_pool",
            "unlink",
            possible=why_not_detached,
            question=asked(
                ngettext_lazy(
                    "Detach this virtual machine from its pool?", "Detach these %(count)s virtual machines?", "count"
                )
            ),
            consequence=gettext_lazy("It stays as an independent virtual machine; the pool becomes smaller."),
        ),
        Action(
            "rebuild",
            gettext_lazy("Rebuild"),
            each(vms.rebuild, "vm", accepted),
            "edit_vm",
            "hammer",
            possible=why_not_at_rest,
            question=asked(
                ngettext_lazy("Rebuild this virtual machine?", "Rebuild these %(count)s virtual machines?", "count")
            ),
            consequence=gettext_lazy(
                "It gets a new disk from its template version. Everything on its disk is deleted."
            ),
            danger=True,
            folded=True,
        ),
        Action(
            "publish",
            gettext_lazy("Publish as template version"),
            publish,
            "manage_templates",
            "copy-plus",
            one=True,
            possible=why_not_at_rest,
            question=lambda rows: _("Publish %(vm)s as a template version?") % {"vm": rows[0]},
            consequence=gettext_lazy("Its disk is copied; the virtual machine stays as it is."),
            form=PublishForm,
            folded=True,
        ),
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(vms.remove, "vm", accepted),
            "remove_vm",
            "trash-2",
            possible=why_not_removed,
            question=asked(
                ngettext_lazy("Remove this virtual machine?", "Remove these %(count)s virtual machines?", "count")
            ),
            consequence=gettext_lazy("Everything on the disk is deleted. This cannot be undone."),
            danger=True,
            leaves=True,
        ),
    )

    def detailed(self, rows: Any) -> Any:
        holders = DesktopRequest.objects.filter(state__in=HOLDING).select_related("user")
        return (
            rows.annotate(holder=holder(), independent=IsNull(F("pool"), True))
            .select_related(
                "pool",
                "host",
                "cluster__data_center",
                "template_version__template",
                "changed_by",
                "released_by",
            )
            .prefetch_related(Prefetch("requests", holders, to_attr="held_for"))
        )

    def may_create(self, user: Any) -> bool:
        return access.can_anywhere(user, "create_vm", Cluster)
