"""What roles there are, and what each allows; custom ones are composed of actions."""

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field

from broker import access
from broker.errors import Denied, NotFound
from broker.models import Role
from broker.operations import roles
from broker.roles import ACTIONS
from portal.api.lists import Page, Paging, page
from portal.api.shapes import Name, Words, require_values
from portal.api.values import Body

router = Router(tags=["roles"])

Actions = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=1000)]


class ActionOut(Schema):
    code: str
    label: str


class RoleOut(Schema):
    id: UUID
    name: str
    description: str
    built_in: bool
    administrative: bool
    actions: list[ActionOut]


class RoleIn(Body):
    name: Name = ""
    description: Words = ""
    actions: Actions = []


class RolePatch(Body):
    name: Name | None = None
    description: Words | None = None
    actions: Actions | None = None


@router.get("/roles", response=Page[RoleOut], summary="Roles")
def list_roles(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """For whoever administers anything."""
    return page(_roles(request), paging, order=("name", "id"), searched="name", show=show)


@router.post("/roles", response={201: RoleOut}, summary="Compose a role")
def create_role(request: HttpRequest, values: RoleIn) -> Any:
    """Of actions that I have myself on the whole system."""
    _roles(request)
    _require_composing(request)
    return Status(201, show(roles.create(by=request.user, **values.model_dump())))


@router.get("/roles/{uuid:role_id}", response=RoleOut, summary="One role")
def get_role(request: HttpRequest, role_id: UUID) -> dict[str, Any]:
    return show(_role(request, role_id))


@router.patch("/roles/{uuid:role_id}", response=RoleOut, summary="Change a role")
def change_role(request: HttpRequest, role_id: UUID, values: RolePatch) -> Any:
    """Not a built-in one. What everybody who has it may do follows at once."""
    role = _role(request, role_id)
    _require_composing(request)
    changes = values.model_dump(exclude_unset=True)
    require_values(changes)
    roles.change(role=role, changes=changes, by=request.user)
    return show(_role(request, role_id))


@router.delete("/roles/{uuid:role_id}", response={204: None}, summary="Remove a role")
def remove_role(request: HttpRequest, role_id: UUID) -> Any:
    """A custom one that nobody has."""
    role = _role(request, role_id)
    _require_composing(request)
    roles.remove(role=role, by=request.user)
    return Status(204, None)


def _roles(request: HttpRequest) -> Any:
    if not access.administers(request.user):
        raise NotFound(_("There is nothing here, or you may not see it."))
    return Role.objects.all()


def _role(request: HttpRequest, role_id: UUID) -> Role:
    role = _roles(request).filter(pk=role_id).first()
    if role is None:
        raise NotFound(_("There is no such role."))
    return role


def _require_composing(request: HttpRequest) -> None:
    if not access.everywhere(request.user, "manage_roles"):
        raise Denied(_("Your roles do not allow you to compose roles."))


def show(role: Role) -> dict[str, Any]:
    """A role as the contract writes it."""
    allowed = role.allowed
    return {
        "id": role.pk,
        "name": role.name,
        "description": str(role.about),
        "built_in": role.built_in,
        "administrative": role.is_administrative,
        "actions": [{"code": code, "label": str(label)} for code, label in ACTIONS if code in allowed],
    }
