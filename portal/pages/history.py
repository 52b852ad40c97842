"""My history: every desktop I had or waited for, newest first."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from broker.models import DesktopRequest
from broker.rules import desktops
from broker.states import LIVE, EndReason, RequestState
from portal.spreadsheets import download

PER_PAGE = 50
CHUNK = 500
MOST_POOLS = 500
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2999, 12, 31)
UNDER_WAY = (*LIVE, RequestState.RETURNING)


class DayField(forms.DateField):
    """A day of the calendar, in the time zone that the server keeps."""

    def __init__(self, label: Any) -> None:
        text = gettext_lazy(
            "This is no day between 2000 and 2999. Write it as year-month-day, for example 2026-01-31."
        )
        super().__init__(
            label=label,
            required=False,
            input_formats=["%Y-%m-%d"],
            error_messages={"invalid": text},
            widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", "min": FIRST_DAY, "max": LAST_DAY}),
        )

    def to_python(self, value: Any) -> date | None:
        day = super().to_python(value)
        if day is not None and not FIRST_DAY <= day <= LAST_DAY:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return day


class HistoryFilter(forms.Form):
    """Which part of the history is wanted. A field that makes no sense is told so, and the others still count."""

    pool = forms.ChoiceField(label=gettext_lazy("Pool"), required=False)
    since = DayField(gettext_lazy("Asked from"))
    until = DayField(gettext_lazy("Asked until"))
    state = forms.ChoiceField(label=gettext_lazy("How it ended"), required=False)

    def __init__(self, given: Any, wishes: "QuerySet[DesktopRequest]") -> None:
        super().__init__(given)
        self.wishes = wishes
        names = wishes.order_by("pool_name").values_list("pool_name", flat=True).distinct()[:MOST_POOLS]
        self._offer("pool", [("", _("All pools")), *((name, name) for name in names)])
        under_way = [(state.value, state.label) for state in UNDER_WAY]
        self._offer("state", [("", _("All")), (_("Not ended"), under_way), (_("Ended"), EndReason.choices)])
        for name in ("since", "until"):
            if name in self.errors:
                # A picker of dates would hide what was typed and is none.
                self.fields[name].widget.input_type = "text"  # type: ignore[attr-defined]

    def _offer(self, name: str, choices: Any) -> None:
        field: Any = self.fields[name]
        field.choices = choices
        field.error_messages["invalid_choice"] = _("“%(value)s” is not to be found here. Choose one of the list.")

    def clean(self) -> dict[str, Any]:
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and since > until:
            self.add_error(
                "until", _("This day comes before the one in “Asked from”. Choose the same or a later one.")
            )
        return self.cleaned_data

    def found(self) -> "QuerySet[DesktopRequest]":
        """The wishes that are wanted, newest first."""
        rows, wanted = self.wishes, self.cleaned_data
        if wanted.get("pool"):
            rows = rows.filter(pool_name=wanted["pool"])
        if wanted.get("since"):
            rows = rows.filter(requested_at__gte=_midnight(wanted["since"]))
        if wanted.get("until"):
            rows = rows.filter(requested_at__lt=_midnight(wanted["until"] + timedelta(days=1)))
        if state := wanted.get("state"):
            is_live = state in UNDER_WAY
            rows = rows.filter(state=state) if is_live else rows.filter(state=RequestState.ENDED, end_reason=state)
        return rows.order_by("-requested_at", "pk")

    def query(self, **more: Any) -> str:
        """What was understood, for addresses of the same rows elsewhere."""
        return urlencode({name: value for name, value in {**self.cleaned_data, **more}.items() if value})


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


@dataclass(frozen=True)
class Session:
    """One wish as the history tells it. `used` and `waited` are null as long as they go on."""

    wish: DesktopRequest

    @property
    def until(self) -> datetime | None:
        return (self.wish.returned_at or self.wish.ended_at) if self.wish.ready_at else None

    @property
    def used(self) -> timedelta | None:
        return _between(self.wish.ready_at, self.until)

    @property
    def waited(self) -> timedelta | None:
        return _between(self.wish.requested_at, self.wish.ready_at or self.wish.ended_at)

    @property
    def outcome(self) -> str:
        """How it ended; for one that has not ended, its state."""
        wish: Any = self.wish
        if wish.state != RequestState.ENDED:
            return str(wish.get_state_display())
        return desktops.outcome(wish.end_reason, wish.ending)


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    # The clock of a machine may have been set back meanwhile.
    return max(end - start, timedelta()) if start and end else None


@never_cache
@login_required
@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """A page of what was found; a bad filter is told at its field."""
    form = _filter(request)
    page = Paginator(form.found(), PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "page": page,
        "sessions": [Session(wish) for wish in page.object_list],
        "newer": form.query(page=page.number - 1) if page.has_previous() else "",
        "older": form.query(page=page.number + 1) if page.has_next() else "",
        "export": form.query(),
        "filtered": any(request.GET.get(name) for name in form.fields),
        "zone": timezone.get_current_timezone_name(),
    }
    return render(request, "history.html", context)


@never_cache
@login_required
@require_safe
def export(request: HttpRequest) -> HttpResponse:
    """All that was found as CSV; 400 for a filter that makes no sense."""
    form = _filter(request)
    if form.errors:
        text = "\n".join(error for errors in form.errors.values() for error in errors)
        return HttpResponse(text, status=400, content_type="text/plain; charset=utf-8")
    return download("history", _lines(form.found()))


def _filter(request: HttpRequest) -> HistoryFilter:
    form = HistoryFilter(request.GET, DesktopRequest.objects.filter(user=request.user))
    form.full_clean()
    return form


async def _lines(wishes: "QuerySet[DesktopRequest]") -> AsyncIterator[list[Any]]:
    yield [
        _("Pool"),
        _("Desktop"),
        _("Asked"),
        _("Used from"),
        _("Used until"),
        _("Used (seconds)"),
        _("Waited (seconds)"),
        _("How it ended"),
    ]
    async for wish in wishes.aiterator(chunk_size=CHUNK):
        one = Session(wish)
        moments = (wish.requested_at, wish.ready_at, one.until)
        asked = (at and timezone.localtime(at).isoformat(timespec="seconds") for at in moments)
        spans = (None if span is None else round(span.total_seconds()) for span in (one.used, one.waited))
        yield [wish.pool_name, wish.vm_name, *asked, *spans, one.outcome]
