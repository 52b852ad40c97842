"""Tabs that several kinds have: what happened, long work, and who may do what."""

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.utils.translation import gettext_lazy

from broker.models import RoleAssignment
from portal.manage.resource import Tab

MOST = 200


def events_tab(field: str) -> Tab:
    """The record of a row; `field` is where events name it."""
    return Tab(
        "events",
        gettext_lazy("Events"),
        kind="events",
        narrow=lambda rows, row: rows.filter(Q(**{field: row.pk}) | Q(subject_id=row.pk)),
    )


def permissions_of(row: Any, user: Any) -> dict[str, Any]:
    """Every role on the row, on what contains it, and on the system."""
    above = [row]
    for path in type(row).PARENTS:
        parent = row
        for name in path.split("__"):
            parent = getattr(parent, name, None)
        if parent is not None:
            above.append(parent)
    on = Q(object_id=None)
    for one in above:
        on |= Q(content_type=ContentType.objects.get_for_model(one), object_id=one.pk)
    found = list(
        RoleAssignment.objects.filter(on)
        .select_related("user", "group", "granted_by")
        .order_by("role", "user__username", "group__name", "pk")[:MOST]
    )
    nearest = {one.pk: place for place, one in enumerate(above)}
    found.sort(key=lambda one: nearest.get(one.object_id, len(above)))
    for one in found:
        one.inherited_from = (
            None
            if one.object_id == row.pk
            else next((parent for parent in above if parent.pk == one.object_id), None)
        )
        one.of_system = one.object_id is None
    return {"assignments": found}


PERMISSIONS = Tab("permissions", gettext_lazy("Permissions"), "manage/tabs/permissions.html", permissions_of)
