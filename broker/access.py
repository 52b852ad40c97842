"""Who may do what to which row: one query builder over guardian, so that lists and checks cannot disagree (I6)."""

from typing import Any, TypeVar, cast

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q, UUIDField, Value
from django.db.models.functions import Cast, Replace
from django.utils.translation import gettext as _
from guardian.models import GroupObjectPermission, UserObjectPermission
from guardian.shortcuts import remove_perm

from broker import events
from broker.errors import Denied, Invalid, NotFound
from broker.models import (
    Cluster,
    DataCenter,
    Host,
    Pool,
    RoleAssignment,
    StoragePool,
    Template,
    VirtualMachine,
)
from broker.models.base import Protected
from broker.roles import ROLES

PROTECTED: tuple[type[Protected], ...] = (
    DataCenter,
    Cluster,
    Host,
    StoragePool,
    Template,
    Pool,
    VirtualMachine,
)

Row = TypeVar("Row", bound=Protected)


def visible(user: Any, model: type[Row], action: str) -> models.QuerySet[Row]:
    """The rows on which the user may do `action`: by a grant on them, on what contains them, or on the system."""
    rows = model._default_manager.all()
    if not user.is_active:
        return rows.none()
    if user.is_superuser:
        return rows
    granted = Q(Exists(_system_wide(user, model, action))) | _granted(user, model, action, "pk")
    for path in model.PARENTS:
        parent = _model_at(model, path)
        granted |= _granted(user, parent, action, path)
    return rows.filter(granted)


def can(user: Any, action: str, row: Protected) -> bool:
    """Whether the user may do `action` on this row: the same query, asked of one row."""
    return visible(user, type(row), action).filter(pk=row.pk).exists()


def can_anywhere(user: Any, action: str, model: type[Protected]) -> bool:
    """Whether there is any row of the kind on which the user may do `action`."""
    return visible(user, model, action).exists()


def everywhere(user: Any, action: str) -> bool:
    """Whether the user may do `action` on the system as a whole, and not only on some of its objects."""
    return user.is_active and (user.is_superuser or _system_wide(user, DataCenter, action).exists())


def require_everywhere(user: Any, action: str) -> None:
    """NotFound, as if it were not there, unless the user may do this on the system as a whole (I6)."""
    if not everywhere(user, action):
        raise NotFound(_("There is nothing here, or you may not see it."))


def administers(user: Any) -> bool:
    """Whether the Administration Portal has anything to show to this user: one statement, for every page asks."""
    if not user.is_active or user.is_superuser:
        return bool(user.is_active)
    which = {"permission": OuterRef("pk")}
    of_user = UserObjectPermission.objects.filter(user=user, **which)
    of_groups = GroupObjectPermission.objects.filter(group__user=user, **which)
    held = Q(user=user) | Q(group__user=user) | Exists(of_user) | Exists(of_groups)
    return Permission.objects.filter(held, codename="view_inventory").exists()


def require(user: Any, action: str, row: Protected) -> None:
    """Denied, unless the user may (still) do this."""
    if not can(user, action, row):
        raise Denied(_("Your permission on %(name)s was removed.") % {"name": row})


def get(user: Any, model: type[Row], pk: Any, *, see: str, action: str | None = None) -> Row:
    """The row, if the user may `see` it (else NotFound, as if it were not there) and do `action` (else Denied)."""
    row = visible(user, model, see).filter(pk=pk).first()
    if row is None:
        raise NotFound(_("There is nothing here, or you may not see it."))
    if action is not None and not can(user, action, row):
        raise Denied(_("You see %(name)s but your roles do not allow this.") % {"name": row})
    return row


@transaction.atomic
def grant(*, role: str, to: Any, on: Protected | None, by: Any = None) -> RoleAssignment:
    """Give a user or group a role on an object, or on the whole system where `on` is null."""
    if role not in ROLES:
        raise Invalid(
            _("There is no role %(role)s. Roles are: %(roles)s.") % {"role": role, "roles": ", ".join(ROLES)},
            field="role",
        )
    assignment, created = RoleAssignment.objects.get_or_create(
        role=role, **_principal(to), **_target(on), defaults={"granted_by": by}
    )
    _write_index(assignment, to, on)
    if created:
        events.record("role.granted", actor=by, principal=to, role=role, object=on or _("System"))
    return assignment


@transaction.atomic
def revoke(*, role: str, to: Any, on: Protected | None, by: Any = None) -> None:
    """Take a role away; actions that another role on the same object still gives are kept."""
    RoleAssignment.objects.filter(role=role, **_principal(to), **_target(on)).delete()
    others = RoleAssignment.objects.filter(**_principal(to), **_target(on)).values_list("role", flat=True)
    kept = frozenset().union(*(ROLES[other] for other in others))
    for action in ROLES[role] - kept:
        for model in PROTECTED if on is None else (type(on),):
            remove_perm(_permission(model, action), to, on)
    events.record("role.revoked", actor=by, principal=to, role=role, object=on or _("System"))


def _write_index(assignment: RoleAssignment, to: Any, on: Protected | None) -> None:
    """All of a role at once, as guardian would write it one by one."""
    kinds = [ContentType.objects.get_for_model(model) for model in (PROTECTED if on is None else (type(on),))]
    permissions = Permission.objects.filter(content_type__in=kinds, codename__in=ROLES[assignment.role])
    is_group = isinstance(to, Group)
    if on is None:
        (to.permissions if is_group else to.user_permissions).add(*permissions)
        return
    index: Any = GroupObjectPermission if is_group else UserObjectPermission
    principal = "group" if is_group else "user"
    index.objects.bulk_create(
        [
            index(permission=one, content_type=one.content_type, object_pk=str(on.pk), **{principal: to})
            for one in permissions.select_related("content_type")
        ],
        ignore_conflicts=True,
    )


def rewrite_index() -> None:
    """Let guardian know everything that the roles given so far allow today."""
    for assignment in RoleAssignment.objects.select_related("user", "group", "content_type"):
        on = assignment.object
        if assignment.object_id is None or on is not None:
            _write_index(assignment, assignment.user or assignment.group, on)


def forget(row: Protected) -> None:
    """Drop every role on a row that is being removed, and what guardian knows of them."""
    RoleAssignment.objects.filter(**_target(row)).delete()
    for index in (UserObjectPermission, GroupObjectPermission):
        index.objects.filter(content_type=ContentType.objects.get_for_model(row), object_pk=str(row.pk)).delete()


def _permission(model: type[Protected], action: str) -> Permission:
    content_type = ContentType.objects.get_for_model(model)
    return Permission.objects.get(content_type=content_type, codename=action)


def _principal(who: Any) -> dict[str, Any]:
    return {"group": who, "user": None} if isinstance(who, Group) else {"user": who, "group": None}


def _target(on: Protected | None) -> dict[str, Any]:
    if on is None:
        return {"content_type": None, "object_id": None}
    return {"content_type": ContentType.objects.get_for_model(on), "object_id": on.pk}


def _model_at(model: type[Protected], path: str) -> type[Protected]:
    for name in path.split("__"):
        model = cast(type[Protected], model._meta.get_field(name).related_model)
    return model


def _granted(user: Any, model: type[Protected], action: str, path: str) -> Q:
    """Rows whose `path` leads to an object of `model` on which guardian knows the action for the user."""
    which = {
        "content_type": ContentType.objects.get_for_model(model),
        "permission__codename": action,
    }
    # Guardian keeps keys as text with dashes; databases without a UUID type keep ours without.
    key = Cast(Replace("object_pk", Value("-"), Value("")), UUIDField())
    own = UserObjectPermission.objects.filter(user=user, **which).values(key=key)
    of_groups = GroupObjectPermission.objects.filter(group__user=user, **which).values(key=key)
    return Q(**{f"{path}__in": own}) | Q(**{f"{path}__in": of_groups})


def _system_wide(user: Any, model: type[Protected], action: str) -> models.QuerySet[Permission]:
    permissions = Permission.objects.filter(content_type=ContentType.objects.get_for_model(model), codename=action)
    return permissions.filter(Q(user=user) | Q(group__user=user))
