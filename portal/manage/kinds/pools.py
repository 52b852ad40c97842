"""Pools: identical desktops of one template, and the line in front of them."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from broker import access
from broker.models import Cluster, DesktopRequest, Job, Pool, with_counts
from broker.operations import pools
from broker.states import OptimizedFor, PoolType
from portal import requests as shown
from portal.manage.cells import Column, mebibytes
from portal.manage.pool_forms import EditPool, NewPool
from portal.manage.properties import CHOICE, MOMENT, NUMBER, SWITCH, TEXT, Property
from portal.manage.query import quoted
from portal.manage.resource import Action, Outcome, Resource, Tab, counted
from portal.manage.shared import PERMISSIONS, events_tab
from portal.templatetags.hotdesk import badge

MOST = 100
TYPE_TO_CONFIRM = 10  # pools with more VMs than this are removed only by typing their name


def remove(rows: list[Any], user: Any, values: dict[str, Any]) -> Outcome:
    for pool in rows:
        pools.remove(pool=pool, by=user)
    return Outcome(
        ngettext("%(count)s pool was removed.", "%(count)s pools were removed.", len(rows)) % {"count": len(rows)}
    )


def remove_with_vms(rows: list[Any], user: Any, values: dict[str, Any]) -> Outcome:
    [pool] = rows
    pools.remove_with_vms(pool=pool, by=user)
    return Outcome(_("Pool %(pool)s and its VMs are being removed; Jobs shows how far it is.") % {"pool": pool})


def why_not_removed(pool: Any) -> str | None:
    if pool.size:
        words = {"pool": pool, "size": pool.size}
        return (
            ngettext(
                "%(pool)s has %(size)s VM. Detach or remove it first, or remove the pool with its VMs.",
                "%(pool)s has %(size)s VMs. Detach or remove them first, or remove the pool with its VMs.",
                pool.size,
            )
            % words
        )
    return None


def why_not_removed_with_vms(pool: Any) -> str | None:
    if pool.removing:
        return _("%(pool)s is being removed already.") % {"pool": pool}
    if not pool.size:
        return _("%(pool)s has no VMs: remove it as it is.") % {"pool": pool}
    if pool.delete_protection:
        return _("%(pool)s is delete protected. Switch that off in Edit first.") % {"pool": pool}
    return None


def question_with_vms(rows: list[Any]) -> str:
    [pool] = rows
    return ngettext(
        "Remove %(pool)s with its %(size)s virtual machine?",
        "Remove %(pool)s with its %(size)s virtual machines?",
        pool.size,
    ) % {"pool": pool, "size": pool.size}


def line_of(pool: Any, user: Any) -> dict[str, Any]:
    """Who waits, in order."""
    waiting = DesktopRequest.objects.filter(pool=pool).unserved().in_order()
    wishes = list(shown.readable(waiting)[:MOST])
    shown.look_around(wishes)
    return {"wishes": [{"wish": wish, "reason": shown.reason(wish), "place": wish.ahead + 1} for wish in wishes]}


def general_of(pool: Any, user: Any) -> dict[str, Any]:
    return {"hosts": list(pool.hosts.order_by("name")), "creating": _under_way(pool)}


def _under_way(pool: Any) -> Any:
    """The job that makes its VMs, while some of them are not there yet or failed."""
    return (
        Job.objects.filter(pool=pool, kind__in=("pool.create", "pool.grow")).first()
        if pool.creating or pool.failed
        else None
    )


def plans_of(pool: Any, user: Any) -> dict[str, Any]:
    """The shift plans of the pool; whoever sees the pool here sees their boards."""
    return {"plans": list(pool.shift_plans.prefetch_related("shifts")[:MOST])}


def of(part: int, whole: int) -> str:
    return f"{part} / {whole}"


def cluster_cell(pool: Any) -> Any:
    if pool.hosts_up:
        return pool.cluster.name
    return badge("bad", "triangle-alert", _("%(cluster)s: no host is up") % {"cluster": pool.cluster.name})


def template_cell(pool: Any) -> str:
    words = {"template": pool.template.name}
    if pool.template_version is None:
        return _("%(template)s (latest)") % words
    return _("%(template)s (v%(number)s)") % {**words, "number": pool.template_version.number}


class Pools(Resource):
    """The list of pools and everything that is done with them."""

    kind = "pools"
    title = gettext_lazy("Pools")
    icon = "layers"
    model = Pool
    example = gettext_lazy("name = help* and type = automatic sortby size desc")
    select_one = gettext_lazy("Select one pool.")
    select_some = gettext_lazy("Select at least one pool.")
    nothing = gettext_lazy("There are no pools yet. A pool offers identical desktops made from one template.")
    new_form = NewPool
    edit_form = EditPool
    edit_permission = "edit_pool"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("type", gettext_lazy("Type"), type=CHOICE, choices=PoolType.choices),
        Column("cluster", gettext_lazy("Cluster"), "cluster.name", TEXT, draw=cluster_cell),
        Column("template", gettext_lazy("Template"), "template.name", TEXT, read=template_cell),
        Column(
            "in_use",
            gettext_lazy("Assigned / VMs"),
            type=NUMBER,
            number=True,
            draw=lambda pool: of(pool.in_use, pool.size),
        ),
        Column("size", gettext_lazy("VMs"), type=NUMBER, number=True, shown=False),
        Column("free", gettext_lazy("Free"), type=NUMBER, number=True),
        Column("running", gettext_lazy("Running"), type=NUMBER, number=True),
        Column(
            "prestarted_vms",
            gettext_lazy("Prestarted ready / wanted"),
            type=NUMBER,
            number=True,
            draw=lambda pool: of(pool.ready, pool.prestarted_vms),
        ),
        Column("ready", gettext_lazy("Prestarted ready"), type=NUMBER, number=True, shown=False),
        Column("queue_length", gettext_lazy("In line"), type=NUMBER, number=True),
        Column("description", gettext_lazy("Description"), type=TEXT),
        Column("comment", gettext_lazy("Comment"), type=TEXT, shown=False),
        Column("data_center", gettext_lazy("Data center"), "cluster.data_center.name", TEXT, shown=False),
        Column("max_vms_per_user", gettext_lazy("Most per user"), type=NUMBER, number=True, shown=False),
        Column("central_data", gettext_lazy("Location of central data"), type=TEXT, shown=False),
        Column(
            "memory_mib",
            gettext_lazy("Memory"),
            type=NUMBER,
            number=True,
            shown=False,
            draw=lambda pool: mebibytes(pool.memory_mib),
        ),
        Column("vcpus", gettext_lazy("vCPUs"), type=NUMBER, number=True, shown=False),
        Column("failed", gettext_lazy("In error"), type=NUMBER, number=True, shown=False),
        Column("created_at", gettext_lazy("Created"), type=MOMENT, shown=False),
    )
    properties = (
        Property("delete_protection", "delete_protection", SWITCH, gettext_lazy("Delete Protection")),
        Property("operating_system", "operating_system", TEXT, gettext_lazy("Operating System")),
        Property("optimized_for", "optimized_for", CHOICE, gettext_lazy("Optimized for"), OptimizedFor.choices),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/pool.html", general_of),
        Tab(
            "vms",
            gettext_lazy("Virtual Machines"),
            kind="vms",
            narrow=lambda rows, pool: rows.filter(pool=pool.pk),
            query=lambda pool: f"pool = {quoted(pool.name)}",
            columns=("name", "status", "host", "user", "run_mode", "template_version"),
            actions=("detach", "release"),
        ),
        Tab("line", gettext_lazy("Line"), "manage/tabs/line.html", line_of),
        Tab("shifts", gettext_lazy("Shifts"), "manage/tabs/shifts.html", plans_of),
        Tab(
            "sessions",
            gettext_lazy("Sessions"),
            kind="sessions",
            narrow=lambda rows, pool: rows.filter(pool=pool.pk),
            columns=("requested_at", "user", "vm", "state", "ready_at", "connected_at", "ended_at", "end_reason"),
        ),
        PERMISSIONS,
        events_tab("pool_id"),
        Tab("jobs", gettext_lazy("Jobs"), kind="jobs", narrow=lambda rows, pool: rows.filter(pool=pool.pk)),
    )
    actions = (
        Action(
            "remove",
            gettext_lazy("Remove"),
            remove,
            "remove_pool",
            icon="trash-2",
            possible=why_not_removed,
            question=counted(ngettext_lazy("Remove this pool?", "Remove these %(count)s pools?", "count")),
            consequence=gettext_lazy("Who waits in line is told that the pool is gone."),
            danger=True,
            leaves=True,
        ),
        Action(
            "remove-with-vms",
            gettext_lazy("Remove with its VMs"),
            remove_with_vms,
            "remove_pool",
            icon="trash-2",
            one=True,
            possible=why_not_removed_with_vms,
            question=question_with_vms,
            consequence=gettext_lazy("The virtual machines and everything on their disks are deleted."),
            danger=True,
            typed=lambda rows: rows[0].name if rows[0].size > TYPE_TO_CONFIRM else "",
        ),
    )

    def detailed(self, rows: Any) -> Any:
        return with_counts(rows, None).select_related("cluster__data_center", "template", "template_version")

    def may_create(self, user: Any) -> bool:
        return access.can_anywhere(user, "create_pool", Cluster)
