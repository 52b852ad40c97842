"""Groups: people who are given roles together."""

from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Count
from django.utils.translation import gettext_lazy, ngettext_lazy

from broker.models import RoleAssignment
from broker.operations import groups
from portal.manage.cells import Column
from portal.manage.kinds.users import MOST, PeopleResource
from portal.manage.people_forms import GroupForm
from portal.manage.properties import NUMBER, TEXT
from portal.manage.resource import Action, Tab, counted, each, removed
from portal.manage.shared import on_what_is_seen


def roles_of(group: Any, reader: Any) -> dict[str, Any]:
    rows = RoleAssignment.objects.filter(on_what_is_seen(reader), group=group).select_related(
        "role", "group", "user", "granted_by"
    )
    return {"assignments": list(rows.prefetch_related("object").order_by("role__name", "pk")[:MOST])}


class Groups(PeopleResource):
    """The list of groups."""

    kind = "groups"
    title = gettext_lazy("Groups")
    icon = "users-round"
    model = Group
    select_one = gettext_lazy("Select one group.")
    select_some = gettext_lazy("Select at least one group.")
    new_form = edit_form = GroupForm
    edit_permission = "manage_users"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("users", gettext_lazy("Users"), "user_count", NUMBER, number=True),
        Column("roles", gettext_lazy("Roles"), "role_count", NUMBER, number=True),
    )
    tabs = (
        Tab(
            "users",
            gettext_lazy("Users"),
            kind="users",
            narrow=lambda rows, row: rows.filter(groups=row.pk),
        ),
        Tab("roles", gettext_lazy("Roles"), "manage/tabs/roles_of.html", roles_of),
    )
    actions = (
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(groups.remove, "group", removed),
            "manage_users",
            "trash-2",
            question=counted(ngettext_lazy("Remove this group?", "Remove these %(count)s groups?", "count")),
            consequence=gettext_lazy("The people in it stay."),
            danger=True,
            leaves=True,
        ),
    )

    def key(self, text: str) -> Any:
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None

    def detailed(self, rows: Any) -> Any:
        return rows.annotate(
            user_count=Count("user", distinct=True), role_count=Count("role_assignments", distinct=True)
        )
