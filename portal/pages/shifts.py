"""My shifts and the board of a plan: check in and out, hand over, stay longer, and what leads do for others."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from broker import access
from broker.errors import Conflict, Invalid, NotFound
from broker.events import sentence
from broker.models import (
    HandoverPoint,
    Pool,
    ShiftAttendance,
    ShiftHandover,
    ShiftOccurrence,
    ShiftPlan,
    VirtualMachine,
)
from broker.operations import desktops, vms
from broker.operations import shifts as operations
from broker.states import PoolType, RequestState, VmHold
from portal import duties, shifts
from portal import requests as shown
from portal.pages.shift_forms import FaultForm, ForceOutForm, HandoverForm, StayForm, answered

MOST_PLANS = 200
UNMARKABLE = (VmHold.CREATING, VmHold.REMOVING, VmHold.MAINTENANCE, VmHold.ERROR)


# -- what is shown -------------------------------------------------------------------------------------


@never_cache
@login_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every plan that concerns me: what runs, and whether I am there."""
    plans: list[Any] = list(shifts.visible(request.user).order_by("name", "pool__name", "pk")[:MOST_PLANS])
    led = access.visible(request.user, Pool, "lead_shifts")
    led_here, administered = _among(led, plans), _among(access.visible(request.user, Pool, "view_inventory"), plans)
    mine, now = duties.mine(request.user), timezone.now()
    running: dict[UUID, list[Any]] = {}
    for one in ShiftOccurrence.objects.filter(plan__in=plans, starts_at__lte=now, ends_at__gt=now):
        running.setdefault(one.plan_id, []).append(one)
    for plan in plans:
        plan.mine, plan.running, plan.led = mine.get(plan.pk), running.get(plan.pk, []), plan.pool_id in led_here
        plan.reports = plan.led or plan.pool_id in administered
    context = {"plans": plans, "now": now, "may_create": led.exists()}
    return render(request, "shifts/index.html", context)


def _among(pools: Any, plans: list[ShiftPlan]) -> set[UUID]:
    """Those of the pools that the plans are for."""
    return set(pools.filter(pk__in={plan.pool_id for plan in plans}).values_list("pk", flat=True))


@never_cache
@login_required
@require_safe
def board(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Who sits where, who waits, who comes next; on a wall without anything to press."""
    context = _board_of(request, plan_id)
    return render(request, "shifts/wall.html" if context["wall"] else "shifts/board.html", context)


@never_cache
@login_required
@require_safe
def panel(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """The changing part alone, for when live updates do not get through."""
    return render(request, "shifts/panel.html", _board_of(request, plan_id))


def _board_of(request: HttpRequest, plan_id: UUID) -> dict[str, Any]:
    plan = shifts.get(request.user, plan_id)
    return board_context(request.user, plan, wall=request.GET.get("wall") == "1")


def board_context(user: Any, plan: ShiftPlan, *, wall: bool = False) -> dict[str, Any]:
    """What the board shows to this user, the same for pages and live updates."""
    found = shifts.board(user, plan)
    acts = not wall
    mine = found.mine if acts else None
    place = next((wish.place for wish in found.line if mine is not None and wish.pk == mine.request_id), None)
    calls = _calls(mine)
    names = {"plan": plan.name, "place": place}
    is_member = acts and duties.is_member(user, plan)
    return {
        "board": found,
        "plan": plan,
        "wall": wall,
        "now": found.now,
        "reader": user.pk if acts else None,
        "mine": mine,
        "place": place,
        "calls": calls,
        "leads": acts and found.leads,
        "reports": acts and (found.leads or access.can(user, "view_inventory", plan.pool)),
        "takes_part": is_member or (acts and found.leads),
        "lacks_pool": is_member and mine is None and not found.may_check_in and found.opens_at is None,
        "running": [one for one in found.running if one.starts_at <= found.now],
        "opening": [one for one in found.running if one.starts_at > found.now],
        "is_manual": plan.pool.type == PoolType.MANUAL,
        "unmarkable": UNMARKABLE,
        "problems": [(event.at, sentence(event)) for event in found.problems] if acts else [],
        "state": mine.request.state if mine is not None else "away",
        "title": _("(%(place)s) %(plan)s – in line") % names if place else _("%(plan)s – shift board") % names,
        "notice": calls[0] if calls else _notice(mine),
        "spoken": " ".join([_spoken(mine, place), *calls]).strip() if acts else "",
    }


def _calls(mine: Any) -> list[str]:
    """What somebody who is there is called for: the end of the shift or of the desktop, and whoever asks for it."""
    if mine is None:
        return []
    return [text for text in (shown.warning(mine.request), *shown.calls(mine.request)) if text]


def _notice(mine: Any) -> str:
    if mine is None or mine.request.state != RequestState.READY or mine.request.connected_at is not None:
        return ""
    return _("Your desktop of the pool %(pool)s is ready.") % {"pool": mine.request.pool_name}


def _spoken(mine: Any, place: int | None) -> str:
    """What is read out of one's own state; nothing of others, or the board would never be silent."""
    if mine is None:
        return _("You are not checked in.")
    if place is not None:
        return _("You are in line at place %(place)s.") % {"place": place}
    if mine.request.state == RequestState.READY:
        return _("Your desktop is ready.")
    return _("Your desktop is starting.")


# -- what one does for oneself -------------------------------------------------------------------------


@login_required
@require_POST
def check_in(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Come: take a desktop, or a place at the end of the line."""
    plan = shifts.get(request.user, plan_id)
    attendance, _new = operations.check_in(plan=plan, user=request.user)
    messages.success(request, _("You are checked in to %(shift)s.") % {"shift": attendance.occurrence or plan})
    return redirect("shift-board", plan_id)


@login_required
@require_POST
def check_out(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Go: return the desktop, or leave the line."""
    operations.check_out(plan=shifts.get(request.user, plan_id), user=request.user)
    messages.success(request, _("You are checked out."))
    return redirect("shift-board", plan_id)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def hand_over(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Write what the next shift must know, and go."""
    plan = shifts.get(request.user, plan_id)
    if not ShiftAttendance.objects.filter(plan=plan, user=request.user).exists():
        raise Conflict(_("You have not checked in to a shift of %(plan)s.") % {"plan": plan}, code="NOT_CHECKED_IN")
    return answered(request, HandoverForm(_sent(request), user=request.user, plan=plan), plan)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def stay(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Ask the leads for more time."""
    plan = shifts.get(request.user, plan_id)
    if not ShiftAttendance.objects.filter(plan=plan, user=request.user).present().exists():
        raise Conflict(_("You are not checked in to a shift of %(plan)s.") % {"plan": plan}, code="NOT_CHECKED_IN")
    return answered(request, StayForm(_sent(request), user=request.user, plan=plan), plan)


@login_required
@require_POST
def confirm(request: HttpRequest, plan_id: UUID, handover_id: UUID) -> HttpResponse:
    """I have read what was handed over."""
    plan = _joined(request.user, plan_id)
    handover = _one(ShiftHandover.objects.filter(plan=plan).select_related("plan__pool", "author"), handover_id)
    operations.confirm(handover=handover, by=request.user)
    return redirect("shift-board", plan_id)


@login_required
@require_POST
def settle(request: HttpRequest, plan_id: UUID, point_id: UUID) -> HttpResponse:
    """An open point is done with."""
    plan = _joined(request.user, plan_id)
    points = HandoverPoint.objects.filter(handover__plan=plan).select_related("handover__plan__pool")
    operations.settle(point=_one(points, point_id), by=request.user)
    return redirect("shift-board", plan_id)


def _joined(user: Any, plan_id: UUID) -> ShiftPlan:
    """A plan that one works in, or leads; Denied for those one only sees."""
    plan = shifts.get(user, plan_id)
    if not duties.is_member(user, plan) and not shifts.leads(user, plan):
        raise access.denied(user, "lead_shifts", plan.pool, _("This is for the people on the roster of the plan."))
    return plan


def _sent(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _one(rows: Any, key: UUID) -> Any:
    """What belongs to the plan; NotFound for what belongs to another."""
    row = rows.filter(pk=key).first()
    if row is None:
        raise NotFound(_("It is not there any more."))
    return row


# -- what leads do -------------------------------------------------------------------------------------


@login_required
@require_POST
def answer_stay(request: HttpRequest, plan_id: UUID, attendance_id: UUID) -> HttpResponse:
    """Let somebody stay as long as was asked for, or not; an answer to nothing changes nothing."""
    plan = shifts.led(request.user, plan_id)
    attendances = ShiftAttendance.objects.filter(plan=plan).select_related("plan__pool", "user")
    attendance = _one(attendances, attendance_id)
    answer = request.POST.get("answer", "")
    if answer not in ("allow", "refuse"):
        raise Invalid(_("Choose whether to allow it."), field="answer")
    words = {"person": attendance.user.display_name, "minutes": attendance.stay_asked_minutes}
    if attendance.stay_asked_at is None:
        messages.success(request, _("%(person)s waits for no answer any more.") % words)
        return redirect("shift-board", plan_id)
    minutes = attendance.stay_asked_minutes if answer == "allow" else None
    operations.answer_stay(attendance=attendance, by=request.user, minutes=minutes)
    text = _("%(person)s may stay %(minutes)s min longer.") if minutes else _("%(person)s may not stay longer.")
    messages.success(request, text % words)
    return redirect("shift-board", plan_id)


@login_required
@require_POST
def ask_back(request: HttpRequest, plan_id: UUID, request_id: UUID) -> HttpResponse:
    """Ask somebody to return a desktop."""
    wish = shifts.wish_of(shifts.led(request.user, plan_id), request_id)
    desktops.ask_back(request=wish, by=request.user)
    messages.success(request, _("%(person)s is asked to return it.") % {"person": wish.user.display_name})
    return redirect("shift-board", plan_id)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def force_out(request: HttpRequest, plan_id: UUID, request_id: UUID) -> HttpResponse:
    """Return a desktop for somebody, who reads why."""
    plan = shifts.led(request.user, plan_id)
    wish = shifts.wish_of(plan, request_id)
    return answered(request, ForceOutForm(_sent(request), user=request.user, plan=plan, row=wish), plan)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def mark_faulty(request: HttpRequest, plan_id: UUID, vm_id: UUID) -> HttpResponse:
    """Take a seat out of the offer, with the reason."""
    plan = shifts.led(request.user, plan_id)
    form = FaultForm(_sent(request), user=request.user, plan=plan, row=_vm(plan, vm_id))
    return answered(request, form, plan)


@login_required
@require_POST
def offer_again(request: HttpRequest, plan_id: UUID, vm_id: UUID) -> HttpResponse:
    """A seat that was marked as faulty works again."""
    plan = shifts.led(request.user, plan_id)
    vm = _vm(plan, vm_id)
    vms.clear_fault(vm=vm, by=request.user)
    messages.success(request, _("%(vm)s is offered again.") % {"vm": vm.name})
    return redirect("shift-board", plan_id)


def _vm(plan: ShiftPlan, key: UUID) -> VirtualMachine:
    return _one(VirtualMachine.objects.filter(pool=plan.pool_id).staying().select_related("pool"), key)
