"""People and groups, for those who manage them on the system as a whole."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field, StrictBool

from broker import access
from broker.errors import Invalid, NotFound
from broker.operations import groups, users
from portal import accounts, signed_in
from portal.api.lists import Page, Paging, page
from portal.api.shapes import require_values
from portal.api.values import Body, Change

router = Router(tags=["users and groups"])


class GroupRef(Schema):
    id: int
    name: str


class UserOut(Schema):
    id: UUID
    username: str
    first_name: str
    last_name: str
    email: str
    is_active: bool
    has_second_factor: bool
    groups: list[GroupRef]


class UserIn(Body):
    NEEDED = ("username", "password")

    username: str = Field("", max_length=1000)
    password: str = Field("", max_length=1000)
    first_name: str = Field("", max_length=1000)
    last_name: str = Field("", max_length=1000)
    email: str = Field("", max_length=1000)
    is_active: StrictBool = True
    groups: list[int] = Field([], max_length=1000)


class UserPatch(Change):
    username: str | None = Field(None, max_length=1000)
    password: str | None = Field(None, max_length=1000)
    first_name: str | None = Field(None, max_length=1000)
    last_name: str | None = Field(None, max_length=1000)
    email: str | None = Field(None, max_length=1000)
    is_active: StrictBool | None = None
    groups: list[int] | None = Field(None, max_length=1000)


class SignInOut(Schema):
    """A browser or a program that somebody is signed in with; `id` opens nothing."""

    id: str
    name: str
    is_program: bool
    address: str
    since: datetime
    until: datetime
    last_used: datetime | None


class SignInsOut(Schema):
    items: list[SignInOut]


class GroupOut(GroupRef):
    users: list[UUID]


class GroupIn(Body):
    NEEDED = ("name",)

    name: str = Field("", max_length=1000)
    users: list[UUID] = Field([], max_length=10_000)


class GroupPatch(Change):
    name: str | None = Field(None, max_length=1000)
    users: list[UUID] | None = Field(None, max_length=10_000)


@router.get("/users", response=Page[UserOut], summary="Users")
def list_users(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_users(request), paging, order=("username", "id"), searched="username", show=show_user)


@router.post("/users", response={201: UserOut}, summary="Create a user")
def create_user(request: HttpRequest, values: UserIn) -> Any:
    _users(request)
    given = values.model_dump(exclude={"groups"})
    user = users.create(groups=_groups_named(values.groups), by=request.user, **given)
    return Status(201, show_user(user))


@router.get("/users/{uuid:user_id}", response=UserOut, summary="One user")
def get_user(request: HttpRequest, user_id: UUID) -> dict[str, Any]:
    return show_user(_user(request, user_id))


@router.patch("/users/{uuid:user_id}", response=UserOut, summary="Change a user")
def change_user(request: HttpRequest, user_id: UUID, values: UserPatch) -> Any:
    user = _user(request, user_id)
    changes = values.model_dump(exclude_unset=True, exclude={"groups", "password"})
    require_values(changes)
    chosen = None if values.groups is None else _groups_named(values.groups)
    users.change(user=user, changes=changes, groups=chosen, password=values.password, by=request.user)
    return show_user(_user(request, user_id))


@router.delete("/users/{uuid:user_id}", response={204: None}, summary="Remove a user")
def remove_user(request: HttpRequest, user_id: UUID) -> Any:
    """Who has used desktops is disabled instead."""
    users.remove(user=_user(request, user_id), by=request.user)
    return Status(204, None)


@router.get("/users/{uuid:user_id}/sign-ins", response=SignInsOut, summary="Where a user is signed in")
def list_sign_ins(request: HttpRequest, user_id: UUID) -> dict[str, Any]:
    """Browsers first, then programs, by their tokens."""
    return {"items": [_show_sign_in(one) for one in signed_in.of_user(_user(request, user_id))]}


@router.delete("/users/{uuid:user_id}/sign-ins", response={204: None}, summary="Sign a user out everywhere")
def end_sign_ins(request: HttpRequest, user_id: UUID) -> Any:
    """Tokens are revoked, and consoles end; desktops stay."""
    signed_in.end_all(user=_user(request, user_id), by=request.user)
    return Status(204, None)


@router.delete("/users/{uuid:user_id}/sign-ins/{sign_in_id}", response={204: None}, summary="Sign a user out there")
def end_sign_in(request: HttpRequest, user_id: UUID, sign_in_id: str) -> Any:
    """A browser is signed out, a token revoked; what was opened there ends."""
    signed_in.end(user=_user(request, user_id), sign_in=sign_in_id, by=request.user)
    return Status(204, None)


@router.delete("/users/{uuid:user_id}/factors", response={204: None}, summary="Remove a user's second factors")
def remove_factors(request: HttpRequest, user_id: UUID) -> Any:
    """For somebody who lost them: make sure who is asking, for the password alone opens the account then."""
    accounts.remove_factors(user=_user(request, user_id), by=request.user)
    return Status(204, None)


@router.get("/groups", response=Page[GroupOut], summary="Groups")
def list_groups(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_groups(request), paging, order=("name", "id"), searched="name", show=show_group)


@router.post("/groups", response={201: GroupOut}, summary="Create a group")
def create_group(request: HttpRequest, values: GroupIn) -> Any:
    _groups(request)
    group = groups.create(name=values.name, users=_users_named(values.users), by=request.user)
    return Status(201, show_group(group))


@router.get("/groups/{int:group_id}", response=GroupOut, summary="One group")
def get_group(request: HttpRequest, group_id: int) -> dict[str, Any]:
    return show_group(_group(request, group_id))


@router.patch("/groups/{int:group_id}", response=GroupOut, summary="Change a group")
def change_group(request: HttpRequest, group_id: int, values: GroupPatch) -> Any:
    chosen = None if values.users is None else _users_named(values.users)
    groups.change(group=_group(request, group_id), name=values.name, users=chosen, by=request.user)
    return show_group(_group(request, group_id))


@router.delete("/groups/{int:group_id}", response={204: None}, summary="Remove a group")
def remove_group(request: HttpRequest, group_id: int) -> Any:
    """While it has no roles."""
    groups.remove(group=_group(request, group_id), by=request.user)
    return Status(204, None)


def _users(request: HttpRequest) -> QuerySet[Any]:
    access.require_everywhere(request.user, "manage_users")
    return get_user_model().objects.prefetch_related("groups", "authenticator_set")


def _groups(request: HttpRequest) -> QuerySet[Group]:
    access.require_everywhere(request.user, "manage_users")
    return Group.objects.prefetch_related("user_set")


def _user(request: HttpRequest, user_id: UUID) -> Any:
    user = _users(request).filter(pk=user_id).first()
    if user is None:
        raise NotFound(_("There is no such user."))
    return user


def _group(request: HttpRequest, group_id: int) -> Group:
    group = _groups(request).filter(pk=group_id).first() if group_id < 2**31 else None
    if group is None:
        raise NotFound(_("There is no such group."))
    return group


def _groups_named(keys: list[int]) -> list[Group]:
    found = list(Group.objects.filter(pk__in=[key for key in keys if 0 < key < 2**31]))
    if len(found) != len(set(keys)):
        raise Invalid(_("There is no such group."), field="groups")
    return found


def _users_named(keys: list[UUID]) -> list[Any]:
    found = list(get_user_model().objects.filter(pk__in=keys))
    if len(found) != len(set(keys)):
        raise Invalid(_("There is no such user."), field="users")
    return found


def show_user(user: Any) -> dict[str, Any]:
    """A user as the contract writes it."""
    names = ("username", "first_name", "last_name", "email", "is_active")
    return {name: getattr(user, name) for name in names} | {
        "id": user.pk,
        "has_second_factor": accounts.has_factor(user),
        "groups": [{"id": group.pk, "name": group.name} for group in user.groups.all()],
    }


def _show_sign_in(one: signed_in.SignIn) -> dict[str, Any]:
    about = {"id": one.id, "name": one.name, "is_program": one.token is not None, "address": one.address}
    return about | {"since": one.since, "until": one.until, "last_used": one.used}


def show_group(group: Group) -> dict[str, Any]:
    """A group as the contract writes it."""
    return {"id": group.pk, "name": group.name, "users": [user.pk for user in group.user_set.all()]}
