"""A line as those in it see it: in words, found for all who watch it in the same few queries."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db.models import F
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from broker.models import DesktopRequest
from broker.rules import waits
from broker.states import NOT_READY, RequestState
from portal import requests as shown

DOTS = 8  # a line this short is drawn person by person

Words = dict[str, str]


class Reader(Protocol):
    """Whoever watches a wish: as whom, in which language, and what was drawn last."""

    user: Any
    session_key: str | None
    language: str
    request_id: UUID
    mark: tuple[Any, ...] | None


def words(wish: Any) -> Words:
    """What changes for somebody in line when the line does, by the parts of the panel; `served` is attached."""
    place = shown.position(wish)
    return {
        "title": _("(%(place)s) %(pool)s – in line") % {"pool": wish.pool_name, "place": place},
        "announce": _("You are in line at place %(position)s.") % {"position": place},
        "place": str(place),
        "reason": shown.reason(wish),
        "wait": _wait(wish),
        "ground": _ground(wish),
        "served": _served(wish.served),
    }


def _wait(wish: Any) -> str:
    if not wish.wait:
        return ""
    return _("Until your desktop is ready: %(wait)s") % {"wait": waits.in_words(wish.wait)}


def _ground(wish: Any) -> str:
    if not wish.wait:
        return _("How long it takes cannot be said: too little came back in the last hour.")
    return waits.ground_in_words(wish.ground)


def _served(count: int) -> str:
    if not count:
        return ""
    return ngettext(
        "%(served)s person before you was served since you joined.",
        "%(served)s people before you were served since you joined.",
        count,
    ) % {"served": count}


def mark(wish: Any) -> tuple[Any, ...]:
    """What the panel of a wish shows besides words and what the wish itself tells of; the same while it may stay."""
    attendance, vm = shown.attendance_of(wish), wish.vm
    shift = attendance and (attendance.leaves_at, attendance.reminded_minutes, timezone.now() >= attendance.leaves_at)
    machine = vm and (vm.pk, vm.host_id, vm.halted, vm.ready_at, vm.run_started_at)
    return wish.state, wish.pool_name, wish.mail_asked, wish.user.email, shift, machine


def news(pool_id: UUID, readers: Sequence[Reader]) -> list[tuple[Reader, Words | None]]:
    """What a change of a line is to those who watch wishes of its pool: words, or null for whoever must look again.

    Not named is who has a desktop already, and on whose page nothing changes.
    """
    wishes = _wishes(reader.request_id for reader in readers)
    _find_places(pool_id, [wish for wish in wishes.values() if wish.state == RequestState.QUEUED])
    sessions = Session.objects.filter(session_key__in={reader.session_key for reader in readers})
    alive = set(sessions.filter(expire_date__gt=timezone.now()).values_list("session_key", flat=True))
    found: list[tuple[Reader, Words | None]] = []
    for reader in sorted(readers, key=lambda reader: reader.language):
        wish = wishes.get(reader.request_id)
        if wish is None or reader.session_key not in alive or not _is_as_before(reader, wish):
            found.append((reader, None))
        elif wish.state == RequestState.QUEUED:
            with translation.override(reader.language):
                found.append((reader, words(wish)))
    return found


def _is_as_before(reader: Reader, wish: Any) -> bool:
    """Whether nothing but words can be new, and to the same person: the session proved itself by this password."""
    if not wish.user.is_active or wish.user.password != reader.user.password or reader.mark != mark(wish):
        return False
    if wish.state == RequestState.QUEUED:
        return bool(wish.ahead + 1 + wish.behind > DOTS)
    has_first_claim = wish.state in NOT_READY and wish.vm is None
    return not has_first_claim


def _wishes(keys: Iterable[UUID]) -> dict[UUID, Any]:
    rows = DesktopRequest.objects.filter(pk__in=set(keys)).select_related("user", "vm", "attendance")
    return {wish.pk: wish for wish in rows.annotate(seen=F("vm__run_started_at"))}


def _find_places(pool_id: UUID, wishes: list[Any]) -> None:
    """Attach to wishes in this line what asking for each of them alone would: the line is read once."""
    if not wishes:
        return
    line = DesktopRequest.objects.filter(pool=pool_id, state__in=NOT_READY).in_order().values_list("ticket", "vm")
    tickets: list[int] = []
    unserved: list[int] = []
    for ticket, vm in line:
        tickets.append(ticket)
        if vm is None:
            unserved.append(ticket)
    since = min(wish.requested_at for wish in wishes)
    # Nobody who asked later was served before somebody who still waits (I2): their tickets need no look.
    ready = DesktopRequest.objects.filter(pool=pool_id, ready_at__gte=since).order_by("ready_at")
    served = list(ready.values_list("ready_at", flat=True))
    for wish in wishes:
        wish.ahead = bisect_left(tickets, wish.ticket)
        wish.behind = len(unserved) - bisect_right(unserved, wish.ticket)
        wish.served = len(served) - bisect_left(served, wish.requested_at)
    shown.look_around(wishes)
