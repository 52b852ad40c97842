"""Who may do what to which row: one query builder over guardian, so that lists and checks cannot disagree (I6).

A right on an object reaches everything below it: System, data center, cluster, pool, virtual machine. Who is given
what is written in broker.grants.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models import Case, Exists, OuterRef, Q, UUIDField, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce, Replace
from django.utils.translation import gettext as _
from guardian.models import GroupObjectPermission, UserObjectPermission

from broker.errors import Denied, NotFound
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
from broker.roles import ACTIONS, EVERYTHING, OF_USERS

PROTECTED: tuple[type[Protected], ...] = (
    DataCenter,
    Cluster,
    Host,
    StoragePool,
    Template,
    Pool,
    VirtualMachine,
)

SEEING = ("view_inventory", "use_pool")  # each shows a row to somebody
MOST_NAMED = 3

Row = TypeVar("Row", bound=Protected)


# -- lists and checks --------------------------------------------------------------------------------


def visible(user: Any, model: type[Row], action: str) -> models.QuerySet[Row]:
    """The rows on which the user may do `action`: by a grant on them, on what contains them, or on the system.

    Where a model says so (`LENT`), a row is also shown to whoever needs it for an action on its neighbours.
    """
    rows = model._default_manager.all()
    if not user.is_active:
        return rows.none()
    if user.is_superuser:
        return rows
    allowed = Q(_system_wide(user, model, action)) | _granted(user, model, action, "pk")
    for path in model.PARENTS:
        allowed |= _granted(user, _model_at(model, path), action, path)
    for path, neighbours, needed_for in model.LENT if action == "view_inventory" else ():
        beside: Any = _model_at(model, path)._meta.get_field(neighbours)
        working = visible(user, beside.related_model, needed_for)
        allowed |= Q(**{f"{path}__in": working.values(beside.remote_field.name)})
    return rows.filter(allowed)


def can(user: Any, action: str, row: Protected) -> bool:
    """Whether the user may do `action` on this row: the same query, asked of one row."""
    return visible(user, type(row), action).filter(pk=row.pk).exists()


def can_anywhere(user: Any, action: str, model: type[Protected]) -> bool:
    """Whether there is any row of the kind on which the user may do `action`."""
    return visible(user, model, action).exists()


def everywhere(user: Any, action: str) -> bool:
    """Whether the user may do `action` on the system as a whole, and not only on some of its objects."""
    if user.is_superuser or not user.is_active:
        return user.is_active
    return bool(_asked(user, *_system_permissions(ContentType.objects.get_for_model(DataCenter).pk, action)))


def require_everywhere(user: Any, action: str) -> None:
    """NotFound, as if it were not there, unless the user may do this on the system as a whole (I6)."""
    if not everywhere(user, action):
        raise NotFound(_("There is nothing here, or you may not see it."))


def administers(user: Any) -> bool:
    """Whether the Administration Portal has anything to show to this user."""
    return bool(held_anywhere(user, "view_inventory"))


def has_more_than_use(user: Any) -> bool:
    """Whether any role of the user, on anything, allows more than to use pools."""
    return bool(held_anywhere(user, *(EVERYTHING - OF_USERS)))


def held_anywhere(user: Any, *actions: str) -> frozenset[str]:
    """Those of the actions that the user was given on anything at all: one statement, for every page asks."""
    if not user.is_active or user.is_superuser:
        return frozenset(actions if user.is_active else ())
    return frozenset(action for (action,) in _asked(user, *_held_actions(actions)))


def require(user: Any, action: str, row: Protected) -> None:
    """Denied, unless the user may (still) do this."""
    if not can(user, action, row):
        raise denied(user, action, row, _("Your permission on %(name)s was removed.") % {"name": row})


def get(user: Any, model: type[Row], pk: Any, *, see: str, action: str | None = None) -> Row:
    """The row, if the user may `see` it (else NotFound, as if it were not there) and do `action` (else Denied)."""
    row = visible(user, model, see).filter(pk=pk).first()
    if row is None:
        raise NotFound(_("There is nothing here, or you may not see it."))
    if action is not None and not can(user, action, row):
        raise denied(user, action, row, _("You see %(name)s but your roles do not allow this.") % {"name": row})
    return row


def denied(user: Any, action: str, row: Protected, message: str) -> Denied:
    """The refusal of an action on a row; whoever sees the row also reads which right is missing, and who gives it."""
    if not any(can(user, see, row) for see in SEEING):
        return Denied(message)
    words = {"right": dict(ACTIONS)[action], "name": row}
    advice = [_("What is missing is the right “%(right)s” on %(name)s.") % words]
    givers = who_can_give(action, row).order_by("username", "pk")[:MOST_NAMED]
    names = [person.get_full_name() or person.get_username() for person in givers]
    if names:
        advice.append(_("It can be given by: %(people)s.") % {"people": ", ".join(names)})
    else:
        advice.append(_("Nobody but the person who installed Hotdesk can give it."))
    return Denied(message, advice=advice)


def actions_on(user: Any, row: Protected | None) -> frozenset[str]:
    """Everything that the user may do on a row, or on the whole system where it is null: one statement."""
    if not user.is_active:
        return frozenset()
    if user.is_superuser:
        return EVERYTHING
    kind = type(row) if row is not None else DataCenter
    system = Permission.objects.filter(_of_system(user), content_type=ContentType.objects.get_for_model(kind))
    found = system.order_by().values_list("codename", flat=True)
    if row is not None:
        on = index_of(chain(row))
        of_user = UserObjectPermission.objects.filter(on, user=user)
        of_groups = GroupObjectPermission.objects.filter(on, group__user=user)
        code = "permission__codename"
        found = found.union(of_user.values_list(code, flat=True), of_groups.values_list(code, flat=True))
    return frozenset(found)


def who_can(action: str, row: Protected) -> models.QuerySet[Any]:
    """Everybody who may do `action` on this row: what `can` says, asked the other way round."""
    kind = ContentType.objects.get_for_model(row)
    system = Permission.objects.filter(content_type=kind, codename=action)
    index = {"permission__codename": action}
    on = index_of(chain(row))
    of_users = UserObjectPermission.objects.filter(on, **index).values("user")
    of_groups = GroupObjectPermission.objects.filter(on, **index).values("group")
    people = get_user_model()
    groups = Group.objects.filter(Q(permissions__in=system) | Q(pk__in=of_groups))
    members = people.groups.through.objects.filter(group__in=groups).values("user")
    of_system = people.user_permissions.through.objects.filter(permission__in=system).values("user")
    allowed = Q(is_superuser=True) | Q(pk__in=of_system) | Q(pk__in=of_users) | Q(pk__in=members)
    return people._default_manager.filter(allowed, is_active=True)


def who_can_give(action: str, row: Protected) -> models.QuerySet[Any]:
    """Everybody who can give roles on this row that allow `action`: no more than one may oneself."""
    equals = who_can("manage_permissions", row).filter(pk__in=who_can(action, row).values("pk"))
    if action not in OF_USERS:
        return equals
    assigners = who_can("assign_users", row)
    people = get_user_model()._default_manager
    return people.filter(Q(pk__in=equals.values("pk")) | Q(pk__in=assigners.values("pk")))


def chain(row: Protected) -> list[Protected]:
    """The row, and what contains it, from the inside out: where its rights come from, below the system."""
    found: list[Protected] = [row]
    for path in type(row).PARENTS:
        parent: Any = row
        for name in path.split("__"):
            parent = getattr(parent, name, None)
        if parent is not None:
            found.append(parent)
    return found


# -- where rights come from --------------------------------------------------------------------------


def given(row: Protected | None) -> models.QuerySet[RoleAssignment]:
    """Every role on a row, on what contains it, and on the system, the nearest first; `name` is whose it is."""
    above = chain(row) if row is not None else []
    on = Q(object_id=None)
    places = []
    for place, one in enumerate(above):
        there = Q(content_type=ContentType.objects.get_for_model(one), object_id=one.pk)
        on |= there
        places.append(When(there, then=Value(place)))
    rows = RoleAssignment.objects.filter(on).select_related("role", "user", "group", "granted_by")
    rows = rows.annotate(
        name=Coalesce("user__username", "group__name"),
        distance=Case(*places, default=Value(len(above)), output_field=models.IntegerField()),
    )
    return rows.order_by("distance", "role__name", "name", "pk")


def placed(assignments: Iterable[RoleAssignment], row: Protected | None) -> list[Any]:
    """The same, each with `inherited`, and `inherited_from`: the object above; null for the system as a whole."""
    above: dict[Any, Any] = {one.pk: one for one in (chain(row) if row is not None else [])}
    found: list[Any] = list(assignments)
    for one in found:
        one.inherited = one.object_id != (row.pk if row is not None else None)
        one.inherited_from = above.get(one.object_id) if one.inherited else None
    return found


def sources(user: Any, row: Protected | None) -> list[Any]:
    """The roles that give this user rights on a row, by the own name or through a group: why `can` says yes."""
    mine = given(row).filter(Q(user=user) | Q(group__in=user.groups.all()))
    return placed(mine, row)


@dataclass(frozen=True)
class Decision:
    """Whether somebody may do something, and the roles that say so; none for those who may do everything."""

    action: str
    label: Any
    allowed: bool
    because: list[Any]


def explain(user: Any, row: Protected | None) -> list[Decision]:
    """Why a user may do what, with a row or the whole system; every action, in the order of the list of actions."""
    allowed, found = actions_on(user, row), sources(user, row)
    return [
        Decision(code, label, code in allowed, [one for one in found if code in one.role.allowed])
        for code, label in ACTIONS
    ]


def held(user: Any) -> models.QuerySet[RoleAssignment]:
    """Every role of a user, by the own name or through a group."""
    rows = RoleAssignment.objects.filter(Q(user=user) | Q(group__in=user.groups.all()))
    return rows.select_related("role", "user", "group", "granted_by").prefetch_related("object")


# -- guardian's rows ---------------------------------------------------------------------------------


def index_of(rows: Iterable[Protected]) -> Q:
    """Guardian's rows about any of these objects."""
    on = Q(pk__in=())
    for row in rows:
        on |= Q(content_type=ContentType.objects.get_for_model(row), object_pk=str(row.pk))
    return on


def _model_at(model: type[Protected], path: str) -> type[Protected]:
    for name in path.split("__"):
        model = cast(type[Protected], model._meta.get_field(name).related_model)
    return model


def _granted(user: Any, model: type[Protected], action: str, path: str) -> Q:
    """Rows whose `path` leads to an object of `model` on which guardian knows the action for the user."""
    keys = _about(user, *_granted_keys(ContentType.objects.get_for_model(model).pk, action))
    return Q(**{f"{path}__in": keys})


def _system_wide(user: Any, model: type[Protected], action: str) -> RawSQL:
    """Whether guardian's groups or Django's own permissions give the user the action on everything."""
    statement, values = _system_permissions(ContentType.objects.get_for_model(model).pk, action)
    return _about(user, f"EXISTS({statement})", values, models.BooleanField())


# Django takes longer to put such a statement together than a database to answer it, and every page asks some. So each
# is put together once, about nobody, and asked about whoever asks.
NOBODY = UUID(int=0)


@cache
def _granted_keys(kind: int, action: str) -> tuple[str, tuple[Any, ...]]:
    which = {"content_type": kind, "permission__codename": action}
    # Guardian keeps keys as text with dashes; databases without a UUID type keep ours without.
    key = Cast(Replace("object_pk", Value("-"), Value("")), UUIDField())
    own = UserObjectPermission.objects.filter(user=NOBODY, **which).values(key=key)
    of_groups = GroupObjectPermission.objects.filter(group__user=NOBODY, **which).values(key=key)
    return _statement(own.union(of_groups, all=True))


@cache
def _system_permissions(kind: int, action: str) -> tuple[str, tuple[Any, ...]]:
    return _statement(Permission.objects.filter(_of_system(NOBODY), content_type=kind, codename=action).order_by())


@cache
def _held_actions(actions: tuple[str, ...]) -> tuple[str, tuple[Any, ...]]:
    which = {"permission": OuterRef("pk")}
    of_user = UserObjectPermission.objects.filter(user=NOBODY, **which)
    of_groups = GroupObjectPermission.objects.filter(group__user=NOBODY, **which)
    held = _of_system(NOBODY) | Exists(of_user) | Exists(of_groups)
    return _statement(Permission.objects.filter(held, codename__in=actions).order_by().values("codename").distinct())


def _statement(rows: models.QuerySet[Any, Any]) -> tuple[str, tuple[Any, ...]]:
    statement, values = rows.query.get_compiler(DEFAULT_DB_ALIAS).as_sql()
    return statement, tuple(values)


def _about(user: Any, statement: str, values: tuple[Any, ...], answer: Any = None) -> RawSQL:
    # The statement is Django's own, and whatever differs goes with it as a value.
    return RawSQL(statement, _values_about(user, values), answer)  # noqa: S611


def _asked(user: Any, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, _values_about(user, values))
        return cursor.fetchall()


def _values_about(user: Any, values: tuple[Any, ...]) -> list[Any]:
    field = get_user_model()._meta.pk
    nobody, key = (field.get_db_prep_value(one, connection) for one in (NOBODY, user.pk))
    return [key if value == nobody else value for value in values]


def _of_system(user: Any) -> Q:
    return Q(user=user) | Q(group__user=user)
