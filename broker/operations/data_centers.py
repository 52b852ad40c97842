"""Data centers: create, change, remove."""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from broker import grants
from broker.errors import Conflict
from broker.models import DataCenter
from broker.operations import edits


@transaction.atomic
def create(*, name: str, description: str = "", comment: str = "", by: Any = None) -> DataCenter:
    """A container for clusters and the storage they share."""
    edits.require_name(name, DataCenter.objects.all())
    data_center = DataCenter.objects.create(name=name, description=description, comment=comment)
    edits.record("created", data_center, by=by)
    return data_center


@transaction.atomic
def change(
    *, data_center: DataCenter, changes: dict[str, Any], expected: dict[str, Any] | None = None, by: Any = None
) -> None:
    """Change its name and words."""
    data_center = edits.lock(data_center)
    if changes.get("name", data_center.name) != data_center.name:
        edits.require_name(changes["name"], DataCenter.objects.exclude(pk=data_center.pk))
    changed = edits.apply(data_center, changes, expected=expected)
    if changed:
        edits.record("changed", data_center, by=by, fields=", ".join(changed))


@transaction.atomic
def remove(*, data_center: DataCenter, by: Any) -> None:
    """Remove an empty data center; Conflict naming what it still holds."""
    data_center = edits.lock(data_center)
    held = [
        *data_center.clusters.order_by("name")[:10],
        *data_center.storage_pools.order_by("name")[:10],
        *data_center.templates.order_by("name")[:10],
    ]
    if held:
        text = _("%(name)s still holds %(names)s.")
        raise Conflict(text % {"name": data_center, "names": ", ".join(map(str, held))}, code="IN_USE")
    edits.record("removed", data_center, by=by)
    grants.forget(data_center)
    data_center.delete()
