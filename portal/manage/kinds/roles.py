"""Roles: which actions each of them allows. They are part of Hotdesk and are not edited here."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy

from broker.models import RoleAssignment
from broker.roles import ACTIONS, ROLES
from portal.manage.cells import Column
from portal.manage.kinds.users import MOST, PeopleResource
from portal.manage.properties import TEXT
from portal.manage.resource import Tab
from portal.manage.static_rows import StaticRows


@dataclass(frozen=True)
class Role:
    """A named bundle of actions."""

    name: str
    labels: tuple[Any, ...]

    @property
    def pk(self) -> str:
        return self.name

    @property
    def allows(self) -> str:
        return "; ".join(str(label) for label in self.labels)

    def __str__(self) -> str:
        return self.name


def holders_of(role: Role, reader: Any) -> dict[str, Any]:
    rows = RoleAssignment.objects.filter(role=role.name).select_related("group", "user", "granted_by")
    return {"assignments": list(rows.prefetch_related("object").order_by("pk")[:MOST])}


class Roles(StaticRows, PeopleResource):
    """The list of roles."""

    kind = "roles"
    title = gettext_lazy("Roles")
    icon = "shield"
    select_one = gettext_lazy("Select one role.")
    select_some = gettext_lazy("Select at least one role.")
    columns = (
        Column("name", gettext_lazy("Name"), type=TEXT),
        Column("allows", gettext_lazy("Allows"), type=TEXT),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/role.html"),
        Tab("holders", gettext_lazy("Given to"), "manage/tabs/roles_of.html", holders_of),
    )

    def all_rows(self) -> list[Role]:
        return [
            Role(name, tuple(label for code, label in ACTIONS if code in actions)) for name, actions in ROLES.items()
        ]

    def may_create(self, user: Any) -> bool:
        return False
