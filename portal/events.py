"""Which events a person may read."""

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from broker import access
from broker.models import Event


def visible(user: Any) -> QuerySet[Event]:
    """Those about what one administers; all for whoever administers everything."""
    rows = Event.objects.select_related("actor")
    if access.everywhere(user, "view_inventory"):
        return rows
    seen = Q(pk__in=())
    for model in access.PROTECTED:
        keys = access.visible(user, model, "view_inventory").values("pk")
        column = {"pool": "pool_id", "virtualmachine": "vm_id", "host": "host_id"}.get(str(model._meta.model_name))
        seen |= Q(**{f"{column or 'subject_id'}__in": keys})
    return rows.filter(seen)


def about(rows: QuerySet[Event], object_id: UUID) -> QuerySet[Event]:
    """Those that concern one object, whatever its kind."""
    columns = ("pool_id", "vm_id", "host_id", "request_id", "subject_id")
    which = Q()
    for column in columns:
        which |= Q(**{column: object_id})
    return rows.filter(which)
