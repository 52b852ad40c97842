"""Seats, people on duty and the times of shifts as pages draw them: an icon and a word, never a colour alone."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.utils.dates import WEEKDAYS, WEEKDAYS_ABBR
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker.rules.shifts import DAYS, Record, Seat
from portal.templatetags.hotdesk import badge

register = template.Library()

SEATS: dict[str, tuple[str, str, Any]] = {
    Seat.IN_USE: ("busy", "user", gettext_lazy("In use")),
    Seat.STARTING: ("busy", "power", gettext_lazy("Starting")),
    Seat.READY: ("good", "zap", gettext_lazy("Ready")),
    Seat.FREE: ("good", "power-off", gettext_lazy("Free, starts when taken")),
    Seat.RESETTING: ("wait", "recycle", gettext_lazy("Resetting")),
    Seat.FAULT: ("bad", "triangle-alert", gettext_lazy("Fault")),
    Seat.AWAY: ("plain", "circle-slash", gettext_lazy("Not available now")),
}


@register.simple_tag
def seat_badge(state: str) -> SafeString:
    """What a seat is to whoever looks for one."""
    return badge(*SEATS[state])


@register.simple_tag
def duty_badge(record: Record) -> SafeString:
    """Whether somebody who is expected has come."""
    if record.absent:
        return badge("bad", "user-x", _("Absent"))
    if record.came is None:
        return badge("plain", "clock", _("Expected"))
    if record.late:
        text = _("Here, %(minutes)s min late") if record.present else _("Was here, %(minutes)s min late")
        return badge("wait", "clock-alert", text % {"minutes": round(record.late.total_seconds() / 60)})
    return badge("good", "user-check", _("Here")) if record.present else badge("plain", "log-out", _("Was here"))


@register.simple_tag
def wall_times(start: datetime, end: datetime, zone: str, now: datetime | None = None) -> str:
    """From when to when by the clocks of the plan; with its day where that is still to come."""
    there = ZoneInfo(zone)
    first, last = start.astimezone(there), end.astimezone(there)
    words = {"start": date_format(first, "H:i"), "end": date_format(last, "H:i")}
    if now is None or first.date() <= now.astimezone(there).date():
        return _("%(start)s–%(end)s") % words
    return _("%(day)s %(start)s–%(end)s") % {**words, "day": WEEKDAYS_ABBR[first.weekday()]}


@register.simple_tag
def wall_moment(at: datetime, zone: str, now: datetime) -> str:
    """A moment by the clocks of the plan; with its day where that is not today."""
    there = ZoneInfo(zone)
    local = at.astimezone(there)
    words = {"day": WEEKDAYS_ABBR[local.weekday()], "time": date_format(local, "H:i")}
    return words["time"] if local.date() == now.astimezone(there).date() else _("%(day)s %(time)s") % words


@register.filter
def weekdays(days: Iterable[int]) -> str:
    """The days of a week on which something begins, by their names."""
    chosen = sorted(days)
    if chosen == list(DAYS):
        return _("Every day")
    if len(chosen) > 2 and chosen == list(range(chosen[0], chosen[-1] + 1)):
        return _("%(first)s to %(last)s") % {"first": WEEKDAYS[chosen[0]], "last": WEEKDAYS[chosen[-1]]}
    return ", ".join(str(WEEKDAYS[day]) for day in chosen)
