"""What happened."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Schema

from broker.events import sentence
from portal import events as shown
from portal.api.lists import Page, Paging, page
from portal.api.values import Moment

router = Router(tags=["events"])


class EventOut(Schema):
    id: UUID
    at: datetime
    kind: str
    severity: str
    message: str
    outcome: str
    actor: str | None
    address: str | None
    pool: UUID | None
    vm: UUID | None
    host: UUID | None
    request: UUID | None
    subject: UUID | None


class EventFilter(Paging):
    severity: Literal["info", "warning", "error"] | None = None
    kind: str | None = None
    about: UUID | None = None
    since: Moment | None = None


@router.get("/events", response=Page[EventOut], summary="Events")
def list_events(request: HttpRequest, filters: Query[EventFilter]) -> dict[str, Any]:
    """Of what I administer; `about` names any object, `since` a time."""
    rows = shown.visible(request.user)
    if filters.about is not None:
        rows = shown.about(rows, filters.about)
    exact = {"severity": filters.severity, "kind": filters.kind, "at__gte": filters.since}
    rows = rows.filter(**{field: value for field, value in exact.items() if value is not None})
    return page(rows, filters, order=("at", "id"), searched="kind", show=show, descending=True)


def show(event: Any) -> dict[str, Any]:
    """An event as the contract writes it."""
    return {
        "id": event.pk,
        "at": event.at,
        "kind": event.kind,
        "severity": event.severity,
        "message": sentence(event),
        "outcome": event.outcome,
        "address": event.address,
        "actor": event.actor and event.actor.username,
        "pool": event.pool_id,
        "vm": event.vm_id,
        "host": event.host_id,
        "request": event.request_id,
        "subject": event.subject_id,
    }
