"""Templates and their versions."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field

from broker import access
from broker.errors import Invalid, NotFound
from broker.models import StoragePool, Template
from broker.operations import templates
from broker.rules.templates import START_TIMEOUT_SECONDS
from portal import rights
from portal.api.lists import Page, Paging, page
from portal.api.shapes import (
    SEE,
    IdOut,
    Memory,
    Name,
    Named,
    Processors,
    Words,
    named,
    referred,
    require_values,
    whole,
)
from portal.api.values import Body, Change

router = Router(tags=["templates"])


class VersionOut(Schema):
    number: int
    state: str
    state_reason: str
    memory_mib: int
    vcpus: int
    ready_when: str
    graphics: str
    rdp_address: str
    checksum: str
    published: datetime


class TemplateOut(Named):
    description: str
    comment: str
    data_center: Named
    operating_system: str
    optimized_for: str
    versions: list[VersionOut]


class Image(Body):
    """Where an image comes from, and the standard settings of the version that is made of it."""

    path: str = Field("", max_length=1000, description="a file on the host")
    volume: str = Field("", max_length=255, description="a volume of the storage pool")
    storage_pool: UUID | None = Field(None, description="where the copy is kept; may be absent while there is one")
    memory_mib: Memory | None = None
    vcpus: Processors | None = None
    ready_when: Literal["agent", "serial", "delay"] | None = None
    ready_text: str | None = Field(None, max_length=200)
    ready_delay_seconds: whole(0, 3600) | None = None
    start_timeout_seconds: whole(*START_TIMEOUT_SECONDS) | None = None
    graphics: Literal["spice", "vnc"] | None = None
    rdp_address: str | None = Field(
        None, max_length=255, description="its guests offer RDP there; {name} is the VM's"
    )


class TemplateIn(Image):
    NEEDED = ("name",)

    name: Name = ""
    description: Words = ""
    comment: Words = ""
    operating_system: str = Field("", max_length=100)
    optimized_for: Literal["desktop", "server"] = "desktop"


class TemplatePatch(Change):
    name: Name | None = None
    description: Words | None = None
    comment: Words | None = None
    operating_system: str | None = Field(None, min_length=1, max_length=100)
    optimized_for: Literal["desktop", "server"] | None = None


class Started(Schema):
    template: IdOut
    template_version: int
    job: IdOut


@router.get("/templates", response=Page[TemplateOut], summary="Templates")
def list_templates(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_templates(request), paging, order=("name", "id"), searched="name", show=show)


@router.post("/templates", response={202: Started}, summary="Import an image as a template")
def import_template(request: HttpRequest, values: TemplateIn) -> Any:
    """A worker checks, copies and seals the image; the job says how that went."""
    return _import(request, values, into=None)


@router.get("/templates/{uuid:template_id}", response=TemplateOut, summary="One template")
def get_template(request: HttpRequest, template_id: UUID) -> dict[str, Any]:
    return show(_one(request, template_id))


@router.patch("/templates/{uuid:template_id}", response=TemplateOut, summary="Change a template")
def change_template(request: HttpRequest, template_id: UUID, values: TemplatePatch) -> Any:
    """Its name, words and standard settings; versions never change."""
    template = access.get(request.user, Template, template_id, see=SEE, action="manage_templates")
    changes = values.model_dump(exclude_unset=True)
    require_values(changes)
    templates.change(template=template, changes=changes, by=request.user)
    return show(_one(request, template_id))


@router.delete("/templates/{uuid:template_id}", response={204: None}, summary="Remove a template")
def remove_template(request: HttpRequest, template_id: UUID) -> Any:
    """With all its versions; 409 naming whatever uses one of them."""
    template = access.get(request.user, Template, template_id, see=SEE, action="manage_templates")
    templates.remove(template=template, by=request.user)
    return Status(204, None)


@router.post("/templates/{uuid:template_id}/versions", response={202: Started}, summary="Import the next version")
def import_version(request: HttpRequest, template_id: UUID, values: Image) -> Any:
    template = access.get(request.user, Template, template_id, see=SEE, action="manage_templates")
    return _import(request, values, into=template)


@router.delete(
    "/templates/{uuid:template_id}/versions/{int:number}", response={204: None}, summary="Remove a version"
)
def remove_version(request: HttpRequest, template_id: UUID, number: int) -> Any:
    """409 while anything uses it."""
    template = access.get(request.user, Template, template_id, see=SEE, action="manage_templates")
    version = template.versions.filter(number=number).first() if number < 2**31 else None
    if version is None:
        raise NotFound(_("The template has no version %(n)s.") % {"n": number})
    templates.remove_version(version=version, by=request.user)
    return Status(204, None)


def _import(request: HttpRequest, values: Image, into: Template | None) -> Any:
    storage_pool = _storage_pool(request, values.storage_pool, into)
    rights.require_importing(request.user, storage_pool, into, path=values.path, volume=values.volume)
    given = values.model_dump(exclude={"volume", "storage_pool"})
    version, job = templates.import_image(
        storage_pool=storage_pool, into=into, volume_name=values.volume, by=request.user, **given
    )
    return Status(
        202,
        {"template": {"id": version.template_id}, "template_version": version.number, "job": {"id": job.pk}},
    )


def _storage_pool(request: HttpRequest, pk: UUID | None, into: Template | None) -> StoragePool:
    if pk is not None:
        return referred(request, StoragePool, pk, "storage_pool")
    seen = access.visible(request.user, StoragePool, SEE)
    if into is not None:
        seen = seen.filter(data_center=into.data_center_id)
    found = list(seen.select_related("data_center").order_by("name")[:2])
    if len(found) != 1:
        raise Invalid(_("Say in which storage pool the image is to be kept."), field="storage_pool")
    return found[0]


def _templates(request: HttpRequest) -> Any:
    return access.visible(request.user, Template, SEE).select_related("data_center").prefetch_related("versions")


def _one(request: HttpRequest, template_id: UUID) -> Any:
    template = _templates(request).filter(pk=template_id).first()
    if template is None:
        raise NotFound(_("There is no such template."))
    return template


def show(row: Template) -> dict[str, Any]:
    """A template as the contract writes it."""
    of_version = [name for name in VersionOut.model_fields if name != "published"]
    versions = [
        {name: getattr(one, name) for name in of_version} | {"published": one.published_at}
        for one in row.versions.all()
    ]
    names = ("name", "description", "comment", "operating_system", "optimized_for")
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "data_center": named(row.data_center),
        "versions": versions,
    }
