"""The system as a whole: the root of everything, on which roles reach everywhere."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker import access
from portal.manage.cells import Column
from portal.manage.properties import TEXT
from portal.manage.resource import SEE, Resource
from portal.manage.shared import PERMISSIONS
from portal.manage.static_rows import StaticRows


@dataclass(frozen=True)
class Whole:
    """The one row there is."""

    pk: str = "system"

    @property
    def name(self) -> str:
        return _("System")

    def __str__(self) -> str:
        return self.name


class System(StaticRows, Resource):
    """Its permissions, for those who see everything."""

    kind = "system"
    title = gettext_lazy("System")
    icon = "globe"
    columns = (Column("name", gettext_lazy("Name"), type=TEXT),)
    tabs = (PERMISSIONS,)
    everywhere = SEE

    def all_rows(self) -> list[Whole]:
        return [Whole()]

    def may(self, user: Any, permission: str, rows: list[Any]) -> bool:
        return access.everywhere(user, permission)

    @property
    def url(self) -> str:
        """There is nothing to choose from."""
        return reverse("manage-details", args=(self.kind, "system"))
