"""What roles there are, and what each allows."""

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Router, Schema

from broker import access
from broker.errors import NotFound
from broker.roles import ACTIONS, ROLES

router = Router(tags=["roles"])


class ActionOut(Schema):
    code: str
    label: str


class RoleOut(Schema):
    name: str
    built_in: bool
    actions: list[ActionOut]


class Roles(Schema):
    items: list[RoleOut]
    next: None
    count: int


@router.get("/roles", response=Roles, summary="Roles")
def list_roles(request: HttpRequest) -> dict[str, Any]:
    """For whoever administers anything."""
    if not access.administers(request.user):
        raise NotFound(_("There is nothing here, or you may not see it."))
    labels = dict(ACTIONS)
    items = [
        {
            "name": name,
            "built_in": True,
            "actions": [{"code": code, "label": str(labels[code])} for code in labels if code in actions],
        }
        for name, actions in ROLES.items()
    ]
    return {"items": items, "next": None, "count": len(items)}
