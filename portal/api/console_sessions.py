"""Consoles for pages, of ours or of others: a short-lived session, and a websocket that carries its bytes."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Body as Sent
from ninja import Router, Schema, Status

from broker import access
from broker.models import VirtualMachine
from broker.operations import console_doors, console_sessions
from broker.operations.console_doors import Wanted
from broker.states import ConsoleKind
from portal import console_sessions as answers
from portal import logins
from portal import requests as shown
from portal.api.shapes import SEE
from portal.api.values import Body

router = Router(tags=["consoles"])


class ConsoleIn(Body):
    kind: Literal["graphical", "text"] = "graphical"
    replaces: UUID | None = None
    take_over: bool = False


class ConsoleOut(Schema):
    """`websocket` is an address on this server; the `password` is said here alone, and is null for text."""

    id: UUID
    name: str
    kind: ConsoleKind
    protocol: Literal["spice", "vnc", "text"]
    websocket: str
    password: str | None
    expires: datetime


class ConsoleState(Schema):
    """Whether it is open; if not, why. `again`: nobody meant it to end, and another one may be opened."""

    id: UUID
    kind: ConsoleKind
    open: bool
    reason: str | None
    message: str
    again: bool


@router.post(
    "/requests/{uuid:request_id}/console-session", response={201: ConsoleOut}, summary="Open a console in a page"
)
def open_own(request: HttpRequest, request_id: UUID, given: Sent[ConsoleIn | None] = None) -> Any:
    """Of my desktop. 409 CONSOLE_IN_USE where somebody looks at it: ask, then send `take_over`.

    Its websocket takes the same token, and an Origin of this server. `replaces` names the session that one comes
    back in place of.
    """
    wish = shown.own(request.user, request_id)
    return Status(201, answers.opened(console_doors.open_own(request=wish, wanted=wanted(request, given))))


@router.post("/vms/{uuid:vm_id}/console-session", response={201: ConsoleOut}, summary="Open a console of a VM")
def open_of_vm(request: HttpRequest, vm_id: UUID, given: Sent[ConsoleIn | None] = None) -> Any:
    """Of a VM that was started from here, or, with a right of its own, of somebody's desktop, who is shown it."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE)
    session = console_doors.open_administered(vm=vm, by=request.user, wanted=wanted(request, given))
    return Status(201, answers.opened(session))


@router.get("/console-sessions/{uuid:session_id}", response=ConsoleState, summary="Whether a console is open")
def get_session(request: HttpRequest, session_id: UUID) -> Any:
    """One that I opened; if it ended, why."""
    return answers.state(console_sessions.of_user(request.user, session_id))


@router.delete("/console-sessions/{uuid:session_id}", response={204: None}, summary="Close a console")
def close_session(request: HttpRequest, session_id: UUID) -> Any:
    """One that I opened; its websockets are closed. Again changes nothing."""
    console_sessions.close(user=request.user, session_id=session_id)
    return Status(204, None)


def wanted(request: HttpRequest, given: ConsoleIn | None) -> Wanted:
    """What is asked for, by this login."""
    return Wanted(login=logins.of_request(request), **(given or ConsoleIn()).model_dump())
