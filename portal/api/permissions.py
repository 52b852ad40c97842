"""Who may do what to which object: roles given, taken, searched for and explained."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import register_converter
from django.urls.converters import StringConverter
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field

from broker import access, grants
from broker.errors import Denied, Invalid, NotFound
from broker.models import Cluster, DataCenter, Host, Pool, StoragePool, Template, VirtualMachine
from broker.models.base import Protected
from broker.operations import directory, permissions
from portal import people
from portal.api.lists import Page, Paging, page
from portal.api.shapes import SEE
from portal.api.values import Body, Given

router = Router(tags=["permissions"])

KINDS: dict[str, type[Protected]] = {
    "data-centers": DataCenter,
    "clusters": Cluster,
    "hosts": Host,
    "storage-pools": StoragePool,
    "templates": Template,
    "manage/pools": Pool,
    "vms": VirtualMachine,
}
KIND_OF = {model: kind for kind, model in KINDS.items()}
SYSTEM = "system"
Kind = Literal["data-centers", "clusters", "hosts", "storage-pools", "templates", "manage/pools", "vms"]


class KindConverter(StringConverter):
    """A kind of object in an address."""

    regex = "|".join(KINDS)


register_converter(KindConverter, "protected")


class UserRef(Schema):
    id: UUID
    name: str


class GroupRef(Schema):
    id: int
    name: str


class Principal(Schema):
    """One of the two."""

    user: UserRef | None
    group: GroupRef | None


class ObjectRef(Schema):
    """An object that roles are given on; the system as a whole has no id."""

    kind: str
    id: UUID | None
    name: str


class PermissionOut(Schema):
    id: UUID
    principal: Principal
    role: str
    inherited_from: ObjectRef | None
    granted_by: str | None
    granted_at: datetime


class Ref(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: UUID | Annotated[int, Field(strict=True)]


Key = Annotated[str, Field(max_length=150)] | Annotated[int, Field(strict=True)] | Ref


class PrincipalIn(BaseModel):
    """A user, by id or user name, or a group, by id or name."""

    model_config = ConfigDict(extra="forbid")

    user: Key | None = None
    group: Key | None = None
    directory: Annotated[str, Field(max_length=600)] | None = None  # the key of a candidate who is not here yet


class PermissionIn(Body):
    principal: PrincipalIn
    role: str = Field(max_length=100)


class CandidateRole(Schema):
    name: str
    description: str
    administrative: bool
    allows: list[str]


class Candidates(Schema):
    users: list[UserRef]
    groups: list[GroupRef]
    directory: list[people.Stranger] | None = Field(description="who is only there; null when it does not answer")
    roles: list[CandidateRole]


class Search(Given):
    q: str = Field("", max_length=200, description="words of a user name, a name, or the name of a group")


class Reason(Schema):
    role: str
    group: str | None
    inherited_from: ObjectRef | None
    granted_by: str | None
    granted_at: datetime


class Decision(Schema):
    action: str
    label: str
    allowed: bool
    because: list[Reason]


class Access(Schema):
    user: UserRef
    decisions: list[Decision]


class Who(Given):
    user: str = Field(max_length=150, description="a user name, exactly")


class MyRole(Schema):
    role: str
    allows: list[str]
    on: ObjectRef
    group: str | None
    granted_by: str | None
    granted_at: datetime


@router.get("/me/access", response=Page[MyRole], summary="My roles, and where each comes from")
def my_access(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    rows = access.held(request.user)
    return page(rows, paging, order=("granted_at", "id"), searched="role__name", show=show_mine)


@router.get("/{protected:kind}/{uuid:object_id}/permissions", response=Page[PermissionOut], summary="Permissions")
def list_permissions(request: HttpRequest, kind: Kind, object_id: UUID, paging: Query[Paging]) -> dict[str, Any]:
    """Those of the object itself, and those that it inherits."""
    return _list(_object(request, kind, object_id), paging)


@router.get("/system/permissions", response=Page[PermissionOut], summary="Permissions on the whole system")
def list_system_permissions(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return _list(_system(request), paging)


def _list(on: Protected | None, paging: Paging) -> dict[str, Any]:
    def place(found: list[Any]) -> None:
        access.placed(found, on)

    return page(access.given(on), paging, order=("name", "id"), searched="name", show=show, prepare=place)


@router.post(
    "/{protected:kind}/{uuid:object_id}/permissions",
    response={200: PermissionOut, 201: PermissionOut},
    summary="Give a role",
)
def give_role(request: HttpRequest, kind: Kind, object_id: UUID, values: PermissionIn) -> Any:
    """201, or 200 where it was given already. Only users and groups that exist, and roles that I may give."""
    return _give(request, _object(request, kind, object_id), values)


@router.post(
    "/system/permissions",
    response={200: PermissionOut, 201: PermissionOut},
    summary="Give a role on the whole system",
)
def give_system_role(request: HttpRequest, values: PermissionIn) -> Any:
    return _give(request, _system(request), values)


def _give(request: HttpRequest, on: Protected | None, values: PermissionIn) -> Any:
    to, who = _principal_named(values.principal), {"on": on, "by": request.user}
    role = grants.role_named(values.role)
    if values.principal.directory is not None:
        given, created = directory.give(key=values.principal.directory, role=role, **who)
    else:
        given, created = permissions.give(role=role, to=to, **who)
    [placed] = access.placed(access.given(on).filter(pk=given.pk), on)
    return Status(201 if created else 200, show(placed))


@router.delete(
    "/{protected:kind}/{uuid:object_id}/permissions/{uuid:permission_id}",
    response={204: None},
    summary="Take a role away",
)
def take_role(request: HttpRequest, kind: Kind, object_id: UUID, permission_id: UUID) -> Any:
    """Only where it was given, else 409; what it allowed ends at once."""
    return _take(request, _object(request, kind, object_id), permission_id)


@router.delete(
    "/system/permissions/{uuid:permission_id}",
    response={204: None},
    summary="Take a role on the whole system away",
)
def take_system_role(request: HttpRequest, permission_id: UUID) -> Any:
    return _take(request, _system(request), permission_id)


def _take(request: HttpRequest, on: Protected | None, permission_id: UUID) -> Any:
    assignment = access.given(on).filter(pk=permission_id).first()
    if assignment is None:
        raise NotFound(_("There is no such permission here."))
    permissions.take_away(assignment=assignment, on=on, by=request.user)
    return Status(204, None)


@router.get(
    "/{protected:kind}/{uuid:object_id}/permissions/candidates",
    response=Candidates,
    summary="Whom a role can be given, and which",
)
def find_candidates(request: HttpRequest, kind: Kind, object_id: UUID, search: Query[Search]) -> dict[str, Any]:
    """Users and groups that exist (R144), and the roles that I may give here."""
    return _candidates(request, _object(request, kind, object_id), search.q)


@router.get(
    "/system/permissions/candidates",
    response=Candidates,
    summary="Whom a role on the whole system can be given, and which",
)
def find_system_candidates(request: HttpRequest, search: Query[Search]) -> dict[str, Any]:
    return _candidates(request, _system(request), search.q)


def _candidates(request: HttpRequest, on: Protected | None, text: str) -> dict[str, Any]:
    roles = grants.givable(request.user, on)
    if not roles:
        raise Denied(_("You may not give any role here."))
    users, groups = people.matching(text)
    return {
        "directory": people.strangers(text),
        "users": [{"id": user.pk, "name": user.username} for user in users],
        "groups": [{"id": group.pk, "name": group.name} for group in groups],
        "roles": [
            {
                "name": role.name,
                "description": str(role.about),
                "administrative": role.is_administrative,
                "allows": [str(label) for label in role.labels],
            }
            for role in roles
        ],
    }


@router.get(
    "/{protected:kind}/{uuid:object_id}/access", response=Access, summary="Why a user may, or may not, do something"
)
def explain_access(request: HttpRequest, kind: Kind, object_id: UUID, who: Query[Who]) -> dict[str, Any]:
    """Every action: whether this user may do it here, and which roles say so."""
    return _explain(_object(request, kind, object_id), who.user)


@router.get("/system/access", response=Access, summary="Why a user may, or may not, do something everywhere")
def explain_system_access(request: HttpRequest, who: Query[Who]) -> dict[str, Any]:
    return _explain(_system(request), who.user)


def _explain(on: Protected | None, name: str) -> dict[str, Any]:
    user = get_user_model().objects.filter(username=name).first()
    if user is None:
        raise Invalid(_("There is no such user."), field="user")
    decisions = [
        {
            "action": one.action,
            "label": str(one.label),
            "allowed": one.allowed,
            "because": [reason(source) for source in one.because],
        }
        for one in access.explain(user, on)
    ]
    return {"user": {"id": user.pk, "name": user.username}, "decisions": decisions}


def _object(request: HttpRequest, kind: str, object_id: UUID) -> Protected:
    return access.get(request.user, KINDS[kind], object_id, see=SEE)


def _system(request: HttpRequest) -> None:
    """NotFound for whoever does not see everything."""
    access.require_everywhere(request.user, SEE)


def _principal_named(given: PrincipalIn) -> Any:
    """Invalid unless it names one user or one group that exists (R142); null for one that the directory has."""
    if (given.user, given.group, given.directory).count(None) != 2:
        raise Invalid(_("Name either a user, or a group."), field="principal")
    if given.directory is not None:
        return None
    if given.user is not None:
        found = _named(get_user_model()._default_manager.all(), given.user, "username")
    else:
        found = _named(Group.objects.all(), given.group, "name")
    if found is None:
        text = _("There is no such user or group. Only those that exist can be given a role.")
        raise Invalid(text, field="principal")
    return found


def _named(rows: Any, given: Any, field: str) -> Any:
    """By key, or by name; Invalid where a text is the key of one and the name of another."""
    value = given.id if isinstance(given, Ref) else given
    try:
        by_key = rows.filter(pk=rows.model._meta.pk.to_python(value)).first()
    except (ValidationError, OverflowError):
        by_key = None
    by_name = rows.filter(**{field: value}).first() if isinstance(given, str) else None
    if by_key is not None and by_name is not None and by_key != by_name:
        text = _('%(text)s is the id of one and the name of another. Write {"id": …} for the id.')
        raise Invalid(text % {"text": value}, field="principal")
    return by_key or by_name


def show(one: Any) -> dict[str, Any]:
    """A permission, placed where it was asked for, as the contract writes it."""
    return {
        "id": one.pk,
        "principal": {
            "user": one.user and {"id": one.user.pk, "name": one.user.username},
            "group": one.group and {"id": one.group.pk, "name": one.group.name},
        },
        "role": one.role.name,
        "inherited_from": reference(one.inherited_from) if one.inherited else None,
        "granted_by": one.granted_by and one.granted_by.username,
        "granted_at": one.granted_at,
    }


def reason(one: Any) -> dict[str, Any]:
    """Why something is allowed."""
    return {
        "role": one.role.name,
        "group": one.group and one.group.name,
        "inherited_from": reference(one.inherited_from) if one.inherited else None,
        "granted_by": one.granted_by and one.granted_by.username,
        "granted_at": one.granted_at,
    }


def show_mine(one: Any) -> dict[str, Any]:
    """A role of one's own."""
    return {
        "role": one.role.name,
        "allows": [str(label) for label in one.role.labels],
        "on": reference(one.object) if one.object or one.object_id is None else gone(one.object_id),
        "group": one.group and one.group.name,
        "granted_by": one.granted_by and one.granted_by.username,
        "granted_at": one.granted_at,
    }


def gone(key: UUID) -> dict[str, Any]:
    """An object that is not there any more."""
    return {"kind": "", "id": key, "name": "–"}


def reference(row: Protected | None) -> dict[str, Any]:
    """An object that roles are given on; null is the system as a whole."""
    if row is None:
        return {"kind": SYSTEM, "id": None, "name": _("System")}
    return {"kind": KIND_OF[type(row)], "id": row.pk, "name": str(row)}
