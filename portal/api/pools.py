"""Pools as administrators see them."""

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field, StrictBool

from broker import access
from broker.errors import Invalid, NotFound
from broker.models import Cluster, Pool, Template, with_counts
from broker.models.pools import MAX_LOCATION, MAX_MINUTES, MAX_VMS_PER_USER
from broker.operations import pools
from broker.rules.deadlines import TIME_FIELDS
from portal.api.lists import Page, Paging, page
from portal.api.shapes import (
    SEE,
    IdOut,
    Latest,
    MachineChange,
    MachineIn,
    MachineOut,
    Name,
    Named,
    Natural,
    Positive,
    named,
    referred,
    require_values,
    settings_given,
    settings_shown,
    version_of,
    whole,
)

router = Router(tags=["pools"])

Minutes = whole(1, MAX_MINUTES)
PerUser = whole(1, MAX_VMS_PER_USER)
Location = Annotated[
    str,
    Field(
        max_length=MAX_LOCATION,
        description="where the data of users is, such as smb://files/home; every desktop that starts is told",
    ),
]


class PoolOut(Named, MachineOut):
    cluster: Named
    template: Named
    template_version: int | Literal["latest"]
    type: str
    size: int
    prestarted_vms: int
    max_vms_per_user: int
    override_spice_proxy: bool
    spice_proxy: str
    disconnect_grace_minutes: int | None
    max_session_minutes: int | None
    idle_limit_minutes: int | None
    extension_minutes: int | None
    central_data: str
    removing: bool
    free: int
    ready: int
    running: int
    failed: int
    in_use: int
    queue_length: int


class PoolIn(MachineIn):
    NEEDED = ("name", "cluster", "template")

    name: Name = ""
    cluster: UUID | None = None
    template: UUID | None = None
    size: Positive = 1
    template_version: Latest = "latest"
    prestarted_vms: Natural = 0
    max_vms_per_user: PerUser = 1
    type: Literal["automatic", "manual"] = "automatic"
    override_spice_proxy: StrictBool = False
    spice_proxy: str = Field("", max_length=1000)
    disconnect_grace_minutes: Minutes | None = None
    max_session_minutes: Minutes | None = None
    idle_limit_minutes: Minutes | None = None
    extension_minutes: Minutes | None = None
    central_data: Location = ""


class PoolPatch(MachineChange):
    MAY_BE_NULL = MachineChange.MAY_BE_NULL | set(TIME_FIELDS)

    name: Name | None = None
    cluster: UUID | None = None
    template: UUID | None = None
    size: Positive | None = Field(None, description="refused: use increase_by")
    template_version: Latest | None = None
    prestarted_vms: Natural | None = None
    max_vms_per_user: PerUser | None = None
    type: Literal["automatic", "manual"] | None = None
    override_spice_proxy: StrictBool | None = None
    spice_proxy: str | None = Field(None, max_length=1000)
    disconnect_grace_minutes: Minutes | None = Field(None, description="null for no limit")
    max_session_minutes: Minutes | None = Field(None, description="null for no limit")
    idle_limit_minutes: Minutes | None = Field(None, description="null for no limit")
    extension_minutes: Minutes | None = Field(None, description="null allows none")
    central_data: Location | None = None
    increase_by: Natural = 0


class PoolJob(Schema):
    pool: IdOut
    job: IdOut


class JobStarted(Schema):
    job: IdOut


REFERENCES = {"name", "cluster", "template", "size", "template_version", "increase_by"}


@router.get("/manage/pools", response=Page[PoolOut], summary="Pools")
def list_pools(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_pools(request), paging, order=("name", "id"), searched="name", show=show)


@router.post("/manage/pools", response={202: PoolJob}, summary="Create a pool")
def create_pool(request: HttpRequest, values: PoolIn) -> Any:
    """Accepted at once; the job shows how its VMs come into being."""
    cluster = referred(request, Cluster, values.cluster, "cluster")
    if not access.can(request.user, "create_pool", cluster):
        message = _("Your roles do not allow you to create pools in this cluster.")
        raise access.denied(request.user, "create_pool", cluster, message)
    template = referred(request, Template, values.template, "template")
    pool, job = pools.create(
        cluster=cluster,
        template=template,
        name=values.name,
        size=values.size,
        template_version=version_of(template, values.template_version),
        by=request.user,
        **settings_given(request, values, without=REFERENCES),
    )
    return Status(202, {"pool": {"id": pool.pk}, "job": {"id": job.pk}})


@router.get("/manage/pools/{uuid:pool_id}", response=PoolOut, summary="One pool")
def get_pool(request: HttpRequest, pool_id: UUID) -> dict[str, Any]:
    return show(_one(request, pool_id))


@router.patch("/manage/pools/{uuid:pool_id}", response={200: PoolOut, 202: PoolJob}, summary="Change a pool")
def change_pool(request: HttpRequest, pool_id: UUID, values: PoolPatch) -> Any:
    """Prestarting, limits and the proxy act at once, the location of central data on every later start, hardware on
    new VMs; `increase_by` adds VMs.
    """
    pool = access.get(request.user, Pool, pool_id, see=SEE, action="edit_pool")
    if "size" in values.model_fields_set:
        raise Invalid(_("The number of VMs cannot be set here; use increase_by to add some."), field="size")
    changes = settings_given(request, values, without=REFERENCES)
    require_values(changes, PoolPatch.MAY_BE_NULL)
    if values.name is not None:
        changes["name"] = values.name
    for field, model in (("cluster", Cluster), ("template", Template)):
        if getattr(values, field) is not None:
            changes[field] = referred(request, model, getattr(values, field), field)
    if values.template_version is not None:
        changes["template_version"] = version_of(pool.template, values.template_version)
    job = pools.change(pool=pool, changes=changes, increase_by=values.increase_by, by=request.user)
    if job is not None:
        return Status(202, {"pool": {"id": pool.pk}, "job": {"id": job.pk}})
    return Status(200, show(_one(request, pool_id)))


@router.delete("/manage/pools/{uuid:pool_id}", response={204: None}, summary="Remove an empty pool")
def remove_pool(request: HttpRequest, pool_id: UUID) -> Any:
    """409 naming the VMs while it has any."""
    pools.remove(pool=access.get(request.user, Pool, pool_id, see=SEE, action="remove_pool"), by=request.user)
    return Status(204, None)


@router.post(
    "/manage/pools/{uuid:pool_id}/remove-with-vms", response={202: JobStarted}, summary="Remove a pool and its VMs"
)
def remove_pool_with_vms(request: HttpRequest, pool_id: UUID) -> Any:
    """Everything is checked first; 409 for delete protection, or while anybody uses one of them."""
    pool = access.get(request.user, Pool, pool_id, see=SEE, action="remove_pool")
    job = pools.remove_with_vms(pool=pool, by=request.user)
    return Status(202, {"job": {"id": job.pk}})


def _pools(request: HttpRequest) -> Any:
    rows = with_counts(access.visible(request.user, Pool, SEE), request.user)
    return rows.select_related("cluster", "template", "template_version").prefetch_related("hosts")


def _one(request: HttpRequest, pool_id: UUID) -> Any:
    pool = _pools(request).filter(pk=pool_id).first()
    if pool is None:
        raise NotFound(_("There is no such pool."))
    return pool


def show(row: Any) -> dict[str, Any]:
    """A pool as the contract writes it."""
    special = {"id", "cluster", "template", "template_version"} | set(MachineOut.model_fields)
    names = [name for name in PoolOut.model_fields if name not in special]
    return {name: getattr(row, name) for name in names} | {
        **settings_shown(row),
        "id": row.pk,
        "cluster": named(row.cluster),
        "template": named(row.template),
        "template_version": row.template_version.number if row.template_version else "latest",
    }
