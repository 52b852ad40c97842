"""Groups of people, to whom roles are given together."""

from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.utils.translation import gettext as _

from broker import events, grants, jobs
from broker.errors import Conflict
from broker.models import Event, RoleAssignment
from broker.operations import edits
from broker.operations.users import membership, require_covered

MAX_NAME = 150


@transaction.atomic
def create(*, name: str, users: list[Any] | None = None, by: Any = None) -> Group:
    """A group of these people."""
    _require_name(name, Group.objects.all())
    group = Group.objects.create(name=name)
    group.user_set.set(users or [])
    _record("created", group, by=by)
    return group


def _require_name(name: str, others: Any) -> None:
    edits.require_name(name, others, most=MAX_NAME)


@transaction.atomic
def change(
    *,
    group: Group,
    name: str | None = None,
    users: list[Any] | None = None,
    expected: dict[str, Any] | None = None,
    by: Any = None,
) -> None:
    """Rename a group, or say who is in it; what its roles give follows at once.

    Denied for a group that may do more than whoever changes it, and Conflict for the last SuperUser.
    """
    changed = []
    with grants.keeping_a_superuser():
        group = Group.objects.select_for_update().get(pk=group.pk)
        require_covered(by, group)
        before = set(group.user_set.all())
        present = {"name": group.name, "users": sorted(one.username for one in before)}
        edits.require_unchanged(present, expected)
        if users is not None and set(users) != before:
            group.user_set.set(users)
            changed.append(f"users ({membership(before, set(users))})")
            jobs.check_access()
    if name is not None and name != group.name:
        _require_name(name, Group.objects.exclude(pk=group.pk))
        group.name = name
        group.save(update_fields=["name"])
        changed.append("name")
    if changed:
        _record("changed", group, by=by, fields=", ".join(changed))


@transaction.atomic
def remove(*, group: Group, by: Any) -> None:
    """Remove a group that has no roles; the people in it stay."""
    group = Group.objects.select_for_update().get(pk=group.pk)
    if RoleAssignment.objects.filter(group=group).exists():
        text = _("%(name)s has roles. Remove them first, so that nobody loses them unseen.")
        raise Conflict(text % {"name": group}, code="IN_USE")
    _record("removed", group, by=by)
    group.delete()


def _record(happened: str, group: Group, *, by: Any, **facts: Any) -> None:
    severity = Event.Severity.INFO if happened == "created" else Event.Severity.WARNING
    events.record(f"object.{happened}", actor=by, name=group, what=_("group"), severity=severity, **facts)
