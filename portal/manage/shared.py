"""Tabs that several kinds have: what happened, long work, and who may do what."""

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy

from broker import access, grants
from broker.models import Cluster, DataCenter, Host, Pool, StoragePool, Template, VirtualMachine
from broker.models.base import Protected
from portal.manage.resource import SEE, Tab

MOST = 200
# Under which kind each object is found that roles are given on.
KINDS: dict[type[Protected], str] = {
    DataCenter: "data-centers",
    Cluster: "clusters",
    Host: "hosts",
    StoragePool: "storage",
    Template: "templates",
    Pool: "pools",
    VirtualMachine: "vms",
}


def events_tab(field: str) -> Tab:
    """The record of a row; `field` is where events name it."""
    return Tab(
        "events",
        gettext_lazy("Events"),
        kind="events",
        narrow=lambda rows, row: rows.filter(Q(**{field: row.pk}) | Q(subject_id=row.pk)),
    )


def permissions_of(row: Any, user: Any) -> dict[str, Any]:
    """Every role on the row, on what contains it, and on the system; and what the reader may do about each (R143)."""
    on = row if isinstance(row, Protected) else None
    rows: list[Any] = access.placed(access.given(on)[: MOST + 1], on)
    own = access.actions_on(user, on)
    addresses: dict[Any, str] = {}
    for one in rows[:MOST]:
        one.may_be_taken = not one.inherited and grants.may_give_with(own, one.role)
        above = one.inherited_from
        if above is not None and above.pk not in addresses:
            addresses[above.pk] = address_of(above) if access.can(user, SEE, above) else ""
        one.inherited_url = addresses.get(above.pk, "") if above is not None else ""
    return {
        "assignments": rows[:MOST],
        "more": len(rows) > MOST,
        "may_see_system": access.everywhere(user, SEE),
        "may_give": "manage_permissions" in own or "assign_users" in own,
    }


def on_what_is_seen(reader: Any) -> Q:
    """Roles on objects that the reader sees: nobody learns of others through whoever has them (I6)."""
    if access.everywhere(reader, SEE):
        return Q()
    seen = Q(pk__in=())
    for model in access.PROTECTED:
        keys = access.visible(reader, model, SEE).values("pk")
        seen |= Q(content_type=ContentType.objects.get_for_model(model), object_id__in=keys)
    return seen


def address_of(row: Protected) -> str:
    """The permissions of an object."""
    return f"{reverse('manage-details', args=(KINDS[type(row)], row.pk))}?tab=permissions"


PERMISSIONS = Tab("permissions", gettext_lazy("Permissions"), "manage/tabs/permissions.html", permissions_of)
