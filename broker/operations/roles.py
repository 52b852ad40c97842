"""Compose roles out of actions. Built-in ones stay as they are."""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from broker import access, events, grants, jobs
from broker.errors import Conflict, Denied, Invalid
from broker.models import Role
from broker.operations import edits
from broker.roles import ACTIONS

MAX_NAME = 100


@transaction.atomic
def create(*, name: str, actions: list[str], description: str = "", by: Any = None) -> Role:
    """A role of these actions. Denied for an action that `by` does not have on the whole system."""
    edits.require_name(name, Role.objects.all(), most=MAX_NAME)
    _require_known(frozenset(actions))
    _require_held(frozenset(actions), by)
    role = Role.objects.create(name=name, description=description, actions=sorted(set(actions)))
    _record("created", role, by=by)
    return role


@transaction.atomic
def change(*, role: Role, changes: dict[str, Any], expected: dict[str, Any] | None = None, by: Any = None) -> None:
    """Change a custom role; whoever has it may do more, or no longer do something, at once.

    Denied where the role has, or is to have, an action that `by` does not have on the whole system.
    """
    role = edits.lock(role)
    _refuse_built_in(role)
    if "actions" in changes:
        changes = {**changes, "actions": sorted(set(changes["actions"]))}
    if changes.get("name", role.name) != role.name:
        edits.require_name(changes["name"], Role.objects.exclude(pk=role.pk), most=MAX_NAME)
    if "actions" in changes:
        wanted = frozenset(changes["actions"])
        _require_known(wanted)
        _require_held(wanted | role.allowed, by)
        _require_giving(role, by)
    else:
        _require_held(role.allowed, by)
    changed = edits.apply(role, changes, expected=expected)
    if "actions" in changed:
        grants.reindex(role)
        jobs.check_access()
    if changed:
        _record("changed", role, by=by, fields=", ".join(changed))


@transaction.atomic
def remove(*, role: Role, by: Any) -> None:
    """Remove a custom role that nobody has."""
    role = edits.lock(role)
    _refuse_built_in(role)
    _require_held(role.allowed, by)
    count = role.assignments.count()
    if count:
        text = _("%(role)s is still given in %(count)s places. Take it from everybody first.")
        raise Conflict(text % {"role": role, "count": count}, code="IN_USE")
    _record("removed", role, by=by)
    role.delete()


def _refuse_built_in(role: Role) -> None:
    if role.built_in:
        text = _("%(role)s is built in and stays as it is. Make a role of your own instead.")
        raise Conflict(text % {"role": role}, code="BUILT_IN")


def _require_known(wanted: frozenset[str]) -> None:
    """Invalid for what is no action, and for none at all."""
    known = {code for code, _label in ACTIONS}
    unknown = sorted(wanted - known)
    if unknown or not wanted:
        problem = _("Unknown actions: %(names)s.") if unknown else _("Choose at least one action.")
        text = problem % {"names": ", ".join(unknown)} + " " + _("Actions are: %(names)s.")
        raise Invalid(text % {"names": ", ".join(code for code, _label in ACTIONS)}, field="actions")


def _require_held(touched: frozenset[str], by: Any) -> None:
    """Denied for actions that one does not have oneself."""
    missing = sorted(touched - access.actions_on(by, None)) if by is not None else []
    if missing:
        text = _("A role may hold only actions that you have yourself on the whole system; you lack: %(names)s.")
        raise Denied(text % {"names": ", ".join(missing)})


def _require_giving(role: Role, by: Any) -> None:
    """Whoever changes what a role allows that somebody has gives it to them."""
    if by is None or not role.assignments.exists() or access.everywhere(by, "manage_permissions"):
        return
    raise Denied(_("%(role)s is given already: only who may give roles may change what it allows.") % {"role": role})


def _record(happened: str, role: Role, *, by: Any, **facts: Any) -> None:
    events.record(
        f"object.{happened}", actor=by, subject=role, name=role, what=_("role"), severity="warning", **facts
    )
