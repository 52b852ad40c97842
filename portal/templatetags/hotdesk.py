"""Icons, states and times as every page draws them: an icon and a word, never a colour alone."""

from datetime import datetime, timedelta
from functools import cache
from math import ceil
from typing import Any

from django import template
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from lucide.templatetags.lucide import lucide

from broker import config
from broker.models import Event
from broker.states import HostStatus, JobState, RequestState, VersionState, VmHold, VmStatus
from portal.cards import Card, drawn

register = template.Library()

# How a state looks: the kind of badge, and its icon. Where two enumerations share a value, it looks alike.
LOOKS: dict[str, tuple[str, str]] = {
    RequestState.QUEUED: ("wait", "hourglass"),
    RequestState.STARTING: ("busy", "power"),
    RequestState.READY: ("good", "circle-check"),
    RequestState.RETURNING: ("busy", "recycle"),
    RequestState.ENDED: ("plain", "circle-slash"),
    VmStatus.DOWN: ("plain", "power-off"),
    VmStatus.POWERING_UP: ("busy", "power"),
    VmStatus.UP: ("good", "circle-check"),
    VmStatus.PAUSED: ("wait", "circle-pause"),
    VmStatus.MIGRATING: ("busy", "move"),
    VmStatus.POWERING_DOWN: ("busy", "power-off"),
    VmStatus.NOT_RESPONDING: ("bad", "triangle-alert"),
    VmStatus.UNKNOWN: ("wait", "circle-question-mark"),
    VmHold.CREATING: ("busy", "plus"),
    VmHold.RESETTING: ("busy", "recycle"),
    VmHold.ERROR: ("bad", "octagon-alert"),
    VmHold.ADMINISTRATOR: ("wait", "user"),
    VmHold.MAINTENANCE: ("wait", "wrench"),
    VmHold.FAULTY: ("bad", "triangle-alert"),
    VmHold.REMOVING: ("busy", "trash-2"),
    HostStatus.ACTIVATING: ("busy", "power"),
    HostStatus.PREPARING: ("busy", "loader"),
    HostStatus.NON_RESPONSIVE: ("bad", "triangle-alert"),
    HostStatus.NON_OPERATIONAL: ("bad", "octagon-alert"),
    JobState.RUNNING: ("busy", "loader"),
    JobState.DONE: ("good", "circle-check"),
    JobState.FAILED: ("bad", "octagon-alert"),
    JobState.STOPPED: ("plain", "circle-slash"),
    VersionState.READY: ("good", "circle-check"),
    Event.Severity.INFO: ("plain", "info"),
    Event.Severity.WARNING: ("wait", "triangle-alert"),
}


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """A picture beside a word that says the same, so readers of the screen skip it."""
    return SafeString(lucide(name, size=20, aria_hidden="true", focusable="false", **{"class": f"icon icon-{name}"}))


@register.simple_tag
def badge(look: str, name: str, word: Any) -> SafeString:
    """A badge of one of the looks good, busy, wait, bad and plain."""
    return format_html('<span class="badge {}">{}<span>{}</span></span>', look, icon(name), word)


@register.simple_tag
def with_icon(name: str, word: Any) -> SafeString:
    """A word with a picture in front of it."""
    return format_html('<span class="with-icon">{}<span>{}</span></span>', icon(name), word)


@register.simple_tag
def state(value: str, word: Any) -> SafeString:
    """The badge of a request's state, or of a VM's status or hold."""
    look, name = LOOKS[value]
    return badge(look, name, word)


@register.simple_tag
def pool_card(card: Card, maintenance: str) -> SafeString:
    """A pool on the home page; `maintenance` says why nothing can be taken now, blank for most of the time."""
    return drawn(card, maintenance, get_language() or "")


@register.simple_tag
def progress(done: int, total: int, words: str, label: str) -> SafeString:
    """How far long work is: a bar with a name, and the same in words."""
    return format_html(
        '<span class="gauge"><progress max="{}" value="{}" aria-label="{}"></progress><span>{}</span></span>',
        max(total, 1),
        done,
        label,
        words,
    )


@register.simple_tag
def moment(at: datetime, style: str = "short") -> SafeString:
    """A time. The page's script shows it in the reader's zone; until then its own zone stands beside it."""
    local = localtime(at)
    words = f"{date_format(local, 'Y-m-d H:i')} {local.tzname()}"
    return format_html('<time datetime="{}" data-style="{}">{}</time>', at.isoformat(), style, words)


@register.filter
def span(length: timedelta | None) -> str:
    """How long something took, in its two largest units; blank for nothing."""
    if length is None:
        return ""
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    names = {"days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
    if days:
        return _("%(days)s d %(hours)s h") % names
    if hours:
        return _("%(hours)s h %(minutes)s min") % names
    return _("%(minutes)s min %(seconds)s s") % names if minutes else _("%(seconds)s s") % names


@register.filter
def longest(seconds: float) -> int:
    """A duration in whole seconds, rounded up: it promises no more than was seen."""
    return max(1, ceil(seconds))


@register.simple_tag
def setting(name: str) -> int:
    """The number administrators have set, for texts that tell people how long they have."""
    return int(config.get(name))
