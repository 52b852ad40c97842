"""How long a desktop may be kept: what ends it next, when its user is warned, and what may be put off once."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from broker.models.pools import MAX_MINUTES
from broker.states import Ending, PoolType

LAST_WARNING_MINUTES = 1
# Nobody has worked on these yet: their time is that of whoever was served, not of the pool.
UNUSED = (Ending.HOLD, Ending.CONNECT)
SOMEBODY_WORKS = (Ending.SESSION, Ending.IDLE, Ending.SHIFT)  # whoever sits there is told on the desktop itself
TOLD_LATE = timedelta(seconds=30)  # before its end: whoever is told later than that was not told in time
LIMITS = ("disconnect_grace_minutes", "max_session_minutes", "idle_limit_minutes")
TIME_FIELDS = (*LIMITS, "extension_minutes")  # all that a pool says about the time of its desktops


@dataclass(frozen=True)
class Limits:
    """What applies in a pool; null for no limit. `extension`: by how much each may be put off, once.

    `first_minutes`: how long before an end its user is warned for the first time.
    """

    hold: timedelta
    connect: timedelta
    disconnected: timedelta | None = None
    session: timedelta | None = None
    idle: timedelta | None = None
    extension: timedelta | None = None
    first_minutes: int = 5


@dataclass(frozen=True)
class Use:
    """What was seen of a desktop that is ready. `viewer_left_at` is null while somebody looks at it.

    `shift_ends_at`: when the shift that it was taken for takes it back; null for none, or one that does not.
    """

    waited: bool
    ready_at: datetime
    connected_at: datetime | None = None
    viewer_left_at: datetime | None = None
    busy_at: datetime | None = None
    extended: frozenset[str] = field(default_factory=frozenset)
    shift_ends_at: datetime | None = None


@dataclass(frozen=True)
class Told:
    """The last end that somebody was told of, and whether a warning was given of it."""

    kind: str | None = None
    at: datetime | None = None
    warned: bool = False


@dataclass(frozen=True)
class Deadline:
    """When a desktop is taken back, and why; `since` is when that time began to run."""

    kind: Ending
    since: datetime
    at: datetime


def deadline(use: Use, limits: Limits) -> Deadline | None:
    """What ends the desktop first; null when nothing does."""
    found = [_of(kind, since, use, limits) for kind, since in _clocks(use)]
    return min((one for one in found if one is not None), key=lambda one: (one.at, one.kind), default=None)


def with_notice(end: Deadline, told: Told, now: datetime, *, first_minutes: int) -> Deadline:
    """The same end, put off where somebody may be at work and could not be warned in time.

    A limit that was set just now, or workers that were away, would else take what nobody had a chance to save.
    """
    minutes = max(_warnings(end, first_minutes), default=0)
    if end.kind not in SOMEBODY_WORKS or not minutes:
        return end
    if told.warned and told.kind == end.kind and told.at is not None:
        return replace(end, at=max(end.at, told.at))
    return end if end.at - now >= TOLD_LATE else replace(end, at=now + timedelta(minutes=minutes))


def _clocks(use: Use) -> Iterable[tuple[Ending, datetime]]:
    if use.shift_ends_at is not None:
        yield Ending.SHIFT, use.shift_ends_at
    if use.connected_at is None:
        # Whoever had to wait may have gone away meanwhile, and others wait behind.
        yield (Ending.HOLD if use.waited else Ending.CONNECT), use.ready_at
        return
    if use.viewer_left_at is not None:
        yield Ending.DISCONNECTED, use.viewer_left_at
    yield Ending.SESSION, use.ready_at
    yield Ending.IDLE, max(use.connected_at, use.busy_at or use.connected_at)


def _of(kind: Ending, since: datetime, use: Use, limits: Limits) -> Deadline | None:
    allowed = _allowed(kind, limits)
    if allowed is None:
        return None
    more = _extension(kind, limits) if kind in use.extended else None
    return Deadline(kind, since, since + allowed + (more or timedelta(0)))


def _allowed(kind: Ending, limits: Limits) -> timedelta | None:
    match kind:
        case Ending.HOLD:
            return limits.hold
        case Ending.CONNECT:
            return limits.connect
        case Ending.DISCONNECTED:
            return limits.disconnected
        case Ending.SESSION:
            return limits.session
        case Ending.IDLE:
            return limits.idle
        case Ending.SHIFT:
            return timedelta(0)  # its clock is the plan's, and stands at the end already


def _extension(kind: Ending, limits: Limits) -> timedelta | None:
    """A hold can always be put off, by as much again (SC 2.2.1); the limits of a pool by what it allows."""
    return _allowed(kind, limits) if kind in UNUSED else limits.extension


def may_extend(kind: str | None, extended: Iterable[str], extension_minutes: int | None) -> bool:
    """Whether this ending may still be put off; a hold always may, once; the end of a shift only a lead puts off."""
    return kind not in (None, Ending.SHIFT, *extended) and (kind in UNUSED or extension_minutes is not None)


def warning_due(end: Deadline, now: datetime, *, first_minutes: int, warned: int | None) -> int | None:
    """How many minutes before its end somebody must be warned now; null while that is not due, or was done."""
    due = [minutes for minutes in _warnings(end, first_minutes) if now >= end.at - timedelta(minutes=minutes)]
    return min(due) if due and (warned is None or min(due) < warned) else None


def look_at(end: Deadline, now: datetime, *, first_minutes: int) -> datetime:
    """When something is to be done next: a warning that is still to come, or the end."""
    moments = [end.at - timedelta(minutes=minutes) for minutes in _warnings(end, first_minutes)]
    return min((moment for moment in moments if moment > now), default=end.at)


def _warnings(end: Deadline, first_minutes: int) -> list[int]:
    """Minutes before the end; a time that is hardly longer than a warning is not begun with one.

    Whoever checks in shortly before the end of a shift is warned all the same.
    """
    if end.kind == Ending.SHIFT:
        return [first_minutes, LAST_WARNING_MINUTES]
    length = end.at - end.since
    return [minutes for minutes in (first_minutes, LAST_WARNING_MINUTES) if length >= 2 * timedelta(minutes=minutes)]


def warning(kind: str, minutes: int) -> str:
    """What its user is told that many minutes before."""
    return {
        Ending.HOLD: _("Your desktop is held for you for %(minutes)s more min. Connect to it to keep it."),
        Ending.CONNECT: _("Your desktop is taken back in %(minutes)s min unless you connect to it."),
        Ending.DISCONNECTED: _("Your desktop is taken back in %(minutes)s min unless you connect to it again."),
        Ending.SESSION: _("Your desktop ends in %(minutes)s min, and everything on it is deleted. Save your work."),
        Ending.IDLE: _(
            "Nothing happens on your desktop. It ends in %(minutes)s min, and everything on it is deleted; "
            "work on it to keep it."
        ),
        Ending.SHIFT: _(
            "Your desktop ends in %(minutes)s min with your shift, and everything on it is deleted. Save your work."
        ),
    }[Ending(kind)] % {"minutes": minutes}


def asked_back(by: Any) -> str:
    """What is said to whoever was asked to return a desktop; null for somebody who is gone by now."""
    if by is None:
        return _("You are asked to return this desktop. Save your work, then return it.")
    name = by.get_full_name() or by.get_username()
    return _("%(person)s asks you to return this desktop. Save your work, then return it.") % {"person": name}


def problems(type: str, minutes: dict[str, int | None]) -> list[tuple[str, str]]:
    """Everything that is wrong with a pool's limits, as (field, sentence)."""
    found = []
    for name, value in minutes.items():
        if value is None:
            continue
        if not 1 <= value <= MAX_MINUTES:
            text = _("Give minutes from 1 to %(most)s, or nothing for no limit.")
            found.append((name, text % {"most": MAX_MINUTES}))
        elif type != PoolType.AUTOMATIC and name in LIMITS:
            text = _("Only automatic pools limit the time; an administrator returns the desktops of manual ones.")
            found.append((name, text))
    limited = any(minutes.get(name) is not None for name in LIMITS)
    if minutes.get("extension_minutes") is not None and not limited:
        found.append(("extension_minutes", _("There is nothing to put off: set one of the limits first.")))
    return found
