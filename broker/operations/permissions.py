"""Give roles and take them away: who may do so, and for whom."""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from broker import grants
from broker.errors import Conflict, Denied, Invalid
from broker.models import Role, RoleAssignment
from broker.models.base import Protected


@transaction.atomic
def give(*, role: Role, to: Any, on: Protected | None, by: Any) -> tuple[RoleAssignment, bool]:
    """Give a user or group a role on an object, or on the system where it is null; and whether that is new.

    Denied for a role that `by` may not give there, Invalid for somebody who may not sign in (R142, R145).
    """
    require_giving(by, role, on)
    if not getattr(to, "is_active", True):
        text = _("%(name)s may not sign in; enable the account first.")
        raise Invalid(text % {"name": to}, field="principal")
    return grants.grant(role=role.name, to=to, on=on, by=by)


@transaction.atomic
def take_away(*, assignment: RoleAssignment, on: Protected | None, by: Any) -> None:
    """Take away a role that was given on this very object (R146). What it allowed ends at once.

    Conflict for a role that is only inherited here, and for the last SuperUser.
    """
    if assignment.object_id != (on.pk if on is not None else None):
        where = assignment.object if assignment.object_id else _("System")
        text = _("This role is inherited. Remove it where it was given: %(where)s.")
        raise Conflict(text % {"where": where}, code="INHERITED")
    require_giving(by, assignment.role, on)
    grants.revoke(role=assignment.role.name, to=assignment.principal, on=on, by=by)


def require_giving(by: Any, role: Role, on: Protected | None) -> None:
    if grants.may_give(by, role, on):
        return
    names = ", ".join(one.name for one in grants.givable(by, on))
    text = (
        _("You may not give or take the role %(role)s here. Roles you may give here: %(roles)s.")
        if names
        else _("You may not give or take the role %(role)s here.")
    )
    raise Denied(text % {"role": role, "roles": names})
