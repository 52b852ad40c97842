"""Storage pools."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field

from broker import access
from broker.errors import NotFound
from broker.models import DataCenter, StoragePool
from broker.operations import storage
from portal.api.lists import Page, Paging, page
from portal.api.shapes import SEE, Name, Named, Words, named, referred, require_values
from portal.api.values import Body, Change

router = Router(tags=["storage"])


class OnHostOut(Schema):
    host: Named
    active: bool
    capacity_bytes: int
    allocation_bytes: int
    available_bytes: int


class StoragePoolOut(Named):
    description: str
    comment: str
    data_center: Named
    type: str
    target_path: str
    on_hosts: list[OnHostOut]


class StoragePoolIn(Body):
    NEEDED = ("data_center", "name", "target_path")

    data_center: UUID | None = None
    name: Name = ""
    target_path: str = Field("", max_length=1000)
    description: Words = ""
    comment: Words = ""


class StoragePoolPatch(Change):
    name: Name | None = None
    target_path: str | None = Field(None, max_length=1000)
    description: Words | None = None
    comment: Words | None = None


@router.get("/storage-pools", response=Page[StoragePoolOut], summary="Storage pools")
def list_storage_pools(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_storage_pools(request), paging, order=("name", "id"), searched="name", show=show)


@router.post("/storage-pools", response={201: StoragePoolOut}, summary="Add a storage pool")
def create_storage_pool(request: HttpRequest, values: StoragePoolIn) -> Any:
    """A folder that every host of the data center reaches under the same path."""
    data_center = referred(request, DataCenter, values.data_center, "data_center")
    if not access.can(request.user, "manage_storage", data_center):
        message = _("Your roles do not allow you to add storage to this data center.")
        raise access.denied(request.user, "manage_storage", data_center, message)
    given = values.model_dump(exclude={"data_center"})
    row = storage.create(data_center=data_center, by=request.user, **given)
    return Status(201, show(_one(request, row.pk)))


@router.get("/storage-pools/{uuid:storage_pool_id}", response=StoragePoolOut, summary="One storage pool")
def get_storage_pool(request: HttpRequest, storage_pool_id: UUID) -> dict[str, Any]:
    return show(_one(request, storage_pool_id))


@router.patch("/storage-pools/{uuid:storage_pool_id}", response=StoragePoolOut, summary="Change a storage pool")
def change_storage_pool(request: HttpRequest, storage_pool_id: UUID, values: StoragePoolPatch) -> Any:
    """Its words; hosts know it by name and path."""
    row = access.get(request.user, StoragePool, storage_pool_id, see=SEE, action="manage_storage")
    changes = values.model_dump(exclude_unset=True)
    require_values(changes)
    storage.change(storage_pool=row, changes=changes, by=request.user)
    return show(_one(request, storage_pool_id))


@router.delete("/storage-pools/{uuid:storage_pool_id}", response={204: None}, summary="Remove a storage pool")
def remove_storage_pool(request: HttpRequest, storage_pool_id: UUID) -> Any:
    """409 while it holds volumes of ours; the folder is not touched."""
    row = access.get(request.user, StoragePool, storage_pool_id, see=SEE, action="manage_storage")
    storage.remove(storage_pool=row, by=request.user)
    return Status(204, None)


def _storage_pools(request: HttpRequest) -> Any:
    rows = access.visible(request.user, StoragePool, SEE).select_related("data_center")
    return rows.prefetch_related("on_hosts__host")


def _one(request: HttpRequest, storage_pool_id: UUID) -> Any:
    row = _storage_pools(request).filter(pk=storage_pool_id).first()
    if row is None:
        raise NotFound(_("There is no such storage pool."))
    return row


def show(row: Any) -> dict[str, Any]:
    """A storage pool as the contract writes it."""
    sizes = [name for name in OnHostOut.model_fields if name != "host"]
    on_hosts = [
        {name: getattr(one, name) for name in sizes} | {"host": named(one.host)} for one in row.on_hosts.all()
    ]
    names = ("name", "description", "comment", "type", "target_path")
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "data_center": named(row.data_center),
        "on_hosts": on_hosts,
    }
