"""Shifts and rosters as files: taken from here by whoever sees the plan, brought here by those who lead it."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from broker.errors import Conflict, Invalid
from broker.models import ShiftPlan
from broker.operations import shift_plans
from broker.rules.shifts import ShiftSpec
from portal import roster_calendars, rosters, shifts
from portal.rosters import Roster


class RosterFile(forms.Form):
    """A file from somebody's computer."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        help_text=gettext_lazy("A table (.csv) with the columns of the one you can download, or a calendar (.ics)."),
        allow_empty_file=True,  # which is told like everything else that is wrong with a file
        widget=forms.FileInput(attrs={"accept": ".csv,.ics,text/csv,text/calendar"}),
    )


@never_cache
@login_required
@require_safe
def to_csv(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Shifts and rosters as a table."""
    plan = shifts.get(request.user, plan_id)
    # The mark tells spreadsheets that it is UTF-8.
    return _file(f"{plan}.csv", "text/csv", "\ufeff" + rosters.to_csv(rosters.specs_of(plan)))


@never_cache
@login_required
@require_safe
def to_calendar(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Shifts and rosters as a calendar."""
    plan = shifts.get(request.user, plan_id)
    specs = {spec.name: spec for spec in rosters.specs_of(plan)}
    rows = [(shift.pk, specs[shift.name]) for shift in plan.shifts.all() if shift.name in specs]
    text = roster_calendars.to_calendar(plan.name, plan.time_zone, rows, now=timezone.now())
    return _file(f"{plan}.ics", "text/calendar", text)


def _file(name: str, kind: str, text: str) -> HttpResponse:
    disposition = content_disposition_header(as_attachment=True, filename=name)
    headers = {"Content-Disposition": disposition} if disposition else None
    return HttpResponse(text, content_type=f"{kind}; charset=utf-8", headers=headers)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def bring(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """A file is read and shown first; the plan is changed when what it would change was confirmed."""
    plan = shifts.led(request.user, plan_id)
    if request.method != "POST":
        return _ask(request, plan, RosterFile())
    if "text" in request.POST:
        return _confirmed(request, plan, request.POST["text"])
    form = RosterFile(request.POST, request.FILES)
    if not form.is_valid():
        return _ask(request, plan, form)
    try:
        text = rosters.text_of(form.cleaned_data["file"].read())
        return _show(request, plan, text, _read(text))
    except Invalid as refusal:
        for detail in refusal.details:
            form.add_error("file", str(detail["message"]))
        return _ask(request, plan, form)


def _ask(request: HttpRequest, plan: ShiftPlan, form: RosterFile) -> HttpResponse:
    return render(request, "shifts/import.html", {"plan": plan, "form": form}, status=422 if form.errors else 200)


def _read(text: str) -> Roster:
    roster = roster_calendars.from_calendar(text) if roster_calendars.is_calendar(text) else rosters.from_csv(text)
    rosters.require_known(roster)
    return roster


def _show(request: HttpRequest, plan: ShiftPlan, text: str, roster: Roster, *, again: bool = False) -> HttpResponse:
    """What would change; `again`: because somebody else changed the plan meanwhile."""
    present = rosters.specs_of(plan)
    zone = roster.zone if roster.zone != plan.time_zone else None
    context = {
        "plan": plan,
        "text": text,
        "seen": _mark(plan, present),
        "changes": rosters.changes(present, roster.shifts),
        "zone": zone,
        "again": again,
    }
    return render(request, "shifts/import.html", context, status=409 if again else 200)


def _mark(plan: ShiftPlan, present: Sequence[ShiftSpec]) -> str:
    """What names the plan as it was when somebody looked at what would change."""
    return hashlib.sha256(repr((plan.time_zone, present)).encode()).hexdigest()


def _confirmed(request: HttpRequest, plan: ShiftPlan, text: str) -> HttpResponse:
    try:
        text = rosters.text_of(text.encode())
        roster = _read(text)
        if request.POST.get("seen") != _mark(plan, rosters.specs_of(plan)):
            return _show(request, plan, text, roster, again=True)
        shift_plans.put_shifts(plan=plan, specs=roster.shifts, time_zone=roster.zone, by=request.user)
    except (Invalid, Conflict) as refusal:
        form = RosterFile({}, {})
        form.errors.pop("file", None)
        for detail in refusal.details:
            form.add_error("file", str(detail["message"]))
        return _ask(request, plan, form)
    messages.success(request, _("The shifts of %(plan)s are those of the file now.") % {"plan": plan})
    return redirect("shift-plan", plan.pk)
