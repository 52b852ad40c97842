"""Wishes as pages, API and live updates read them: one query with place, VM, host and surroundings."""

from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from broker import access
from broker.errors import Denied, NotFound
from broker.models import DesktopRequest, Pool, with_counts
from broker.rules import desktops as rules
from broker.states import RequestState

NOWHERE = rules.Surroundings(size=0, free=0, in_use=0, resetting=0, creating=0, hosts_up=0)


def readable(rows: Any) -> QuerySet[Any]:
    """Everything that describing a wish needs, whatever their number."""
    return rows.with_place().select_related("pool", "user", "vm__host").annotate(seen=F("vm__run_started_at"))


def own(user: Any, request_id: UUID) -> Any:
    """A wish of this user; NotFound for those of others, as if there were none (I6)."""
    return _one(readable(DesktopRequest.objects.filter(user=user)), request_id)


def visible_to(user: Any, request_id: UUID) -> Any:
    """One's own wish, or that of a pool one administers or leads."""
    mine = DesktopRequest.objects.filter(user=user)
    return _one(readable(mine | of_others(user)), request_id)


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


def _one(rows: Any, request_id: UUID) -> Any:
    wish = rows.filter(pk=request_id).first()
    if wish is None:
        raise NotFound(_("There is no such desktop."))
    look_around([wish])
    return wish


def look_around(wishes: list[Any]) -> None:
    """Attach to each wish what its pool looks like this moment: one query for all of them."""
    waiting = {wish.pool_id for wish in wishes if wish.state == RequestState.QUEUED}
    pools = with_counts(Pool.objects.filter(pk__in=waiting), None) if waiting else ()
    around = {pool.pk: _surroundings(pool) for pool in pools}
    for wish in wishes:
        wish.around = around.get(wish.pool_id, NOWHERE)


def _surroundings(pool: Any) -> rules.Surroundings:
    return rules.Surroundings(
        size=pool.size,
        free=pool.free,
        in_use=pool.in_use,
        resetting=pool.resetting,
        creating=pool.creating,
        hosts_up=pool.hosts_up,
    )


def position(wish: Any) -> int | None:
    """The place in line: 1 is next; null for a wish that is not in line."""
    return wish.ahead + 1 if wish.state == RequestState.QUEUED else None


def reason(wish: Any) -> str:
    """Why it is where it is, in the reader's language."""
    progress = rules.Progress(
        state=wish.state,
        assigned=wish.vm_id is not None,
        seen_running=wish.seen is not None,
        end_reason=wish.end_reason,
        halted=wish.vm is not None and wish.vm.halted,
        running=wish.vm is not None and wish.vm.ready_at is not None,
        return_asked=wish.return_asked_at is not None,
        revoked=wish.revoked_at is not None,
    )
    return rules.reason(progress, wish.around)
