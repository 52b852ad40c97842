"""Clusters."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import Field, StrictBool

from broker import access
from broker.models import Cluster, DataCenter
from broker.operations import clusters
from portal.api.lists import Page, Paging, page
from portal.api.shapes import SEE, Choice, Name, Named, Policy, Words, named, referred, require_values
from portal.api.values import Body, Change

router = Router(tags=["clusters"])


class ClusterOut(Named):
    description: str
    comment: str
    data_center: Named
    spice_proxy: str
    allow_plain_spice: bool
    spice_ca: str
    migration_policy: str
    auto_converge: str
    migrate_compressed: str


class ClusterIn(Body):
    NEEDED = ("data_center", "name")

    data_center: UUID | None = None
    name: Name = ""
    description: Words = ""
    comment: Words = ""
    spice_proxy: str = Field("", max_length=1000)
    allow_plain_spice: StrictBool = True
    migration_policy: Policy = "legacy"
    auto_converge: Choice = "inherit"
    migrate_compressed: Choice = "inherit"


class ClusterPatch(Change):
    name: Name | None = None
    description: Words | None = None
    comment: Words | None = None
    spice_proxy: str | None = Field(None, max_length=1000)
    allow_plain_spice: StrictBool | None = None
    migration_policy: Policy | None = None
    auto_converge: Choice | None = None
    migrate_compressed: Choice | None = None


@router.get("/clusters", response=Page[ClusterOut], summary="Clusters")
def list_clusters(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    rows = access.visible(request.user, Cluster, SEE).select_related("data_center")
    return page(rows, paging, order=("name", "id"), searched="name", show=show)


@router.post("/clusters", response={201: ClusterOut}, summary="Create a cluster")
def create_cluster(request: HttpRequest, values: ClusterIn) -> Any:
    data_center = referred(request, DataCenter, values.data_center, "data_center")
    if not access.can(request.user, "manage_clusters", data_center):
        message = _("Your roles do not allow you to create clusters in this data center.")
        raise access.denied(request.user, "manage_clusters", data_center, message)
    given = values.model_dump(exclude={"data_center"})
    return Status(201, show(clusters.create(data_center=data_center, by=request.user, **given)))


@router.get("/clusters/{uuid:cluster_id}", response=ClusterOut, summary="One cluster")
def get_cluster(request: HttpRequest, cluster_id: UUID) -> dict[str, Any]:
    return show(access.get(request.user, Cluster, cluster_id, see=SEE))


@router.patch("/clusters/{uuid:cluster_id}", response=ClusterOut, summary="Change a cluster")
def change_cluster(request: HttpRequest, cluster_id: UUID, values: ClusterPatch) -> Any:
    row = access.get(request.user, Cluster, cluster_id, see=SEE, action="manage_clusters")
    changes = values.model_dump(exclude_unset=True)
    require_values({name: value for name, value in changes.items() if name != "migration_policy" or value is None})
    if "migration_policy" in changes and changes["migration_policy"] is None:
        changes["migration_policy"] = "legacy"
    clusters.change(cluster=row, changes=changes, by=request.user)
    return show(access.get(request.user, Cluster, cluster_id, see=SEE))


@router.delete("/clusters/{uuid:cluster_id}", response={204: None}, summary="Remove a cluster")
def remove_cluster(request: HttpRequest, cluster_id: UUID) -> Any:
    """409 naming what it still holds."""
    row = access.get(request.user, Cluster, cluster_id, see=SEE, action="manage_clusters")
    clusters.remove(cluster=row, by=request.user)
    return Status(204, None)


def show(row: Cluster) -> dict[str, Any]:
    """A cluster as the contract writes it."""
    names = [name for name in ClusterOut.model_fields if name not in ("id", "data_center")]
    return {name: getattr(row, name) for name in names} | {"id": row.pk, "data_center": named(row.data_center)}
