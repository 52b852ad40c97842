"""Pools I may take from, my desktops and my places in line."""

import time
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Header, Query, Router, Schema, Status
from pydantic import StrictBool

from broker import access
from broker.errors import Busy
from broker.models import ConsoleTicket, DesktopRequest, Pool, with_counts
from broker.operations import consoles, desktops
from broker.rules.consoles import Display, connection_file, file_name
from broker.states import RequestState
from portal import requests as shown
from portal.api.lists import Page, Paging, page
from portal.api.values import Body

router = Router(tags=["desktops"])

CONSOLE_WAIT_SECONDS = 3.0
VV_TYPE = "application/x-virt-viewer"
CONNECTION_FILE = {
    "responses": {
        200: {
            "description": "A file that virt-viewer opens",
            "content": {VV_TYPE: {"schema": {"type": "string"}}},
            "headers": {"Content-Disposition": {"required": True, "schema": {"type": "string"}}},
        }
    }
}


class Named(Schema):
    id: UUID
    name: str


class Estimate(Schema):
    low: int
    high: int


class PoolCard(Schema):
    id: UUID
    name: str
    description: str
    type: str
    size: int
    free: int
    ready: int
    queue_length: int
    max_vms_per_user: int
    mine: int
    estimated_wait: Estimate | None


class Vm(Schema):
    id: UUID
    name: str
    status: str
    host: Named | None


class Timeline(Schema):
    requested: datetime
    assigned: datetime | None
    started: datetime | None
    ready: datetime | None
    connected: datetime | None
    ended: datetime | None


class PoolRef(Schema):
    id: UUID | None  # null once the pool was removed
    name: str


class Request(Schema):
    id: UUID
    pool: PoolRef
    state: str
    position: int | None
    estimated_wait: Estimate | None
    reason: str
    vm: Vm | None
    timeline: Timeline
    end_reason: str | None


class ConsoleOptions(Schema):
    fullscreen: bool
    remap_ctrl_alt_del: bool


class ConsoleOptionsIn(Body):
    fullscreen: StrictBool = False
    remap_ctrl_alt_del: StrictBool = True


class RequestFilter(Paging):
    all: bool = False
    pool: UUID | None = None
    user: UUID | None = None
    state: Literal["queued", "starting", "ready", "returning", "ended"] | None = None


@router.get("/pools", response=Page[PoolCard], summary="Pools I may take from")
def list_pools(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """Only what the user was granted; the rest does not exist for them."""
    rows = with_counts(access.visible(request.user, Pool, "use_pool"), request.user)
    return page(rows, paging, order=("name", "id"), searched="name", show=_pool_card)


@router.post("/pools/{uuid:pool_id}/take", response={201: Request, 200: Request}, summary="Take a desktop")
def take(
    request: HttpRequest,
    pool_id: UUID,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)] = None,
) -> Any:
    """A desktop, or a place in line; a repeat with the same Idempotency-Key is answered with the same wish."""
    pool = access.get(request.user, Pool, pool_id, see="use_pool")
    wish, created = desktops.take(user=request.user, pool=pool, idempotency_key=idempotency_key)
    return Status(201 if created else 200, show(shown.own(request.user, wish.pk)))


@router.get("/pools/{uuid:pool_id}/console-options", response=ConsoleOptions, summary="How I open desktops")
def get_console_options(request: HttpRequest, pool_id: UUID) -> Any:
    """My defaults for this pool (R028)."""
    pool = access.get(request.user, Pool, pool_id, see="use_pool")
    return consoles.options_of(user=request.user, pool=pool)


@router.put("/pools/{uuid:pool_id}/console-options", response=ConsoleOptions, summary="Choose how I open desktops")
def put_console_options(request: HttpRequest, pool_id: UUID, options: ConsoleOptionsIn) -> Any:
    """They hold for every desktop I take from this pool from now on."""
    pool = access.get(request.user, Pool, pool_id, see="use_pool")
    return consoles.choose_options(user=request.user, pool=pool, **options.model_dump())


@router.get("/requests", response=Page[Request], summary="My wishes")
def list_requests(request: HttpRequest, filters: Query[RequestFilter]) -> dict[str, Any]:
    """Mine; with `all`, those of the pools that I administer or lead."""
    rows = shown.readable(shown.of_others(request.user)) if filters.all else _mine(request)
    for field in ("pool", "user", "state"):
        value = getattr(filters, field)
        if value is not None:
            rows = rows.filter(**{field: value})
    return page(
        rows,
        filters,
        order=("requested_at", "id"),
        searched="pool_name",
        show=show,
        prepare=shown.look_around,
        descending=True,
    )


@router.get("/requests/{uuid:request_id}", response=Request, summary="One wish")
def get_request(request: HttpRequest, request_id: UUID) -> dict[str, Any]:
    """Mine, or of a pool that I administer or lead."""
    return show(shown.visible_to(request.user, request_id))


@router.post("/requests/{uuid:request_id}/return", response={202: Request}, summary="Give it back")
def give_back(request: HttpRequest, request_id: UUID) -> Any:
    """Leave the line, or return the desktop; whoever leads the shifts of the pool returns those of others, too."""
    desktops.give_back(request=shown.returnable(request.user, request_id), by=request.user)
    return Status(202, show(shown.visible_to(request.user, request_id)))


@router.post("/requests/{uuid:request_id}/restart", response={202: Request}, summary="Restart the guest")
def restart(request: HttpRequest, request_id: UUID) -> Any:
    """The desktop and what was written stay; in a manual pool this also starts one that was shut down."""
    wish = shown.own(request.user, request_id)
    desktops.restart(request=wish)
    return Status(202, show(wish))


@router.post("/requests/{uuid:request_id}/console", openapi_extra=CONNECTION_FILE, summary="Get a connection file")
def console(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """A new virt-viewer file; it voids the former one. 409 until the desktop is ready."""
    return connection(consoles.issue(request=shown.own(request.user, request_id)))


def connection(ticket: ConsoleTicket) -> HttpResponse:
    """Wait, a short while, for a worker to set the ticket on the host."""
    give_up = time.monotonic() + CONSOLE_WAIT_SECONDS
    while True:
        display = consoles.display(ticket=ticket)
        if display is not None:
            return _file(display)
        if time.monotonic() > give_up:
            raise Busy(_("The display could not be opened in time. Please try again in a moment."))
        time.sleep(0.02)


def _file(display: Display) -> HttpResponse:
    response = HttpResponse(connection_file(display), content_type=VV_TYPE)
    response["Content-Disposition"] = f'attachment; filename="{file_name(display.title)}"'
    response["Cache-Control"] = "no-store"
    return response


def _mine(request: HttpRequest) -> Any:
    return shown.readable(DesktopRequest.objects.filter(user=request.user))


def _pool_card(pool: Any) -> dict[str, Any]:
    names = ("id", "name", "description", "type", "size", "free", "ready", "queue_length", "mine")
    return {name: getattr(pool, name) for name in names} | {
        "max_vms_per_user": pool.max_vms_per_user,
        "estimated_wait": None,
    }


def show(wish: Any) -> dict[str, Any]:
    """A wish as the contract writes it."""
    # The VM of a wish that has ended may be somebody else's by now.
    vm = None if wish.state == RequestState.ENDED else wish.vm
    return {
        "id": wish.pk,
        "pool": {"id": wish.pool_id, "name": wish.pool_name},
        "state": wish.state,
        "position": shown.position(wish),
        "estimated_wait": None,
        "reason": shown.reason(wish),
        "vm": vm
        and {
            "id": vm.pk,
            "name": vm.name,
            "status": vm.status,
            "host": vm.host and {"id": vm.host.pk, "name": vm.host.name},
        },
        "timeline": {
            "requested": wish.requested_at,
            "assigned": wish.assigned_at,
            "started": wish.started_at,
            "ready": wish.ready_at,
            "connected": wish.connected_at,
            "ended": wish.ended_at,
        },
        "end_reason": wish.end_reason,
    }
