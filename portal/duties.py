"""Shifts as one person meets them: where to check in, where one is checked in, and what one was told of the end."""

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef
from django.utils import timezone

from broker import access
from broker.models import Pool, Shift, ShiftAttendance, ShiftDuty, ShiftMember, ShiftOccurrence, ShiftPlan
from broker.rules import shifts as rules
from broker.rules.shifts import Span
from broker.states import AtShiftEnd


@dataclass(frozen=True)
class Duty:
    """A shift of one's own that is open now, or will be."""

    plan: ShiftPlan
    name: str
    opens_at: datetime
    span: Span


@dataclass(frozen=True)
class Mine:
    """What a plan is to somebody. `attendance` is null while one is not there, `duty` while none of one's is open."""

    plan: ShiftPlan
    attendance: ShiftAttendance | None
    duty: Duty | None
    opens_at: datetime | None
    may_check_in: bool

    @property
    def concerns_now(self) -> bool:
        return self.attendance is not None or self.may_check_in


def mine(user: Any) -> dict[UUID, Mine]:
    """The plans on whose rosters one is, or where one is checked in: five queries, however many there are.

    One for whoever works in no shift: most people do not, and pages ask often.
    """
    now = timezone.now()
    if not _concern(user, now):
        return {}
    rows = ShiftAttendance.objects.filter(user=user).present().order_by("came_at", "pk")
    there = {one.plan_id: one for one in rows.select_related("plan__pool", "occurrence", "request__vm")}
    duties: dict[UUID, list[Duty]] = defaultdict(list)
    for duty in _duties(user, now):
        duties[duty.plan.pk].append(duty)
    plans = {duty.plan.pk: duty.plan for found in duties.values() for duty in found}
    plans |= {one.plan_id: one.plan for one in there.values()}
    if not plans:
        return {}
    usable = access.visible(user, Pool, "use_pool").filter(pk__in={plan.pool_id for plan in plans.values()})
    pools = set(usable.values_list("pk", flat=True))
    return {
        key: _mine(plan, there.get(key), duties[key], now, usable=plan.pool_id in pools)
        for key, plan in plans.items()
    }


def _concern(user: Any, now: datetime) -> bool:
    there = ShiftAttendance.objects.filter(user=user).present()
    expected = ShiftDuty.objects.filter(user=user, occurrence__ends_at__gt=now)
    ways = Exists(ShiftMember.objects.naming(user)) | Exists(there) | Exists(expected)
    return get_user_model()._default_manager.filter(ways, pk=user.pk).exists()


def _mine(
    plan: ShiftPlan, attendance: ShiftAttendance | None, duties: list[Duty], now: datetime, *, usable: bool
) -> Mine:
    opened = [duty for duty in duties if duty.opens_at <= now < duty.span.end]
    # The same order as checking in chooses by (operations.rosters).
    duty = min(opened, key=lambda one: (one.span.start > now, one.span.end, one.name), default=None)
    opens_at = min((one.opens_at for one in duties if one.opens_at > now), default=None)
    return Mine(plan, attendance, duty, opens_at, attendance is None and duty is not None and usable)


def _duties(user: Any, now: datetime) -> list[Duty]:
    """What was written down of shifts that are open, and of each shift of a roster when it is open next."""
    written = ShiftOccurrence.objects.filter(duties__user=user, ends_at__gt=now).select_related("plan__pool")
    found, known = [], set()
    for one in written:
        found.append(Duty(one.plan, one.name, one.opens_at, rules.span_of(one)))
        known.add((one.shift_id, one.day))
    on_roster = Exists(ShiftMember.objects.naming(user).filter(shift=OuterRef("pk")))
    for shift in Shift.objects.filter(on_roster).select_related("plan__pool"):
        plan, pattern = shift.plan, rules.pattern_of(shift)
        coming = rules.next_start([pattern], plan.time_zone, now + plan.early) or now
        for day, span in rules.between(pattern, plan.time_zone, now, coming + timedelta(seconds=1)):
            if (shift.pk, day) not in known:
                found.append(Duty(plan, shift.name, span.start - plan.early, span))
    return found


def is_member(user: Any, plan: ShiftPlan) -> bool:
    """Whether somebody is on the roster of a plan, or is there all the same."""
    there = ShiftAttendance.objects.filter(plan=plan, user=user).present()
    return there.exists() or ShiftPlan.objects.with_member(user).filter(pk=plan.pk).exists()


def reminder(attendance: ShiftAttendance, now: datetime) -> str:
    """What somebody who is there was told last of the end of the shift; empty while there was no need."""
    if attendance.reminded_minutes is None:
        return ""
    ends, leaves = attendance.leaves_at, attendance.plan.at_end == AtShiftEnd.CHECK_OUT
    if now >= ends:
        return rules.reminder(0, leaves=leaves)
    # Whoever came shortly before the end had no more time than that.
    had = math.ceil((ends - attendance.came_at).total_seconds() / 60)
    return rules.reminder(min(attendance.reminded_minutes, had), leaves=leaves)
