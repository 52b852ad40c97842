"""Pools I may take from, my desktops and my places in line."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Body as Sent
from ninja import Header, Query, Router, Schema, Status
from pydantic import Field, StrictBool

from broker import access
from broker.errors import Invalid
from broker.models import DesktopRequest, Pool
from broker.operations import consoles, deadlines, desktops, mails
from broker.rules.waits import Wait
from broker.states import Ending, RequestState
from portal import requests as shown
from portal.api.lists import Page, Paging, page
from portal.api.shapes import ColorDepth, Effect, Effects
from portal.api.values import Body, Moment
from portal.connection_files import CONNECTION_FILE, RDP_FILE, connection, remote_desktop

router = Router(tags=["desktops"])


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
    host_chosen: datetime | None  # earlier than `requested` for a desktop that was running already
    disk_ready: datetime | None
    started: datetime | None
    ready: datetime | None
    connected: datetime | None
    viewer_left: datetime | None  # null while somebody looks at it
    returned: datetime | None
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
    waited: bool
    ends_at: datetime | None  # when it is taken back
    ending: Ending | None  # what for
    may_extend: bool
    mail_when_ready: bool
    end_reason: str | None


class Match(Schema):
    """What one match of the line found: VMs of the pool by verdict, hosts by what was free on them before."""

    at: datetime
    assigned: int
    waiting: int
    members: dict[str, int]
    hosts: list[dict[str, Any]]


class CertificateOut(Schema):
    """One fresh layer: what it stands on, what became of the one before, and when it was destroyed."""

    id: UUID
    vm_name: str
    layer: str
    made_at: datetime
    stands_on: str
    disk: str
    disk_made_at: datetime | None
    version_name: str
    checksum: str
    changed_by: str
    changed_at: datetime | None
    released_by: str
    released_at: datetime | None
    layer_before: str
    layer_before_destroyed_at: datetime | None
    destroyed_at: datetime | None


class Why(Schema):
    """Why one got this desktop, or none yet. The matches are for those who administer the pool."""

    reason: str
    rule: str | None
    match: Match | None
    waits: list[Match]
    certificate: CertificateOut | None


class ProblemIn(Body):
    text: str = Field(max_length=10_000)


class ReturnIn(Body):
    reason: str = Field("", max_length=10_000)


class MailIn(Body):
    wanted: StrictBool


class ConsoleOptions(Schema):
    fullscreen: bool
    remap_ctrl_alt_del: bool
    usb_autoshare: bool
    smartcard: bool
    color_depth: ColorDepth
    disabled_effects: list[Effect]
    use_proxy: bool


LEFT_TO_THE_POOL: Any = Field(default_factory=lambda: None)  # a factory, so that the API's document shows no null


class ConsoleOptionsIn(Body):
    """What is absent is left to the pool."""

    fullscreen: StrictBool = LEFT_TO_THE_POOL
    remap_ctrl_alt_del: StrictBool = LEFT_TO_THE_POOL
    usb_autoshare: StrictBool = LEFT_TO_THE_POOL
    smartcard: StrictBool = LEFT_TO_THE_POOL
    color_depth: ColorDepth = LEFT_TO_THE_POOL
    disabled_effects: Effects = LEFT_TO_THE_POOL
    use_proxy: StrictBool = LEFT_TO_THE_POOL


class RequestFilter(Paging):
    all: bool = False
    pool: UUID | None = None
    user: UUID | None = None
    state: Literal["queued", "starting", "ready", "returning", "ended"] | None = None
    since: Moment | None = Field(None, description="asked at this time or later")
    until: Moment | None = Field(None, description="asked at this time or earlier")


@router.get("/pools", response=Page[PoolCard], summary="Pools I may take from")
def list_pools(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """Only what the user was granted; the rest does not exist for them."""
    rows = access.visible(request.user, Pool, "use_pool")
    look = partial(shown.look_ahead, user=request.user)
    return page(rows, paging, order=("name", "id"), searched="name", show=_pool_card, prepare=look)


@router.post("/pools/{uuid:pool_id}/take", response={201: Request, 200: Request}, summary="Take a desktop")
def take(
    request: HttpRequest,
    pool_id: UUID,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)] = None,
) -> Any:
    """A desktop, or a place in line; a repeat with the same Idempotency-Key is answered with the same wish.

    503 with the error MAINTENANCE, and the administrators' notice as its message, while no desktop can be taken.
    """
    pool = access.get(request.user, Pool, pool_id, see="use_pool")
    wish, created = desktops.take(user=request.user, pool=pool, idempotency_key=idempotency_key)
    return Status(201, show(shown.just_asked(wish))) if created else show(shown.own(request.user, wish.pk))


@router.get("/pools/{uuid:pool_id}/console-options", response=ConsoleOptions, summary="How I open desktops")
def get_console_options(request: HttpRequest, pool_id: UUID) -> Any:
    """My defaults for this pool (R028), or the pool's own where I chose none."""
    pool = access.get(request.user, Pool, pool_id, see="use_pool")
    return vars(consoles.options_of(user=request.user, of=pool))


@router.put("/pools/{uuid:pool_id}/console-options", response=ConsoleOptions, summary="Choose how I open desktops")
def put_console_options(request: HttpRequest, pool_id: UUID, options: ConsoleOptionsIn) -> Any:
    """They hold for every desktop I take from this pool from now on; 400 for a smart card that it does not offer."""
    pool = access.get(request.user, Pool, pool_id, see="use_pool")
    return vars(consoles.choose_options(user=request.user, pool=pool, chosen=options.model_dump(exclude_unset=True)))


@router.get("/requests", response=Page[Request], summary="My wishes")
def list_requests(request: HttpRequest, filters: Query[RequestFilter]) -> dict[str, Any]:
    """Mine, newest first, or those asked for between two times; with `all`, of the pools I administer or lead."""
    rows = shown.readable(shown.of_others(request.user)) if filters.all else _mine(request)
    if filters.since and filters.until and filters.since > filters.until:
        raise Invalid(_("The time in `until` comes before the one in `since`."), field="until")
    exact = {name: getattr(filters, name) for name in ("pool", "user", "state")}
    wanted = {**exact, "requested_at__gte": filters.since, "requested_at__lte": filters.until}
    rows = rows.filter(**{field: value for field, value in wanted.items() if value is not None})
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
def give_back(request: HttpRequest, request_id: UUID, given: Sent[ReturnIn | None] = None) -> Any:
    """Leave the line, or return the desktop; whoever leads the shifts of the pool returns those of others, too.

    Whoever has a desktop that somebody else returns reads the `reason`.
    """
    wish = shown.returnable(request.user, request_id)
    desktops.give_back(request=wish, by=request.user, reason=given.reason if given else "")
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


@router.post("/requests/{uuid:request_id}/rdp", openapi_extra=RDP_FILE, summary="Get an RDP file")
def rdp(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """For clients of Remote Desktop, where the template says that its guests offer RDP; 409 NO_RDP elsewhere."""
    return remote_desktop(shown.own(request.user, request_id))


@router.post("/requests/{uuid:request_id}/extend", response={202: Request}, summary="Put its end off")
def extend(request: HttpRequest, request_id: UUID) -> Any:
    """Once for each reason, where that is allowed; 409 where it is not."""
    deadlines.extend(request=shown.own(request.user, request_id))
    return Status(202, show(shown.own(request.user, request_id)))


@router.post("/requests/{uuid:request_id}/problem", response={202: Request}, summary="Report a problem")
def report_problem(request: HttpRequest, request_id: UUID, problem: ProblemIn) -> Any:
    """The help desk reads it among the events, with how the desktop came to be."""
    wish = shown.own(request.user, request_id)
    desktops.report_problem(request=wish, text=problem.text)
    return Status(202, show(wish))


@router.put("/requests/{uuid:request_id}/mail", response=Request, summary="Ask for a mail when it is ready")
def ask_for_mail(request: HttpRequest, request_id: UUID, choice: MailIn) -> Any:
    """409 for an account without an address."""
    mails.ask(request=shown.own(request.user, request_id), wanted=choice.wanted)
    return show(shown.own(request.user, request_id))


@router.get("/requests/{uuid:request_id}/why", response=Why, summary="Why this desktop, or none yet")
def get_why(request: HttpRequest, request_id: UUID) -> dict[str, Any]:
    """The reason in words, the proof that the desktop was clean, and for administrators what the matches found."""
    wish = shown.visible_to(request.user, request_id)
    seen = wish.pool is not None and access.can(request.user, "view_inventory", wish.pool)
    return {
        "reason": shown.why(wish) or shown.reason(wish),
        "rule": wish.rule or None,
        "match": wish.allocation if seen else None,
        "waits": list(shown.waits_of(wish)) if seen else [],
        "certificate": wish.certificate,
    }


def _mine(request: HttpRequest) -> Any:
    return shown.readable(DesktopRequest.objects.filter(user=request.user))


def _pool_card(pool: Any) -> dict[str, Any]:
    names = ("id", "name", "description", "type", "size", "free", "ready", "queue_length", "mine")
    return {name: getattr(pool, name) for name in names} | {
        "max_vms_per_user": pool.max_vms_per_user,
        "estimated_wait": _range(pool.wait),
    }


def _range(wait: Wait | None) -> dict[str, int] | None:
    return None if wait is None else {"low": wait.low, "high": wait.high}


def show(wish: Any) -> dict[str, Any]:
    """A wish as the contract writes it."""
    # The VM of a wish that has ended may be somebody else's by now.
    vm = None if wish.state == RequestState.ENDED else wish.vm
    return {
        "id": wish.pk,
        "pool": {"id": wish.pool_id, "name": wish.pool_name},
        "state": wish.state,
        "position": shown.position(wish),
        "estimated_wait": _range(wish.wait),
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
            "host_chosen": wish.placed_at,
            "disk_ready": wish.disk_ready_at,
            "viewer_left": wish.viewer_left_at,
            "returned": wish.returned_at,
            "ended": wish.ended_at,
        },
        "waited": wish.waited,
        "ends_at": wish.ends_at,
        "ending": wish.ending,
        "may_extend": shown.may_extend(wish),
        "mail_when_ready": wish.mail_asked,
        "end_reason": wish.end_reason,
    }
