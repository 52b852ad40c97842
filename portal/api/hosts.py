"""Hosts."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field

from broker import access
from broker.errors import NotFound
from broker.models import Cluster, Host
from broker.operations import hosts
from portal.api.lists import Page, Paging, page
from portal.api.shapes import SEE, Name, Named, Words, named, referred, require_values, whole, word_of
from portal.api.values import Body, Change

router = Router(tags=["hosts"])


Percent = whole(*hosts.OVERCOMMIT_PERCENT)
Action = word_of("activate", "maintenance")


class NumaNodeOut(Schema):
    id: int
    memory_mib: int
    cpus: list[int]


class HostOut(Named):
    description: str
    comment: str
    cluster: Named
    uri: str
    display_address: str
    spice_subject: str
    spice_certified_until: datetime | None
    status: str
    status_reason: str
    acceleration_mode: str
    acceleration: str
    acceleration_reason: str
    memory_mib: int
    memory_used_mib: int
    memory_reserved_mib: int
    memory_overcommit_percent: int
    cpu_model: str
    cpu_sockets: int
    cpu_cores: int
    cpu_threads: int
    cpu_busy_percent: int | None
    numa_nodes: list[NumaNodeOut]
    libvirt_version: str
    qemu_version: str
    last_seen_at: datetime | None


class HostIn(Body):
    NEEDED = ("cluster", "name", "uri", "display_address")

    cluster: UUID | None = None
    name: Name = ""
    uri: str = Field("", max_length=2000)
    display_address: str = Field("", max_length=1000)
    description: Words = ""
    comment: Words = ""
    acceleration_mode: Literal["automatic", "kvm", "qemu"] = "automatic"
    memory_overcommit_percent: Percent = 100


class HostPatch(Change):
    name: Name | None = None
    uri: str | None = Field(None, max_length=2000)
    display_address: str | None = Field(None, max_length=1000)
    description: Words | None = None
    comment: Words | None = None
    acceleration_mode: Literal["automatic", "kvm", "qemu"] | None = None
    memory_overcommit_percent: Percent | None = None


@router.get("/hosts", response=Page[HostOut], summary="Hosts")
def list_hosts(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_hosts(request), paging, order=("name", "id"), searched="name", show=show)


@router.post("/hosts", response={202: HostOut}, summary="Add a host")
def add_host(request: HttpRequest, values: HostIn) -> Any:
    """By its libvirt URI; a worker looks at it before anything starts there."""
    cluster = referred(request, Cluster, values.cluster, "cluster")
    if not access.can(request.user, "manage_hosts", cluster):
        message = _("Your roles do not allow you to add hosts to this cluster.")
        raise access.denied(request.user, "manage_hosts", cluster, message)
    host = hosts.add(cluster=cluster, by=request.user, **values.model_dump(exclude={"cluster"}))
    return Status(202, show(_one(request, host.pk)))


@router.get("/hosts/{uuid:host_id}", response=HostOut, summary="One host")
def get_host(request: HttpRequest, host_id: UUID) -> dict[str, Any]:
    return show(_one(request, host_id))


@router.patch("/hosts/{uuid:host_id}", response=HostOut, summary="Change a host")
def change_host(request: HttpRequest, host_id: UUID, values: HostPatch) -> Any:
    host = access.get(request.user, Host, host_id, see=SEE, action="manage_hosts")
    changes = values.model_dump(exclude_unset=True)
    require_values(changes)
    hosts.change(host=host, changes=changes, by=request.user)
    return show(_one(request, host_id))


@router.delete("/hosts/{uuid:host_id}", response={204: None}, summary="Remove a host")
def remove_host(request: HttpRequest, host_id: UUID) -> Any:
    """While it is in maintenance, or cannot be used."""
    host = access.get(request.user, Host, host_id, see=SEE, action="manage_hosts")
    hosts.remove(host=host, by=request.user)
    return Status(204, None)


@router.post("/hosts/{uuid:host_id}/{action}", response={202: HostOut}, summary="Act on a host")
def act_on_host(request: HttpRequest, host_id: UUID, action: Action) -> Any:
    """`activate` or `maintenance`; in maintenance it is as soon as nothing runs there any more."""
    host = access.get(request.user, Host, host_id, see=SEE, action="manage_hosts")
    match action:
        case "activate":
            hosts.activate(host=host, by=request.user)
        case "maintenance":
            hosts.maintain(host=host, by=request.user)
        case _:
            raise NotFound(_("There is no such action on hosts."))
    return Status(202, show(_one(request, host_id)))


def _hosts(request: HttpRequest) -> Any:
    rows = access.visible(request.user, Host, SEE).select_related("cluster")
    return rows.annotate(memory_reserved_mib=Coalesce(Sum("vms__memory_mib"), 0))


def _one(request: HttpRequest, host_id: UUID) -> Any:
    host = _hosts(request).filter(pk=host_id).first()
    if host is None:
        raise NotFound(_("There is no such host."))
    return host


def show(row: Any) -> dict[str, Any]:
    """A host as the contract writes it."""
    names = [name for name in HostOut.model_fields if name not in ("id", "cluster")]
    return {name: getattr(row, name) for name in names} | {"id": row.pk, "cluster": named(row.cluster)}
