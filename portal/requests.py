"""Wishes as pages, API and live updates read them: one query with place, VM, host and surroundings."""

import math
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.cache import caches
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import access
from broker.errors import Denied, NotFound
from broker.models import Allocation, ConsoleSession, DesktopRequest, Pool, attach_counts, recent, unplaced
from broker.rules import allocations, deadlines, waits
from broker.rules import desktops as rules
from broker.states import LIVE, NOT_READY, Ending, EndReason, RequestState
from portal import duties

MOST_WAITS = 100
GLIMPSE_SECONDS = 1
NOWHERE = rules.Surroundings(size=0, free=0, in_use=0, resetting=0, creating=0, hosts_up=0)


def readable(rows: Any) -> QuerySet[Any]:
    """Everything that describing a wish needs, whatever their number."""
    rows = rows.with_place().select_related(
        "pool", "user", "vm__host", "vm__template_version", "asked_back_by", "returned_by"
    )
    return rows.select_related("attendance__plan", "attendance__occurrence").annotate(seen=F("vm__run_started_at"))


def own(user: Any, request_id: UUID) -> Any:
    """A wish of this user; NotFound for those of others, as if there were none (I6)."""
    return one(DesktopRequest.objects.filter(user=user), request_id)


def pool_of_own(user: Any, request_id: UUID) -> UUID | None:
    """The pool of a wish of this user, null where that was removed; NotFound as for `own`, at far less cost."""
    found = DesktopRequest.objects.filter(user=user, pk=request_id).values_list("pool", flat=True)
    if not found:
        raise NotFound(_("There is no such desktop."))
    return found[0]


def visible_to(user: Any, request_id: UUID) -> Any:
    """One's own wish, or that of a pool one administers or leads."""
    mine = DesktopRequest.objects.filter(user=user)
    return one(mine | of_others(user), request_id)


def of_others(user: Any) -> Any:
    """The wishes in the pools that one administers or leads."""
    seen = Q()
    for action in ("view_inventory", "lead_shifts"):
        seen |= Q(pool__in=access.visible(user, Pool, action))
    return DesktopRequest.objects.filter(seen)


def returnable(user: Any, request_id: UUID) -> Any:
    """A wish that one may return: one's own, or one of a pool that one leads; Denied for those one only sees."""
    wish = visible_to(user, request_id)
    if wish.user_id != user.pk and (wish.pool is None or not access.can(user, "lead_shifts", wish.pool)):
        raise Denied(_("Your roles do not allow you to return desktops of others."))
    return wish


def one(rows: Any, request_id: UUID) -> Any:
    """One of these wishes, with its certificate and what its pool looks like; NotFound if it is not among them."""
    # Joined, for a wish may name a certificate that is not written yet, and that is none.
    wish = readable(rows).select_related("certificate").filter(pk=request_id).first()
    if wish is None:
        raise NotFound(_("There is no such desktop."))
    look_around([wish])
    return wish


def just_asked(wish: Any) -> Any:
    """A wish that was made this moment, as `own` finds it, at a fraction of the cost: storms are made of these.

    It is in line, and nothing else is known of it; what its pool looks like is GLIMPSE_SECONDS old at most.
    """
    wish.ahead = DesktopRequest.objects.filter(pool=wish.pool_id, ticket__lt=wish.ticket, state__in=NOT_READY).count()
    wish.seen = None
    glimpses, key = caches["glimpses"], str(wish.pool_id)
    glimpse = glimpses.get(key)
    if glimpse is None:
        pools = {wish.pool_id: wish.pool}
        attach_counts(pools.values(), None)
        glimpse = wish.pool, _past(pools)
        glimpses.set(key, glimpse, GLIMPSE_SECONDS)
    pool, past = glimpse
    _describe(wish, pool, _grounds({pool.pk: pool}, {wish.pk: (pool.pk, wish.ahead + 1)}, past).get(wish.pk))
    return wish


def look_around(wishes: list[Any]) -> None:
    """Attach to each wish what its pool looks like this moment, and how long it may take: a few queries for all."""
    waiting = [wish for wish in wishes if wish.state in NOT_READY and wish.pool_id is not None]
    places = {wish.pk: (wish.pool_id, wish.ahead + 1) for wish in waiting}
    pools: dict[UUID, Any] = Pool.objects.in_bulk({wish.pool_id for wish in waiting})
    attach_counts(pools.values(), None)
    grounds = outlook(pools, places)
    for wish in wishes:
        _describe(wish, pools.get(wish.pool_id), grounds.get(wish.pk))


def _describe(wish: Any, pool: Any, ground: waits.Ground | None) -> None:
    wish.around = _surroundings(pool) if pool is not None else NOWHERE
    wish.ground = ground or waits.Ground()
    wish.wait = waits.estimate(wish.ahead + 1, wish.ground) if wish.state == RequestState.QUEUED else None


def look_ahead(pools: list[Any], user: Any) -> None:
    """Attach to each pool what its card shows, and how long whoever asks now may wait: a few queries for all."""
    attach_counts(pools, user)
    unready = {pool.pk: pool for pool in pools if pool.queue_length >= pool.ready}
    grounds = outlook(unready, {key: (key, pool.queue_length + 1) for key, pool in unready.items()})
    for pool in pools:
        ground = grounds.get(pool.pk)
        pool.wait = waits.estimate(pool.queue_length + 1, ground) if ground is not None else waits.NONE


def outlook(pools: dict[UUID, Any], places: dict[UUID, tuple[UUID, int]]) -> dict[UUID, waits.Ground]:
    """What is known about when each of these places will be served; `places` are pool and place by any key.

    The pools are counted, and are told how many of their VMs no host could run.
    """
    return _grounds(pools, places, _past(pools)) if pools else {}


def _past(pools: dict[UUID, Any]) -> dict[UUID, dict[str, Any]]:
    """What came back and started lately; the pools are told how many of their VMs no host could run."""
    for key, no_room in unplaced(pools).items():
        pools[key].no_room = no_room
    return recent(pools, timezone.now() - timedelta(seconds=waits.WINDOW_SECONDS))


def _grounds(
    pools: dict[UUID, Any], places: dict[UUID, tuple[UUID, int]], found: dict[UUID, dict[str, Any]]
) -> dict[UUID, waits.Ground]:
    now = timezone.now()
    # VMs that are free, or will be without anybody returning one, and have room on a host.
    coming = {key: max(pool.free - pool.no_room, 0) + pool.resetting for key, pool in pools.items()}
    planned = _planned(pools, {(pool_id, place - coming[pool_id]) for pool_id, place in places.values()})
    grounds = {}
    for key, (pool_id, place) in places.items():
        past = found.get(pool_id, {})
        end = planned.get((pool_id, place - coming[pool_id]))
        grounds[key] = waits.Ground(
            returns=past.get("returns", 0),
            starts=past.get("starts", 0),
            start_mean=_seconds(past.get("start_mean")),
            start_longest=_seconds(past.get("start_longest")),
            clean_longest=_seconds(past.get("clean_longest")),
            coming=coming[pool_id],
            planned=None if end is None else (end - now).total_seconds(),
        )
    return grounds


def _planned(pools: dict[UUID, Any], wanted: set[tuple[UUID, int]]) -> dict[tuple[UUID, int], datetime]:
    """When so many desktops have come back at the latest, in pools that limit the time of every one of them."""
    limited = {key: pool for key, pool in pools.items() if pool.max_session_minutes is not None}
    wanted = {(pool_id, number) for pool_id, number in wanted if pool_id in limited}
    if not wanted:
        return {}
    numbers: dict[UUID, set[int]] = defaultdict(set)
    for pool_id, number in wanted:
        numbers[pool_id].add(number)
    chosen = Q(pk__in=())
    for pool_id, some in numbers.items():
        chosen |= Q(pool=pool_id, number__in=some)
    ready = DesktopRequest.objects.filter(pool__in=limited, state=RequestState.READY)
    numbered = ready.annotate(number=Window(RowNumber(), partition_by=F("pool"), order_by=("ready_at", "pk")))
    ends = {}
    for pool_id, number, ready_at in numbered.filter(chosen).values_list("pool", "number", "ready_at"):
        pool = limited[pool_id]
        # Whoever may put the end off may do so.
        ends[pool_id, number] = ready_at + timedelta(minutes=pool.max_session_minutes + (pool.extension_minutes or 0))
    return ends


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else max(duration.total_seconds(), 0.0)


def _surroundings(pool: Any) -> rules.Surroundings:
    return rules.Surroundings(
        size=pool.size,
        free=pool.free,
        in_use=pool.in_use,
        resetting=pool.resetting,
        creating=pool.creating,
        hosts_up=pool.hosts_up,
        hosts_in_maintenance=pool.hosts_in_maintenance,
        no_room=pool.no_room,
        held=pool.held,
    )


def may_extend(wish: Any) -> bool:
    """Whether its user may put its end off."""
    allowed = wish.pool.extension_minutes if wish.pool is not None else None
    return wish.state == RequestState.READY and deadlines.may_extend(wish.ending, wish.extended, allowed)


def warning(wish: Any) -> str:
    """What its user is warned of this moment; empty while there is no need."""
    if wish.state != RequestState.READY or wish.warned_minutes is None or wish.ends_at is None:
        return ""
    left = max((wish.ends_at - timezone.now()).total_seconds(), 0)
    return deadlines.warning(wish.ending, math.ceil(left / 60))


def calls(wish: Any) -> list[str]:
    """What its user is called for besides: somebody asks for the desktop, or the shift that it is for ends."""
    if wish.state not in LIVE:
        return []
    asked = ""
    if wish.asked_back_at and wish.state == RequestState.READY:
        asked = deadlines.asked_back(wish.asked_back_by)
    attendance = attendance_of(wish)
    now = timezone.now()
    ends = duties.reminder(attendance, now) if attendance is not None else ""
    if ends and now >= attendance.leaves_at and wish.ending == Ending.SHIFT and wish.warned_minutes is not None:
        ends = ""  # the warning says that as well
    return [text for text in (asked, ends) if text]


def attendance_of(wish: Any) -> Any:
    """The shift that a wish is for; null for none."""
    return getattr(wish, "attendance", None)


def people_behind(wish: Any, most: int) -> int:
    """How many asked later and wait as well, up to so many."""
    later = DesktopRequest.objects.filter(pool=wish.pool_id, ticket__gt=wish.ticket)
    return later.unserved()[:most].count()


def served_since(wish: Any) -> int:
    """How many of those who stood in front were served since somebody joined the line."""
    ahead = DesktopRequest.objects.filter(pool=wish.pool_id, ticket__lt=wish.ticket)
    return ahead.filter(ready_at__gte=wish.requested_at).count()


def watchers(wish: Any) -> list[str]:
    """Who looks at a desktop this moment that is not theirs: its user is always shown."""
    if wish.state != RequestState.READY:
        return []
    sessions = ConsoleSession.objects.seen().of_watchers().filter(request=wish.pk).select_related("user")
    return sorted({session.user.display_name for session in sessions})


def why(wish: Any) -> str:
    """Why this desktop was chosen, in a sentence; empty while none is."""
    return allocations.reason(wish.rule, ticket=wish.ticket, vm=wish.vm_name) if wish.rule else ""


def waits_of(wish: Any) -> QuerySet[Allocation]:
    """The matches of its line that left it waiting, the first of them first; at most MOST_WAITS."""
    until = wish.assigned_at or wish.ended_at or timezone.now()
    left = Allocation.objects.filter(pool=wish.pool_id, at__range=(wish.requested_at, until), waiting__gt=0)
    return left.exclude(pk=wish.allocation_id).order_by("at", "pk")[:MOST_WAITS]


def position(wish: Any) -> int | None:
    """The place in line: 1 is next; null for a wish that is not in line."""
    return wish.ahead + 1 if wish.state == RequestState.QUEUED else None


def reason(wish: Any) -> str:
    """Why it is where it is, in the reader's language; of what somebody else returned, who did, and why."""
    returned = wish.end_reason == EndReason.RETURNED or wish.return_asked_at is not None
    if returned and wish.returned_by is not None:
        return _returned_for(wish)
    progress = rules.Progress(
        state=wish.state,
        assigned=wish.vm_id is not None,
        seen_running=wish.seen is not None,
        end_reason=wish.end_reason,
        halted=wish.vm is not None and wish.vm.halted,
        running=wish.vm is not None and wish.vm.ready_at is not None,
        return_asked=wish.return_asked_at is not None,
        revoked=wish.revoked_at is not None,
        ending=wish.ending,
    )
    return rules.reason(progress, wish.around)


def _returned_for(wish: Any) -> str:
    words = {"person": wish.returned_by.display_name, "reason": wish.return_reason}
    if wish.state == RequestState.READY:
        text = _("%(person)s asked for its return; an administrator does that. Until then it stays yours.")
    else:
        text = _("Returned by %(person)s: %(reason)s") if wish.return_reason else _("Returned by %(person)s.")
    return text % words
