"""The report of a shift plan: a page that prints well, and the same rows as CSV."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from broker.errors import Invalid
from broker.models import ShiftPlan
from broker.rules.shift_reports import STEPS, Waits
from portal import shift_reports, shifts
from portal.pages.history import DayField
from portal.shift_reports import DutyLine, Period
from portal.spreadsheets import download

MOST_LINES = 1000  # on the page; the file has them all


class ReportDays(forms.Form):
    """Which days are wanted; what makes no sense is told at its field."""

    since = DayField(gettext_lazy("First day"))
    until = DayField(gettext_lazy("Last day"))

    def __init__(self, given: Any, plan: ShiftPlan) -> None:
        super().__init__(given)
        self.plan = plan
        self.period: Period | None = None
        self.full_clean()
        for name in self.errors:
            # A picker of dates would hide what was typed and is none.
            self.fields[name].widget.input_type = "text"  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                self.period = shift_reports.period(self.plan, self.cleaned_data["since"], self.cleaned_data["until"])
            except Invalid as refusal:
                for detail in refusal.details:
                    self.add_error(detail["field"], str(detail["message"]))
        return self.cleaned_data


@never_cache
@login_required
@require_safe
def report(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Of the days that were chosen; the last seven without a choice."""
    plan = shift_reports.reported(request.user, plan_id)
    form = ReportDays(request.GET, plan)
    context: dict[str, Any] = {"plan": plan, "form": form, "leads": shifts.leads(request.user, plan)}
    if form.period is None:
        return render(request, "shifts/report.html", context)
    found = shift_reports.report(plan, form.period)
    days = {"since": form.period.since, "until": form.period.until}
    context |= {
        "form": ReportDays(days, plan),
        "report": found,
        "lines": found.duties[:MOST_LINES],
        "more": max(len(found.duties) - MOST_LINES, 0),
        "largest": max((one.expected for one in found.tallies), default=0),
        "steps": _steps(found.waits),
        "steps_drawn": found.waits.steps,
        "most_step": max(found.waits.steps),
        "hourly": [one.mean for one in found.hours],
        "scale": max([found.seats, *(one.most for one in found.hours)]),
        "export": urlencode(days),
    }
    with timezone.override(plan.time_zone):
        return render(request, "shifts/report.html", context)


def _steps(waits: Waits) -> list[tuple[str, int]]:
    """How many waited how long, in words."""
    minutes = [round(step.total_seconds() / 60) for step in STEPS]
    names = [_("up to %(minutes)s min") % {"minutes": one} for one in minutes]
    return list(zip([*names, _("longer")], waits.steps, strict=True))


@never_cache
@login_required
@require_safe
def export(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Who was expected and who came, line by line; 400 for days that make no sense."""
    plan = shift_reports.reported(request.user, plan_id)
    form = ReportDays(request.GET, plan)
    if form.period is None:
        text = "\n".join(error for errors in form.errors.values() for error in errors)
        return HttpResponse(text, status=400, content_type="text/plain; charset=utf-8")
    found = shift_reports.report(plan, form.period)
    return download(f"shifts-{form.period.since}-{form.period.until}", _lines(found.duties, plan.time_zone))


async def _lines(duties: list[DutyLine], zone: str) -> AsyncIterator[list[Any]]:
    yield [
        _("Day"),
        _("Shift"),
        _("Person"),
        _("Expected from"),
        _("Expected until"),
        _("Came"),
        _("Late (seconds)"),
        _("Left"),
        _("Overtime (seconds)"),
        _("Waited (seconds)"),
        _("How it ended"),
    ]
    for one in duties:
        record = one.record
        moments = (one.expected_at, one.occurrence.ends_at, record.came, record.left)
        with timezone.override(zone):
            start, end, came, left = (at and timezone.localtime(at).isoformat(timespec="seconds") for at in moments)
        late, over, waited = (_seconds(length) for length in (record.late, record.overtime, one.wait))
        who = (one.occurrence.day.isoformat(), one.occurrence.name, one.user.get_username())
        yield [*who, start, end, came, late, left, over, waited, one.outcome]


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else round(length.total_seconds())
