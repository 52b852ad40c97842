"""Virtual machines: members of pools, and independent ones."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field

from broker import access
from broker.errors import Invalid, NotFound
from broker.models import Cluster, DesktopRequest, Template, VirtualMachine
from broker.operations import consoles, templates, vms
from broker.states import HOLDING
from portal import rights
from portal.api.lists import Page, Paging, page
from portal.api.pools import JobStarted
from portal.api.shapes import (
    SEE,
    IdOut,
    Latest,
    MachineChange,
    MachineIn,
    MachineOut,
    Name,
    Named,
    named,
    referred,
    require_values,
    settings_given,
    settings_shown,
    version_of,
    word_of,
)
from portal.api.values import Body
from portal.connection_files import CONNECTION_FILE, connection

router = Router(tags=["virtual machines"])

Action = word_of("start", "shutdown", "stop", "reboot", "suspend", "resume", "return")


class VmOut(Named, MachineOut):
    uuid: UUID
    status: str
    hold: str | None
    hold_reason: str
    run_mode: str | None
    pool: Named | None
    cluster: Named
    host: Named | None
    user: str | None
    template: Named
    template_version: int
    domain_id: int | None
    mac_addresses: list[str]
    changed_at: datetime | None
    changed_by: str | None
    released_at: datetime | None
    released_by: str | None


class VmFilter(Paging):
    pool: UUID | None = None
    name: str = Field("", max_length=255, description="exactly this name")
    uuid: UUID | None = None
    host: UUID | None = None
    domain_id: int | None = Field(None, ge=0, le=2**31 - 1, description="together with a host")


class VmIn(MachineIn):
    NEEDED = ("name", "cluster", "template")

    name: Name = ""
    cluster: UUID | None = None
    template: UUID | None = None
    template_version: Latest = "latest"


class VmJob(Schema):
    vm: IdOut
    job: IdOut


class Publish(Body):
    template: UUID | None = None
    name: Name = ""


class Published(Schema):
    template: IdOut
    template_version: int
    job: IdOut


REFERENCES = {"name", "cluster", "template", "template_version"}


@router.get("/vms", response=Page[VmOut], summary="Virtual machines")
def list_vms(request: HttpRequest, filters: Query[VmFilter]) -> dict[str, Any]:
    """Found by name, UUID, or host and domain id, too (R268, R273)."""
    rows = _vms(request)
    if filters.domain_id is not None and filters.host is None:
        raise Invalid(_("A domain id means something on one host only: say which."), field="host")
    exact = {"pool": filters.pool, "name": filters.name or None, "pk": filters.uuid, "host": filters.host}
    exact["domain_id"] = filters.domain_id
    rows = rows.filter(**{field: value for field, value in exact.items() if value is not None})
    return page(rows, filters, order=("name", "id"), searched="name", show=show)


@router.post("/vms", response={202: VmJob}, summary="Create an independent virtual machine")
def create_vm(request: HttpRequest, values: VmIn) -> Any:
    """From a template, with the same settings as the VMs of a pool."""
    cluster = referred(request, Cluster, values.cluster, "cluster")
    if not access.can(request.user, "create_vm", cluster):
        message = _("Your roles do not allow you to create virtual machines in this cluster.")
        raise access.denied(request.user, "create_vm", cluster, message)
    template = referred(request, Template, values.template, "template")
    vm, job = vms.create(
        cluster=cluster,
        template=template,
        name=values.name,
        template_version=version_of(template, values.template_version),
        by=request.user,
        **settings_given(request, values, without=REFERENCES),
    )
    return Status(202, {"vm": {"id": vm.pk}, "job": {"id": job.pk}})


@router.get("/vms/{uuid:vm_id}", response=VmOut, summary="One virtual machine")
def get_vm(request: HttpRequest, vm_id: UUID) -> dict[str, Any]:
    return show(_one(request, vm_id))


@router.patch("/vms/{uuid:vm_id}", response=VmOut, summary="Change a virtual machine")
def change_vm(request: HttpRequest, vm_id: UUID, values: MachineChange) -> Any:
    """Hardware from the next start on; of a pool's member only words and delete protection."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE, action="edit_vm")
    changes = settings_given(request, values, without=set())
    require_values(changes)
    vms.change(vm=vm, changes=changes, by=request.user)
    return show(_one(request, vm_id))


@router.delete("/vms/{uuid:vm_id}", response={202: JobStarted}, summary="Remove a virtual machine")
def remove_vm(request: HttpRequest, vm_id: UUID) -> Any:
    """An independent one that is down; its disk is deleted."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE, action="remove_vm")
    return Status(202, {"job": {"id": vms.remove(vm=vm, by=request.user).pk}})


@router.post("/vms/{uuid:vm_id}/console", openapi_extra=CONNECTION_FILE, summary="Get a connection file for a VM")
def console_of_vm(request: HttpRequest, vm_id: UUID) -> HttpResponse:
    """Of a VM that was started from here; a desktop in use is opened by its user alone."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE, action="operate_vm")
    return connection(consoles.issue_to_administrator(vm=vm, by=request.user))


@router.post("/vms/{uuid:vm_id}/detach", response=VmOut, summary="Take a VM out of its pool")
def detach_vm(request: HttpRequest, vm_id: UUID) -> Any:
    """Only while it is down; it keeps its disk and is independent from now on."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE)
    rights.require_detaching(request.user, [vm])
    vms.detach(vms=[vm], by=request.user)
    # Whoever saw it as a member of the pool alone sees it once more, as what it has become.
    return show(_described(VirtualMachine.objects.filter(pk=vm_id)).get())


@router.post("/vms/{uuid:vm_id}/rebuild", response={202: JobStarted}, summary="Give a VM a new disk")
def rebuild_vm(request: HttpRequest, vm_id: UUID) -> Any:
    """From its template version; what was written on the old one is dropped."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE, action="edit_vm")
    return Status(202, {"job": {"id": vms.rebuild(vm=vm, by=request.user).pk}})


@router.post("/vms/{uuid:vm_id}/publish", response={202: Published}, summary="Publish a VM as a template version")
def publish_vm(request: HttpRequest, vm_id: UUID, values: Publish) -> Any:
    """The next version of a template, or the first one of a new template of this name."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE)
    if bool(values.template) == bool(values.name):
        raise Invalid(_("Name either a template, or a new one."), field="template")
    template = referred(request, Template, values.template, "template") if values.template else None
    rights.require_publishing(request.user, vm, template)
    version, job = templates.publish(vm=vm, template=template, name=values.name, by=request.user)
    return Status(
        202,
        {"template": {"id": version.template_id}, "template_version": version.number, "job": {"id": job.pk}},
    )


@router.post("/vms/{uuid:vm_id}/{action}", response={202: VmOut}, summary="Act on a virtual machine")
def act_on_vm(request: HttpRequest, vm_id: UUID, action: Action) -> Any:
    """`start`, `shutdown`, `stop`, `reboot`, `suspend`, `resume` or `return`.

    A start from here is stateful: what is written stays (R034). `return` frees a VM, whatever held it.
    """
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE, action="operate_vm")
    match action:
        case "start":
            vms.start(vm=vm, by=request.user)
        case "shutdown" | "stop":
            vms.stop(vm=vm, by=request.user, at_once=action == "stop")
        case "reboot":
            vms.reboot(vm=vm, by=request.user)
        case "suspend":
            vms.suspend(vm=vm, by=request.user)
        case "resume":
            vms.resume(vm=vm, by=request.user)
        case "return":
            vms.release(vm=vm, by=request.user)
        case _:
            raise NotFound(_("There is no such action on virtual machines."))
    return Status(202, show(_one(request, vm_id)))


def _vms(request: HttpRequest) -> Any:
    return _described(access.visible(request.user, VirtualMachine, SEE))


def _described(rows: Any) -> Any:
    holders = DesktopRequest.objects.filter(state__in=HOLDING).select_related("user")
    return rows.select_related(
        "pool", "cluster", "host", "template_version__template", "changed_by", "released_by"
    ).prefetch_related(Prefetch("requests", holders, to_attr="held_for"), "hosts", "nics")


def _one(request: HttpRequest, vm_id: UUID) -> Any:
    vm = _vms(request).filter(pk=vm_id).first()
    if vm is None:
        raise NotFound(_("There is no such virtual machine."))
    return vm


def show(row: Any) -> dict[str, Any]:
    """A VM as the contract writes it."""
    names = ("name", "status", "hold", "hold_reason", "run_mode", "domain_id", "changed_at", "released_at")
    return {name: getattr(row, name) for name in names} | {
        **settings_shown(row),
        "id": row.pk,
        "uuid": row.pk,
        "pool": named(row.pool),
        "cluster": named(row.cluster),
        "host": named(row.host),
        "user": row.held_for[0].user.username if row.held_for else None,
        "template": named(row.template_version.template),
        "template_version": row.template_version.number,
        "mac_addresses": [nic.mac for nic in row.nics.all()],
        "changed_by": row.changed_by and row.changed_by.username,
        "released_by": row.released_by and row.released_by.username,
    }
