"""What the rows have in common: a UUID key, protection by roles, and one way to change a state."""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import uuid4

from django.db import models
from django.utils.translation import gettext as _

from broker.errors import Conflict
from broker.roles import ACTIONS


class Row(models.Model):
    """A row that the outside may name: its key says nothing about its order or number."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)

    class Meta:
        abstract = True


class Protected(Row):
    """A row on which roles are given. `PARENTS` are the paths up along which rights are inherited.

    `LENT` says who else sees it, as (what contains it, what else that contains, the action there that needs it).
    """

    PARENTS: ClassVar[tuple[str, ...]] = ()
    LENT: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    class Meta:
        abstract = True
        default_permissions = ()
        permissions = ACTIONS


def write_all(rows: Sequence[models.Model], fields: Sequence[str]) -> None:
    """Write these fields of locked rows of one kind, in one statement.

    An insert that meets its own row: Django's bulk_update builds a CASE for every value, which takes longer than all
    the rest of serving a line.
    """
    if rows:
        manager = type(rows[0])._default_manager
        manager.bulk_create(rows, update_conflicts=True, unique_fields=["pk"], update_fields=fields)


class Stateful(models.Model):
    """A row whose state changes only along a table, and only if nobody else was quicker."""

    STATE_FIELD: ClassVar[str]
    MOVES: ClassVar[dict[str, tuple[str, ...]]]

    class Meta:
        abstract = True

    def move(self, to: str, **also: Any) -> None:
        """Change the state by compare-and-set, writing `also` with it; Conflict when it cannot be."""
        field = self.STATE_FIELD
        present = getattr(self, field)
        refusal = Conflict(
            _("%(name)s is %(state)s and cannot become %(to)s.") % {"name": self, "state": present, "to": to},
            code="WRONG_STATE",
        )
        if to not in self.MOVES[present]:
            raise refusal
        changed = {field: to, **also}
        rows = type(self)._default_manager.filter(pk=self.pk, **{field: present})
        if rows.update(**changed) != 1:
            raise refusal
        for name, value in changed.items():
            setattr(self, name, value)
