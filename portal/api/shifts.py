"""Shifts: the board of a plan, check in and out, hand over; and what leads do for others."""

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Body as Sent
from ninja import Query, Router, Status
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from broker.errors import Invalid, NotFound
from broker.models import HandoverPoint, ShiftAttendance, ShiftHandover, VirtualMachine
from broker.operations import desktops, shifts, vms
from broker.rules.shifts import MOST_STAY_MINUTES
from portal import duties
from portal import requests as wishes
from portal import shifts as shown
from portal.api import desktops as desktop_api
from portal.api import shift_shapes as shapes
from portal.api.lists import Page, Paging, page
from portal.api.shapes import Words, whole
from portal.api.shift_shapes import AttendanceOut, BoardOut, HandoverOut, LeftOut, PlanCard
from portal.api.values import Body

router = Router(tags=["shifts"])


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul_in_text", "Text may not hold NUL characters")
    return text


Text = Annotated[str, Field(max_length=10_000, json_schema_extra={"pattern": r"^[^\u0000]*$"})]
Line = Annotated[Text, AfterValidator(_without_nul)]
Minutes = whole(1, MOST_STAY_MINUTES)


class LeaveIn(Body):
    note: Words = ""
    points: list[Line] = Field([], max_length=100)


class StayIn(Body):
    minutes: Minutes
    reason: Words = ""


class StayAnswer(Body):
    minutes: Minutes | None = Field(description="null for not longer")


class ReasonIn(Body):
    NEEDED = ("reason",)

    reason: Words = ""


# -- look ----------------------------------------------------------------------------------------------


@router.get("/shifts", response=Page[PlanCard], summary="My shift plans")
def list_plans(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """Those on whose rosters I am, and those of the pools that I lead or administer."""
    cards: dict[UUID, dict[str, Any]] = {}
    return page(
        shown.visible(request.user),
        paging,
        order=("name", "id"),
        searched="name",
        show=lambda plan: cards[plan.pk],
        prepare=lambda plans: cards.update(shapes.cards(request.user, plans)),
    )


@router.get("/shifts/{uuid:plan_id}", response=BoardOut, summary="The board of a shift plan")
def get_board(request: HttpRequest, plan_id: UUID) -> dict[str, Any]:
    """Seats, line, who is expected and who is there, what was handed over."""
    return shapes.board(shown.board(request.user, shown.get(request.user, plan_id)))


# -- for oneself ---------------------------------------------------------------------------------------


@router.post(
    "/shifts/{uuid:plan_id}/check-in",
    response={201: AttendanceOut, 200: AttendanceOut},
    summary="Check in to my shift",
)
def check_in(request: HttpRequest, plan_id: UUID) -> Any:
    """A desktop, or a place at the end of the line; again changes nothing. 409 NO_SHIFT_NOW outside of my shifts."""
    plan = shown.get(request.user, plan_id)
    attendance, created = shifts.check_in(plan=plan, user=request.user)
    return Status(201 if created else 200, shapes.attendance(request.user, attendance))


@router.post("/shifts/{uuid:plan_id}/check-out", response=LeftOut, summary="Check out")
def check_out(request: HttpRequest, plan_id: UUID, left: Sent[LeaveIn | None] = None) -> dict[str, Any]:
    """Returns the desktop, or leaves the line; again changes nothing. 409 NOT_CHECKED_IN for who never came."""
    return _leave(request, plan_id, left or LeaveIn())


@router.post("/shifts/{uuid:plan_id}/handover", response=LeftOut, summary="Hand over and check out")
def hand_over(request: HttpRequest, plan_id: UUID, left: LeaveIn) -> dict[str, Any]:
    """A note, open points, or both, for the next shift; and check out."""
    if not left.note.strip() and not any(point.strip() for point in left.points):
        raise Invalid(_("Write a note, or at least one open point."), field="note")
    return _leave(request, plan_id, left)


def _leave(request: HttpRequest, plan_id: UUID, left: LeaveIn) -> dict[str, Any]:
    plan = shown.get(request.user, plan_id)
    attendance, handover = shifts.check_out(plan=plan, user=request.user, note=left.note, points=left.points)
    written = shapes.handover(_handover(plan, handover.pk)) if handover is not None else None
    return {**shapes.attendance(request.user, attendance), "handover": written}


@router.post("/shifts/{uuid:plan_id}/stay", response={202: AttendanceOut}, summary="Ask to stay longer")
def ask_to_stay(request: HttpRequest, plan_id: UUID, wanted: StayIn) -> Any:
    """A lead answers."""
    plan = shown.get(request.user, plan_id)
    attendance = shifts.ask_to_stay(plan=plan, user=request.user, minutes=wanted.minutes, reason=wanted.reason)
    return Status(202, shapes.attendance(request.user, attendance))


@router.post(
    "/shifts/{uuid:plan_id}/handovers/{uuid:handover_id}/confirm", response=HandoverOut, summary="Confirm a handover"
)
def confirm(request: HttpRequest, plan_id: UUID, handover_id: UUID) -> dict[str, Any]:
    """Somebody of the next shift has read it; again changes nothing."""
    plan = _taking_part(request, plan_id)
    shifts.confirm(handover=_handover(plan, handover_id), by=request.user)
    return shapes.handover(_handover(plan, handover_id))


@router.post(
    "/shifts/{uuid:plan_id}/points/{uuid:point_id}/settle", response=HandoverOut, summary="Settle an open point"
)
def settle(request: HttpRequest, plan_id: UUID, point_id: UUID) -> dict[str, Any]:
    """It is done with; again changes nothing."""
    plan = _taking_part(request, plan_id)
    rows = HandoverPoint.objects.filter(handover__plan=plan).select_related("handover__plan__pool")
    point = _found(rows.filter(pk=point_id).first())
    shifts.settle(point=point, by=request.user)
    return shapes.handover(_handover(plan, point.handover_id))


def _taking_part(request: HttpRequest, plan_id: UUID) -> Any:
    """A plan in which one works, or that one leads; Denied for whoever only sees it."""
    plan = shown.get(request.user, plan_id)
    if not duties.is_member(request.user, plan):
        plan = shown.led(request.user, plan_id)
    return plan


# -- for others ----------------------------------------------------------------------------------------


@router.post(
    "/shifts/{uuid:plan_id}/attendances/{uuid:attendance_id}/stay",
    response=AttendanceOut,
    summary="Answer who asks to stay longer",
)
def answer_stay(request: HttpRequest, plan_id: UUID, attendance_id: UUID, answer: StayAnswer) -> dict[str, Any]:
    """So many minutes longer, asked for or not; null refuses."""
    plan = shown.led(request.user, plan_id)
    rows = ShiftAttendance.objects.filter(plan=plan).select_related("plan__pool", "user", "request", "occurrence")
    attendance = _found(rows.filter(pk=attendance_id).first())
    shifts.answer_stay(attendance=attendance, by=request.user, minutes=answer.minutes)
    return shapes.attendance(request.user, rows.get(pk=attendance_id))


@router.post(
    "/shifts/{uuid:plan_id}/requests/{uuid:request_id}/ask-back",
    response={202: desktop_api.Request},
    summary="Ask somebody to return a desktop",
)
def ask_back(request: HttpRequest, plan_id: UUID, request_id: UUID) -> Any:
    """On its page, by notification and on its screen."""
    wish = shown.wish_of(shown.led(request.user, plan_id), request_id)
    desktops.ask_back(request=wish, by=request.user)
    return Status(202, desktop_api.show(wishes.visible_to(request.user, request_id)))


@router.post(
    "/shifts/{uuid:plan_id}/requests/{uuid:request_id}/force-out",
    response={202: desktop_api.Request},
    summary="Return a desktop for somebody",
)
def force_out(request: HttpRequest, plan_id: UUID, request_id: UUID, given: ReasonIn) -> Any:
    """Its user is checked out, and reads the reason."""
    wish = shown.wish_of(shown.led(request.user, plan_id), request_id)
    if not given.reason.strip():
        raise Invalid(_("Say why."), field="reason")
    desktops.give_back(request=wish, by=request.user, reason=given.reason)
    return Status(202, desktop_api.show(wishes.visible_to(request.user, request_id)))


@router.post("/shifts/{uuid:plan_id}/vms/{uuid:vm_id}/fault", response={204: None}, summary="Mark a seat as faulty")
def mark_faulty(request: HttpRequest, plan_id: UUID, vm_id: UUID, given: ReasonIn) -> Any:
    """Nobody gets it until it is offered again; whoever has it now keeps it."""
    plan = shown.led(request.user, plan_id)
    vms.mark_faulty(vm=_vm(plan, vm_id), reason=given.reason, by=request.user)
    return Status(204, None)


@router.delete("/shifts/{uuid:plan_id}/vms/{uuid:vm_id}/fault", response={204: None}, summary="Offer a seat again")
def clear_fault(request: HttpRequest, plan_id: UUID, vm_id: UUID) -> Any:
    """Again changes nothing."""
    plan = shown.led(request.user, plan_id)
    vms.clear_fault(vm=_vm(plan, vm_id), by=request.user)
    return Status(204, None)


def _vm(plan: Any, vm_id: UUID) -> VirtualMachine:
    return _found(VirtualMachine.objects.filter(pool=plan.pool_id).staying().filter(pk=vm_id).first())


def _handover(plan: Any, handover_id: UUID) -> ShiftHandover:
    rows = ShiftHandover.objects.filter(plan=plan).select_related("plan__pool", "author", "confirmed_by")
    return _found(rows.prefetch_related("points__settled_by").filter(pk=handover_id).first())


def _found(row: Any) -> Any:
    if row is None:
        raise NotFound(_("It is not there any more."))
    return row
