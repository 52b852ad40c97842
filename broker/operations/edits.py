"""Change rows that people edit: what somebody else changed meanwhile is told, and never overwritten unseen."""

from typing import Any, TypeVar

from django.db import models
from django.utils.translation import gettext as _

from broker import events
from broker.errors import Conflict, Invalid
from broker.models.base import Row

Edited = TypeVar("Edited", bound=Row)
MAX_NAME = 255


def require_unchanged(present: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """Conflict naming each field that is no longer as whoever edits saw it; null for whoever does not mind."""
    differing = [name for name, value in (expected or {}).items() if name in present and present[name] != value]
    if not differing:
        return
    text = _("Somebody else changed this meanwhile. It is now: %(value)s")
    refusal = Conflict(
        _("Somebody else changed this meanwhile. Look at the marked fields, then save again."),
        code="CHANGED_MEANWHILE",
    )
    refusal.details = [{"field": name, "message": text % {"value": _shown(present[name])}} for name in differing]
    raise refusal


def _shown(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "–"
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def lock(row: Edited) -> Edited:
    """The row as it is now, kept from everybody else who would edit it."""
    manager: models.Manager[Edited] = type(row)._default_manager
    return manager.select_for_update(no_key=True).get(pk=row.pk)


def apply(row: Row, changes: dict[str, Any], *, expected: dict[str, Any] | None) -> list[str]:
    """Write the changes into a locked row and save them; the names of the fields that really changed."""
    require_unchanged({name: getattr(row, name) for name in expected or {}}, expected)
    changed = [name for name, value in changes.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, changes[name])
    if changed:
        row.save(update_fields=changed)
    return changed


def name_problem(name: str, most: int = MAX_NAME) -> str | None:
    """Why this cannot be the name of anything."""
    if not name.strip():
        return _("A name is required.")
    if not name.isprintable():
        return _("The name may hold no control characters.")
    if len(name) > most:
        return _("The name may have at most %(most)s characters.") % {"most": most}
    return None


def require_name(name: str, others: "models.QuerySet[Any]", most: int = MAX_NAME) -> None:
    """Invalid for what cannot be a name; Conflict when one of the others has it."""
    problem = name_problem(name, most)
    if problem:
        raise Invalid(problem, field="name")
    if others.filter(name=name).exists():
        raise Conflict(_("The name %(name)s is used already.") % {"name": name}, field="name", code="NAME_TAKEN")


def record(happened: str, row: Row, *, by: Any, **facts: Any) -> None:
    """Write that an object was created, changed or removed."""
    events.record(f"object.{happened}", actor=by, subject=row, name=row, what=row._meta.verbose_name, **facts)
