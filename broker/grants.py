"""Give roles and take them away: the record is RoleAssignment, and guardian's rows are its index.

Both are written in the same transaction. Who may give what to whom is decided by the operations above.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from guardian.models import GroupObjectPermission, UserObjectPermission

from broker import events, jobs
from broker.access import PROTECTED, actions_on, held, index_of
from broker.errors import Conflict, Invalid, NotFound
from broker.models import Event, Role, RoleAssignment
from broker.models.base import Protected
from broker.roles import EVERYTHING, ROLES, SUPERUSER

# -- who may give what -------------------------------------------------------------------------------


def may_give(giver: Any, role: Role, on: Protected | None) -> bool:
    """Whether the user may give this role there, or take it: nobody hands out what he does not have (R141)."""
    return may_give_with(actions_on(giver, on), role)


def givable(giver: Any, on: Protected | None) -> list[Role]:
    """The roles that the user may give on an object, or on the system where it is null."""
    own = actions_on(giver, on)
    return [role for role in Role.objects.order_by("name") if may_give_with(own, role)]


def may_give_with(own: frozenset[str], role: Role) -> bool:
    """The same, for whoever may do these actions there."""
    if "manage_permissions" in own:
        return role.allowed <= own
    return "assign_users" in own and not role.is_administrative


def covers(actor: Any, principal: Any) -> bool:
    """Whether the actor may do everything that the roles of a user or group allow, on each of their objects.

    Whoever may change an account, or a group, could otherwise help himself to more than he was given.
    """
    known: dict[Any, frozenset[str]] = {None: actions_on(actor, None)}
    if known[None] == EVERYTHING:
        return True
    if getattr(principal, "is_superuser", False):
        return False
    roles = (
        RoleAssignment.objects.filter(group=principal).select_related("role").prefetch_related("object")
        if isinstance(principal, Group)
        else held(principal)
    )
    for one in roles:
        if one.object_id not in known:
            on: Any = one.object
            known[one.object_id] = actions_on(actor, on) if on is not None else EVERYTHING
        if not one.role.allowed <= known[one.object_id]:
            return False
    return True


# -- giving and taking --------------------------------------------------------------------------------


def role_named(name: str) -> Role:
    """The role of this name; Invalid naming those that there are."""
    role = Role.objects.filter(name=name).first()
    if role is None:
        names = ", ".join(Role.objects.order_by("name").values_list("name", flat=True))
        text = _("There is no role %(role)s. Roles are: %(roles)s.")
        raise Invalid(text % {"role": name, "roles": names}, field="role")
    return role


@transaction.atomic
def grant(*, role: str, to: Any, on: Protected | None, by: Any = None) -> tuple[RoleAssignment, bool]:
    """Give a user or group a role on an object, or on the whole system where `on` is null; whether that is new."""
    if on is not None:  # what is being removed this moment takes its roles along
        there = type(on)._default_manager.select_for_update(no_key=True).order_by("pk").filter(pk=on.pk).first()
        if there is None:
            raise NotFound(_("It is not there any more."))
    _lock(role_named(role), to)
    given, created = RoleAssignment.objects.get_or_create(
        role=role_named(role), **_principal(to), **_target(on), defaults={"granted_by": by}
    )
    if created:
        _reindex(to, on)
        _record("role.granted", given.role, to, on, by)
        jobs.check_access()  # what was kept from its user is his again
    return given, created


@transaction.atomic
def revoke(*, role: str, to: Any, on: Protected | None, by: Any = None) -> None:
    """Take a role away, at once; actions that another role on the same object still gives are kept (R146).

    Conflict for the last SuperUser.
    """
    taken = role_named(role)
    with keeping_a_superuser() if taken.name == SUPERUSER else nullcontext():
        _lock(taken, to)
        removed, _by_kind = RoleAssignment.objects.filter(role=taken, **_principal(to), **_target(on)).delete()
        _reindex(to, on)
    if removed:
        _record("role.revoked", taken, to, on, by)
        jobs.check_access()


def _record(kind: str, role: Role, to: Any, on: Protected | None, by: Any) -> None:
    about = events.about(on) if on is not None else {}
    severity = Event.Severity.WARNING if role.is_administrative else Event.Severity.INFO
    events.record(kind, actor=by, principal=to, role=role, object=on or _("System"), severity=severity, **about)


@contextmanager
def keeping_a_superuser() -> Iterator[None]:
    """Around what could take the last SuperUser away: Conflict when nobody would be left who can help.

    One at a time: two who take it from each other at the same moment cannot both succeed.
    """
    Role.objects.select_for_update(no_key=True).filter(name=SUPERUSER).first()
    was_there = superusers().exists()
    yield
    if was_there and not superusers().exists():
        raise Conflict(_("This is the last SuperUser: make another one first."), code="LAST_SUPERUSER")


def superusers() -> QuerySet[Any]:
    """Everybody who may sign in and manages every aspect of the system."""
    given = RoleAssignment.objects.filter(role__name=SUPERUSER, object_id=None)
    of_users = given.filter(user__isnull=False).values("user")
    of_groups = given.filter(group__isnull=False).values("group")
    holds = Q(is_superuser=True) | Q(pk__in=of_users) | Q(groups__in=of_groups)
    return get_user_model()._default_manager.filter(holds, is_active=True)


# -- guardian's rows ---------------------------------------------------------------------------------


def _lock(role: Role, principal: Any) -> None:
    """The role first, then whose it is: two who write the same part of the index do so one after the other."""
    for row in (role, principal):
        type(row)._default_manager.select_for_update(no_key=True).filter(pk=row.pk).first()


def _reindex(to: Any, on: Protected | None) -> None:
    """Let guardian know all that the roles of a principal on an object allow together, and nothing else."""
    roles = Role.objects.filter(pk__in=RoleAssignment.objects.filter(**_principal(to), **_target(on)).values("role"))
    actions = frozenset[str]().union(*(role.allowed for role in roles))
    kinds = [ContentType.objects.get_for_model(model) for model in (PROTECTED if on is None else (type(on),))]
    permissions = Permission.objects.filter(content_type__in=kinds, codename__in=actions)
    is_group = isinstance(to, Group)
    if on is None:
        (to.permissions if is_group else to.user_permissions).set(permissions)
        return
    index: Any = GroupObjectPermission if is_group else UserObjectPermission
    principal = {"group" if is_group else "user": to}
    rows = index.objects.filter(content_type=kinds[0], object_pk=str(on.pk), **principal)
    rows.exclude(permission__codename__in=actions).delete()
    index.objects.bulk_create(
        [
            index(permission=one, content_type=kinds[0], object_pk=str(on.pk), **principal)
            for one in permissions.exclude(pk__in=rows.values("permission"))
        ],
        ignore_conflicts=True,
    )


@transaction.atomic
def write_built_in_roles() -> None:
    """What the built-in roles allow is code: after an upgrade the rows say it, and guardian knows it."""
    for name, actions in ROLES.items():
        role, created = Role.objects.get_or_create(name=name, defaults={"built_in": True})
        if created or role.allowed != actions or not role.built_in:
            role.actions, role.built_in = sorted(actions), True
            role.save(update_fields=["actions", "built_in"])
            reindex(role)


def reindex(role: Role) -> None:
    """Guardian's rows of everybody who has this role, anew; always in the same order, so that two never cross."""
    given = role.assignments.select_related("user", "group").prefetch_related("object")
    for one in given.order_by("user", "group", "pk"):
        on: Any = one.object
        if one.object_id is None or on is not None:
            _lock(role, one.principal)
            _reindex(one.principal, on)


def forget(row: Protected) -> None:
    """Drop every role on a row that is being removed, and what guardian knows of them."""
    RoleAssignment.objects.filter(**_target(row)).delete()
    for index in (UserObjectPermission, GroupObjectPermission):
        index.objects.filter(index_of([row])).delete()


def _principal(who: Any) -> dict[str, Any]:
    return {"group": who, "user": None} if isinstance(who, Group) else {"user": who, "group": None}


def _target(on: Protected | None) -> dict[str, Any]:
    if on is None:
        return {"content_type": None, "object_id": None}
    return {"content_type": ContentType.objects.get_for_model(on), "object_id": on.pk}
