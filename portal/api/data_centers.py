"""Data centers."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Status

from broker import access
from broker.errors import Denied
from broker.models import DataCenter
from broker.operations import data_centers
from portal.api.lists import Page, Paging, page
from portal.api.shapes import SEE, Name, Named, Words, require_values
from portal.api.values import Body, Change

router = Router(tags=["data centers"])


class DataCenterOut(Named):
    description: str
    comment: str


class DataCenterIn(Body):
    NEEDED = ("name",)

    name: Name = ""
    description: Words = ""
    comment: Words = ""


class DataCenterPatch(Change):
    name: Name | None = None
    description: Words | None = None
    comment: Words | None = None


@router.get("/data-centers", response=Page[DataCenterOut], summary="Data centers")
def list_data_centers(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    rows = access.visible(request.user, DataCenter, SEE)
    return page(rows, paging, order=("name", "id"), searched="name", show=show)


@router.post("/data-centers", response={201: DataCenterOut}, summary="Create a data center")
def create_data_center(request: HttpRequest, values: DataCenterIn) -> Any:
    if not access.everywhere(request.user, "manage_data_centers"):
        raise Denied(_("Your roles do not allow you to create data centers."))
    return Status(201, show(data_centers.create(by=request.user, **values.model_dump())))


@router.get("/data-centers/{uuid:data_center_id}", response=DataCenterOut, summary="One data center")
def get_data_center(request: HttpRequest, data_center_id: UUID) -> dict[str, Any]:
    return show(access.get(request.user, DataCenter, data_center_id, see=SEE))


@router.patch("/data-centers/{uuid:data_center_id}", response=DataCenterOut, summary="Change a data center")
def change_data_center(request: HttpRequest, data_center_id: UUID, values: DataCenterPatch) -> Any:
    row = access.get(request.user, DataCenter, data_center_id, see=SEE, action="manage_data_centers")
    changes = values.model_dump(exclude_unset=True)
    require_values(changes)
    data_centers.change(data_center=row, changes=changes, by=request.user)
    return show(access.get(request.user, DataCenter, data_center_id, see=SEE))


@router.delete("/data-centers/{uuid:data_center_id}", response={204: None}, summary="Remove a data center")
def remove_data_center(request: HttpRequest, data_center_id: UUID) -> Any:
    """409 naming what it still holds."""
    row = access.get(request.user, DataCenter, data_center_id, see=SEE, action="manage_data_centers")
    data_centers.remove(data_center=row, by=request.user)
    return Status(204, None)


def show(row: DataCenter) -> dict[str, Any]:
    """A data center as the contract writes it."""
    return {"id": row.pk, "name": row.name, "description": row.description, "comment": row.comment}
