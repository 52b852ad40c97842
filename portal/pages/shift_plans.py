"""Shift plans and their shifts, for those who lead the pool: made, edited, removed."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from broker import access
from broker.errors import NotFound
from broker.models import Pool, Shift, ShiftPlan
from broker.operations import shift_plans
from broker.rules import shifts as rules
from portal import shifts
from portal.pages.shift_forms import EditPlan, NewPlan, ShiftForm, answered

MOST_NAMED = 12


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """A new plan; there is nothing here for those who lead no pool."""
    if not access.can_anywhere(request.user, "lead_shifts", Pool):
        raise NotFound(_("There is nothing at this address."))
    form = NewPlan(request.POST if request.method == "POST" else None, user=request.user, given=request.GET)
    return answered(request, form, zones=_zones())


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """The plan, and a list of its shifts."""
    plan = shifts.led(request.user, plan_id)
    data = request.POST if request.method == "POST" else None
    form = EditPlan(data, user=request.user, plan=plan, row=plan)
    return answered(request, form, plan, zones=_zones(), shifts=_shifts(plan))


def _zones() -> list[str]:
    return sorted(name for name in rules.zones() if "/" in name or name == "UTC")


def _shifts(plan: ShiftPlan) -> list[Any]:
    """Each with the first of those on its roster."""
    rows: list[Any] = list(plan.shifts.prefetch_related("members__user", "members__group"))
    for shift in rows:
        members = list(shift.members.all())
        shift.named, shift.more = members[:MOST_NAMED], max(len(members) - MOST_NAMED, 0)
    return rows


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Asked about first, for its past goes with it."""
    plan = shifts.led(request.user, plan_id)
    if request.method == "POST":
        shift_plans.remove(plan=plan, by=request.user)
        messages.success(request, _("The shift plan %(plan)s was removed.") % {"plan": plan})
        return redirect("shifts")
    text = _("Its shifts, who came when, and what was handed over are deleted with it. This cannot be undone.")
    question = _("Remove the shift plan %(plan)s?") % {"plan": plan}
    return _ask(request, plan, question, text)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def add_shift(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """One more shift."""
    plan = shifts.led(request.user, plan_id)
    data = request.POST if request.method == "POST" else None
    return answered(request, ShiftForm(data, user=request.user, plan=plan), plan)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit_shift(request: HttpRequest, plan_id: UUID, shift_id: UUID) -> HttpResponse:
    """Its times and its roster."""
    plan = shifts.led(request.user, plan_id)
    data = request.POST if request.method == "POST" else None
    return answered(request, ShiftForm(data, user=request.user, plan=plan, row=_shift(plan, shift_id)), plan)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove_shift(request: HttpRequest, plan_id: UUID, shift_id: UUID) -> HttpResponse:
    """Asked about first."""
    plan = shifts.led(request.user, plan_id)
    shift = _shift(plan, shift_id)
    if request.method == "POST":
        shift_plans.remove_shift(shift=shift, by=request.user)
        messages.success(request, _("The shift %(shift)s was removed.") % {"shift": shift})
        return redirect("shift-plan", plan_id)
    question = _("Remove the shift %(shift)s?") % {"shift": shift}
    return _ask(request, plan, question, _("One that runs now goes on to its end. What happened in it so far stays."))


def _shift(plan: ShiftPlan, key: UUID) -> Shift:
    shift = plan.shifts.select_related("plan__pool").filter(pk=key).first()
    if shift is None:
        raise NotFound(_("It is not there any more."))
    return shift


def _ask(request: HttpRequest, plan: ShiftPlan, question: str, text: str) -> HttpResponse:
    return render(request, "shifts/question.html", {"plan": plan, "question": question, "text": text})
