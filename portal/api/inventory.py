"""Clusters, templates, pools and VMs as administrators see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field

from broker import access
from broker.errors import Denied, Invalid, NotFound
from broker.models import (
    Cluster,
    DesktopRequest,
    Job,
    Pool,
    Template,
    TemplateVersion,
    VirtualMachine,
    with_counts,
)
from broker.operations import consoles, pools, vms
from broker.states import HOLDING, JobState
from portal.api.desktops import connection
from portal.api.lists import Page, Paging, page
from portal.api.values import Body

router = Router(tags=["administration"])

SEE = "view_inventory"
Count = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31 - 1)]


class Named(Schema):
    id: UUID
    name: str


class ClusterOut(Named):
    description: str
    data_center: Named


class VersionOut(Schema):
    number: int
    memory_mib: int
    vcpus: int
    checksum: str
    published: datetime


class TemplateOut(Named):
    description: str
    operating_system: str
    optimized_for: str
    versions: list[VersionOut]


class PoolOut(Named):
    cluster: Named
    template: Named
    template_version: int | Literal["latest"]
    operating_system: str
    optimized_for: str
    description: str
    comment: str
    type: str
    size: int
    prestarted_vms: int
    max_vms_per_user: int
    delete_protection: bool
    free: int
    ready: int
    running: int
    in_use: int
    queue_length: int


class PoolIn(Body):
    name: str = Field(max_length=1000)
    cluster: UUID
    template: UUID
    size: Count
    template_version: Annotated[int, Field(strict=True, ge=1)] | Literal["latest"] = "latest"
    operating_system: str = Field("", max_length=100)
    optimized_for: Literal["desktop", "server"] | None = None
    description: str = Field("", max_length=10_000)
    comment: str = Field("", max_length=10_000)
    prestarted_vms: Count = 0
    max_vms_per_user: Count = 1
    delete_protection: bool = False
    type: Literal["automatic", "manual"] = "automatic"


class PoolPatch(Body):
    description: str | None = Field(None, max_length=10_000)
    comment: str | None = Field(None, max_length=10_000)
    prestarted_vms: Count | None = None
    max_vms_per_user: Count | None = None
    delete_protection: bool | None = None
    increase_by: Count = 0


class IdOut(Schema):
    id: UUID


class PoolJob(Schema):
    pool: IdOut
    job: IdOut


class VmOut(Named):
    uuid: UUID
    status: str
    hold: str | None
    hold_reason: str
    run_mode: str | None
    pool: Named | None
    host: Named | None
    user: str | None
    template_version: int
    domain_id: int | None


class VmFilter(Paging):
    pool: UUID | None = None


class ItemOut(Schema):
    name: str
    state: str
    message: str


class JobOut(Schema):
    id: UUID
    kind: str
    state: str
    total: int
    done: int
    failed: int
    items: list[ItemOut]


@router.get("/clusters", response=Page[ClusterOut], summary="Clusters")
def list_clusters(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    rows = access.visible(request.user, Cluster, SEE).select_related("data_center")
    return page(rows, paging, order=("name", "id"), searched="name", show=_cluster)


@router.get("/clusters/{uuid:cluster_id}", response=ClusterOut, summary="One cluster")
def get_cluster(request: HttpRequest, cluster_id: UUID) -> dict[str, Any]:
    return _cluster(access.get(request.user, Cluster, cluster_id, see=SEE))


@router.get("/templates", response=Page[TemplateOut], summary="Templates")
def list_templates(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    rows = access.visible(request.user, Template, SEE).prefetch_related("versions")
    return page(rows, paging, order=("name", "id"), searched="name", show=_template)


@router.get("/templates/{uuid:template_id}", response=TemplateOut, summary="One template")
def get_template(request: HttpRequest, template_id: UUID) -> dict[str, Any]:
    return _template(access.get(request.user, Template, template_id, see=SEE))


@router.get("/manage/pools", response=Page[PoolOut], summary="Pools")
def list_pools(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_pools(request), paging, order=("name", "id"), searched="name", show=_pool)


@router.post("/manage/pools", response={202: PoolJob}, summary="Create a pool")
def create_pool(request: HttpRequest, values: PoolIn) -> Any:
    """Accepted at once; the job shows how its VMs come into being."""
    cluster = _referred(request, Cluster, values.cluster, "cluster")
    if not access.can(request.user, "create_pool", cluster):
        raise Denied(_("Your roles do not allow you to create pools in this cluster."))
    template = _referred(request, Template, values.template, "template")
    given = values.model_dump(exclude={"cluster", "template", "template_version", "optimized_for"})
    pool, job = pools.create(
        cluster=cluster,
        template=template,
        template_version=_version(template, values.template_version),
        optimized_for=values.optimized_for or "",
        by=request.user,
        **given,
    )
    return Status(202, {"pool": {"id": pool.pk}, "job": {"id": job.pk}})


@router.get("/manage/pools/{uuid:pool_id}", response=PoolOut, summary="One pool")
def get_pool(request: HttpRequest, pool_id: UUID) -> dict[str, Any]:
    return _pool(_one_pool(request, pool_id))


@router.patch("/manage/pools/{uuid:pool_id}", response={200: PoolOut, 202: PoolJob}, summary="Change a pool")
def change_pool(request: HttpRequest, pool_id: UUID, values: PoolPatch) -> Any:
    """Prestarting and limits act at once; `increase_by` adds VMs."""
    pool = access.get(request.user, Pool, pool_id, see=SEE, action="edit_pool")
    changes = values.model_dump(exclude_unset=True, exclude={"increase_by"})
    empty = [(name, _("This may not be null.")) for name, value in changes.items() if value is None]
    if empty:
        raise Invalid.fields(empty)
    job = pools.change(pool=pool, changes=changes, increase_by=values.increase_by, by=request.user)
    if job is not None:
        return Status(202, {"pool": {"id": pool.pk}, "job": {"id": job.pk}})
    return Status(200, _pool(_one_pool(request, pool_id)))


@router.get("/vms", response=Page[VmOut], summary="Virtual machines")
def list_vms(request: HttpRequest, filters: Query[VmFilter]) -> dict[str, Any]:
    rows = _vms(request)
    if filters.pool is not None:
        rows = rows.filter(pool=filters.pool)
    return page(rows, filters, order=("name", "id"), searched="name", show=_vm)


@router.get("/vms/{uuid:vm_id}", response=VmOut, summary="One virtual machine")
def get_vm(request: HttpRequest, vm_id: UUID) -> dict[str, Any]:
    return _vm(_one_vm(request, vm_id))


@router.post("/vms/{uuid:vm_id}/console", summary="Get a connection file for a VM")
def console_of_vm(request: HttpRequest, vm_id: UUID) -> HttpResponse:
    """Of a VM that was started from here; a desktop in use is opened by its user alone."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE, action="operate_vm")
    return connection(consoles.issue_to_administrator(vm=vm, by=request.user))


@router.post("/vms/{uuid:vm_id}/{action}", response={202: VmOut}, summary="Act on a virtual machine")
def act_on_vm(request: HttpRequest, vm_id: UUID, action: str) -> Any:
    """`start`, `shutdown`, `stop`, `reboot` or `return`.

    A start from here is stateful: what is written stays (R034). `return` frees a VM, whatever held it.
    """
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE, action="operate_vm")
    match action:
        case "start":
            vms.start(vm=vm, by=request.user)
        case "shutdown":
            vms.stop(vm=vm, by=request.user, at_once=False)
        case "stop":
            vms.stop(vm=vm, by=request.user, at_once=True)
        case "reboot":
            vms.reboot(vm=vm, by=request.user)
        case "return":
            vms.release(vm=vm, by=request.user)
        case _:
            raise NotFound(_("There is no such action on virtual machines."))
    return Status(202, _vm(_one_vm(request, vm_id)))


@router.get("/jobs/{uuid:job_id}", response=JobOut, summary="Progress of a job")
def get_job(request: HttpRequest, job_id: UUID) -> dict[str, Any]:
    """Of pools that I administer."""
    seen = access.visible(request.user, Pool, SEE)
    job = Job.objects.filter(pk=job_id, pool__in=seen).prefetch_related("items").first()
    if job is None:
        raise NotFound(_("There is no such job."))
    items = list(job.items.all())
    return {
        "id": job.pk,
        "kind": job.kind,
        "state": job.state,
        "total": len(items),
        "done": sum(item.state == JobState.DONE for item in items),
        "failed": sum(item.state == JobState.FAILED for item in items),
        "items": [{"name": one.name, "state": one.state, "message": one.message} for one in items],
    }


def _referred(request: HttpRequest, model: Any, pk: UUID, field: str) -> Any:
    """A row that the body names: not seeing it is a wrong value, not a wrong address."""
    row = access.visible(request.user, model, SEE).filter(pk=pk).first()
    if row is None:
        raise Invalid(_("There is no such %(kind)s.") % {"kind": field}, field=field)
    return row


def _version(template: Template, number: int | str) -> TemplateVersion | None:
    if number == "latest":
        return None
    version = template.versions.filter(number=number).first()
    if version is None:
        raise Invalid(_("The template has no version %(n)s.") % {"n": number}, field="template_version")
    return version


def _pools(request: HttpRequest) -> Any:
    rows = with_counts(access.visible(request.user, Pool, SEE), request.user)
    return rows.select_related("cluster", "template", "template_version")


def _one_pool(request: HttpRequest, pool_id: UUID) -> Any:
    pool = _pools(request).filter(pk=pool_id).first()
    if pool is None:
        raise NotFound(_("There is no such pool."))
    return pool


def _vms(request: HttpRequest) -> Any:
    holders = DesktopRequest.objects.filter(state__in=HOLDING).select_related("user")
    return (
        access.visible(request.user, VirtualMachine, SEE)
        .select_related("pool", "host", "template_version")
        .prefetch_related(Prefetch("requests", holders, to_attr="held_for"))
    )


def _one_vm(request: HttpRequest, vm_id: UUID) -> Any:
    vm = _vms(request).filter(pk=vm_id).first()
    if vm is None:
        raise NotFound(_("There is no such virtual machine."))
    return vm


def _named(row: Any) -> dict[str, Any] | None:
    return None if row is None else {"id": row.pk, "name": row.name}


def _cluster(row: Cluster) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "description": row.description,
        "data_center": _named(row.data_center),
    }


def _template(row: Template) -> dict[str, Any]:
    versions = [
        {
            "number": one.number,
            "memory_mib": one.memory_mib,
            "vcpus": one.vcpus,
            "checksum": one.checksum,
            "published": one.published_at,
        }
        for one in row.versions.all()
    ]
    names = ("name", "description", "operating_system", "optimized_for")
    return {"id": row.pk, "versions": versions} | {name: getattr(row, name) for name in names}


def _pool(row: Any) -> dict[str, Any]:
    names = [name for name in PoolOut.model_fields if name not in ("id", "cluster", "template", "template_version")]
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "cluster": _named(row.cluster),
        "template": _named(row.template),
        "template_version": row.template_version.number if row.template_version else "latest",
    }


def _vm(row: Any) -> dict[str, Any]:
    names = ("name", "status", "hold", "hold_reason", "run_mode", "domain_id")
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "uuid": row.pk,
        "pool": _named(row.pool),
        "host": _named(row.host),
        "user": row.held_for[0].user.username if row.held_for else None,
        "template_version": row.template_version.number,
    }
