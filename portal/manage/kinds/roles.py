"""Roles: which actions each of them allows. Built-in ones stay as they are; others are composed here."""

from typing import Any

from django.db.models import Count
from django.utils.translation import gettext_lazy, ngettext_lazy

from broker import access
from broker.models import Role, RoleAssignment
from broker.operations import roles
from portal.manage.cells import Column
from portal.manage.people_forms import RoleForm
from portal.manage.properties import NUMBER, SWITCH, TEXT
from portal.manage.resource import MOST_COUNTED, Action, Resource, Tab, Words, counted, each, removed
from portal.manage.shared import on_what_is_seen

MOST = 100
STAYS = gettext_lazy("This role is built in and stays as it is. Make a role of your own instead.")


def holders_of(role: Role, reader: Any) -> dict[str, Any]:
    rows = RoleAssignment.objects.filter(on_what_is_seen(reader), role=role)
    rows = rows.select_related("role", "group", "user", "granted_by").prefetch_related("object")
    return {"assignments": list(rows.order_by("pk")[:MOST])}


class Roles(Resource):
    """The list of roles, for whoever administers anything."""

    kind = "roles"
    title = gettext_lazy("Roles")
    icon = "shield"
    model = Role
    example = gettext_lazy("name = *Admin")
    select_one = gettext_lazy("Select one role.")
    select_some = gettext_lazy("Select at least one role.")
    new_form = edit_form = RoleForm
    edit_permission = "manage_roles"
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("about", gettext_lazy("Description"), read=lambda role: str(role.about)),
        Column("built_in", gettext_lazy("Built in"), type=SWITCH),
        Column("given", gettext_lazy("Given"), "given_count", NUMBER, number=True),
        Column("allows", gettext_lazy("Allows"), read=lambda role: "; ".join(map(str, role.labels)), shown=False),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/role.html"),
        Tab("holders", gettext_lazy("Given to"), "manage/tabs/roles_of.html", holders_of),
    )
    actions = (
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(roles.remove, "role", removed),
            "manage_roles",
            "trash-2",
            possible=lambda role: STAYS if role.built_in else None,
            question=counted(ngettext_lazy("Remove this role?", "Remove these %(count)s roles?", "count")),
            danger=True,
            leaves=True,
        ),
    )

    def visible(self, user: Any) -> Any:
        return Role.objects.all() if self.offered(user) else Role.objects.none()

    def detailed(self, rows: Any) -> Any:
        return rows.annotate(given_count=Count("assignments"))

    def may(self, user: Any, permission: str, rows: list[Any]) -> bool:
        return access.everywhere(user, permission)

    def may_create(self, user: Any) -> bool:
        return access.everywhere(user, "manage_roles")

    def why_not_edited(self, row: Any) -> Words:
        return STAYS if row.built_in else ""

    def count(self, user: Any) -> int:
        return Role.objects.order_by()[: MOST_COUNTED + 1].count()
