"""Shift plans as pages, API and live updates read them: who may see which, and the board in a few queries."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Prefetch, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import access
from broker.errors import NotFound
from broker.models import (
    DesktopRequest,
    Event,
    HandoverPoint,
    Pool,
    ShiftAttendance,
    ShiftDuty,
    ShiftHandover,
    ShiftMember,
    ShiftOccurrence,
    ShiftPlan,
    VirtualMachine,
)
from broker.operations import rosters
from broker.rules import shifts as rules
from broker.states import HOLDING, HostStatus, RequestState, RunMode
from portal import duties

MOST_SEATS = 500
MOST_LINE = 200
MOST_HANDOVERS = 20
MOST_PROBLEMS = 20
RECENT = timedelta(hours=24)


# -- who sees what -------------------------------------------------------------------------------------


def visible(user: Any) -> Any:
    """The plans of one's own rosters, and those of the pools that one leads or administers.

    Whoever was taken off a roster sees the plan until they have checked out.
    """
    if not user.is_active:
        return ShiftPlan.objects.none()
    mine = ShiftPlan.objects.with_member(user)
    there = ShiftAttendance.objects.filter(user=user).present()
    seen = Q(pk__in=mine.values("pk")) | Q(pk__in=there.values("plan"))
    for action in ("lead_shifts", "view_inventory"):
        seen |= Q(pool__in=access.visible(user, Pool, action))
    return ShiftPlan.objects.filter(seen).select_related("pool__cluster__data_center")


def get(user: Any, plan_id: UUID) -> ShiftPlan:
    """A plan; NotFound, as if there were none, for whoever may not see it (I6)."""
    plan = visible(user).filter(pk=plan_id).first()
    if plan is None:
        raise NotFound(_("There is no such shift plan."))
    return plan


def leads(user: Any, plan: ShiftPlan) -> bool:
    """Whether somebody may act on others, and change the plan."""
    return access.can(user, "lead_shifts", plan.pool)


def led(user: Any, plan_id: UUID) -> ShiftPlan:
    """A plan that one leads; NotFound for those one does not see, Denied for those one only sees."""
    plan = get(user, plan_id)
    if not leads(user, plan):
        text = _("You see %(name)s but your roles do not allow this.")
        raise access.denied(user, "lead_shifts", plan.pool, text % {"name": plan})
    return plan


def is_concerned(user: Any, held: frozenset[str]) -> bool:
    """Whether somebody leads shifts or works in them; `held` is what they may do anywhere, for every page asks.

    Who only administers finds the plans of a pool at that pool.
    """
    if "lead_shifts" in held:
        return True
    there = ShiftAttendance.objects.filter(user=user).present()
    works = Exists(ShiftMember.objects.naming(user)) | Exists(there)
    return get_user_model()._default_manager.filter(works, pk=user.pk).exists()


# -- the board -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeatRow:
    """One VM of the pool. `wish` is what it serves, `attendance` the shift that is for; null for none."""

    vm: VirtualMachine
    state: rules.Seat
    wish: Any
    attendance: Any

    @property
    def since(self) -> datetime | None:
        return (self.wish.ready_at or self.wish.assigned_at) if self.wish else None

    @property
    def is_taken(self) -> bool:
        """Whether somebody has it, or is about to."""
        return self.wish is not None and self.state in (rules.Seat.IN_USE, rules.Seat.STARTING)


@dataclass(frozen=True)
class DutyRow:
    """Somebody who is expected in a shift, and what is known of it. `attendance` is the last one, null for none."""

    occurrence: ShiftOccurrence
    user: Any
    expected_at: datetime
    record: rules.Record
    attendance: Any


@dataclass(frozen=True)
class Coming:
    """The shift that begins next, and who is on its roster."""

    name: str
    starts_at: datetime
    ends_at: datetime
    people: list[Any]


@dataclass(frozen=True)
class Board:
    """Everything that the board of a plan shows. `mine` is one's own attendance while one is there."""

    plan: ShiftPlan
    now: datetime
    leads: bool
    seats: list[SeatRow]
    line: list[Any]
    running: list[ShiftOccurrence]
    duties: list[DutyRow]
    present: list[Any]
    coming: Coming | None
    handovers: list[Any]
    problems: list[Event]
    mine: Any
    may_check_in: bool
    opens_at: datetime | None

    @property
    def in_use(self) -> int:
        return sum(seat.is_taken for seat in self.seats)

    @property
    def late(self) -> list[DutyRow]:
        """Who came late to a shift that runs."""
        return [row for row in self.duties if row.record.late]

    @property
    def absent(self) -> list[DutyRow]:
        """Who was expected and has not come, though the grace is over."""
        return [row for row in self.duties if row.record.absent]

    @property
    def overtime(self) -> list[Any]:
        """Who is there although the shift is over."""
        return [one for one in self.present if one.until <= self.now]

    @property
    def stays(self) -> list[Any]:
        """Who asked to stay longer and waits for an answer."""
        return [one for one in self.present if one.stay_asked_at is not None]


def board(user: Any, plan: ShiftPlan) -> Board:
    """The board as this user sees it: a number of queries that does not grow with pool, line or roster."""
    now = timezone.now()
    may_lead = leads(user, plan)
    present = list(
        ShiftAttendance.objects.filter(plan=plan, request__pool=plan.pool_id)
        .present()
        .select_related("user", "request__vm", "occurrence")
        .order_by("came_at", "pk")
    )
    by_wish = {one.request_id: one for one in present}
    running = list(plan.occurrences.open_at(now).order_by("starts_at", "name", "pk"))
    mine = next((one for one in present if one.user_id == user.pk), None)
    own = duties.mine(user).get(plan.pk)
    return Board(
        plan=plan,
        now=now,
        leads=may_lead,
        seats=_seats(plan, by_wish),
        line=_line(plan, by_wish),
        running=running,
        duties=_duties(plan, running, now),
        present=present,
        coming=_coming(plan, now),
        handovers=handovers(plan, now),
        problems=_problems(plan, now) if may_lead else [],
        mine=mine,
        may_check_in=own is not None and own.may_check_in,
        opens_at=own.opens_at if own is not None and mine is None and own.duty is None else None,
    )


def _seats(plan: ShiftPlan, by_wish: dict[UUID, Any]) -> list[SeatRow]:
    holding = DesktopRequest.objects.filter(state__in=HOLDING).select_related("user")
    members = VirtualMachine.objects.filter(pool=plan.pool_id).staying().select_related("host")
    members = members.prefetch_related(Prefetch("requests", holding, to_attr="serves"))
    rows = []
    for vm in members.order_by("number", "name", "pk")[:MOST_SEATS]:
        wish = vm.serves[0] if vm.serves else None
        state = rules.seat(
            held_by=wish.state if wish else None,
            hold=vm.hold,
            fault=vm.fault,
            clean=vm.is_clean,
            warm=vm.run_mode == RunMode.STATELESS and vm.host is not None and vm.host.status == HostStatus.UP,
            ready=vm.ready_at is not None,
        )
        rows.append(SeatRow(vm, state, wish, by_wish.get(wish.pk) if wish else None))
    return rows


def _line(plan: ShiftPlan, by_wish: dict[UUID, Any]) -> list[Any]:
    """Who waits, in order; each with `place` and `attendance`."""
    waiting = DesktopRequest.objects.filter(pool=plan.pool_id).unserved().in_order().select_related("user")
    rows: list[Any] = list(waiting[:MOST_LINE])
    for place, wish in enumerate(rows, start=1):
        wish.place, wish.attendance_here = place, by_wish.get(wish.pk)
    return rows


def _duties(plan: ShiftPlan, occurrences: list[ShiftOccurrence], now: datetime) -> list[DutyRow]:
    if not occurrences:
        return []
    earliest = min(one.opens_at for one in occurrences)
    attendances = ShiftAttendance.objects.filter(plan=plan).select_related("request")
    there = attendances.filter(Q(request__ended_at=None) | Q(request__ended_at__gte=earliest))
    by_user: dict[Any, list[Any]] = defaultdict(list)
    for one in there.order_by("came_at", "pk"):
        by_user[one.user_id].append(one)
    duties = ShiftDuty.objects.filter(occurrence__in=occurrences).select_related("occurrence", "user")
    expected = list(duties.order_by("occurrence__starts_at", "occurrence__name", "user__username", "pk"))
    rows = []
    for duty, record in records(expected, by_user, now):
        found = by_user[duty.user_id]
        rows.append(DutyRow(duty.occurrence, duty.user, duty.expected_at, record, found[-1] if found else None))
    return rows


def records(
    duties: list[ShiftDuty], there: Mapping[Any, list[ShiftAttendance]], now: datetime
) -> Iterator[tuple[ShiftDuty, rules.Record]]:
    """What became of each duty, by when its person was there; the same for board and report."""
    spans: dict[Any, list[rules.Span]] = defaultdict(list)
    for duty in duties:
        spans[duty.user_id].append(rules.span_of(duty.occurrence))
    for duty in duties:
        occurrence = duty.occurrence
        yield (
            duty,
            rules.record(
                rules.Span(duty.expected_at, occurrence.ends_at),
                [_stay(one) for one in there.get(duty.user_id, ())],
                grace=occurrence.grace,
                now=now,
                duties=spans[duty.user_id],
            ),
        )


def _stay(attendance: ShiftAttendance) -> rules.Stay:
    return rules.Stay(attendance.came_at, attendance.left_at, attendance.request.ready_at)


def _coming(plan: ShiftPlan, now: datetime) -> Coming | None:
    found = []
    for shift in plan.shifts.all():
        start = rules.next_start([rules.pattern_of(shift)], plan.time_zone, now)
        if start is not None:
            found.append((start, shift.name, shift))
    if not found:
        return None
    start, name, shift = min(found, key=lambda one: one[:2])
    _day, span = rules.between(rules.pattern_of(shift), plan.time_zone, start, start + timedelta(seconds=1))[0]
    people = rosters.people_of(shift).order_by("username", "pk")[:MOST_LINE]
    return Coming(name, span.start, span.end, list(people))


def handovers(plan: ShiftPlan, now: datetime) -> list[Any]:
    """What was handed over lately, or still has open points, the newest first."""
    open_points = HandoverPoint.objects.filter(handover=OuterRef("pk"), settled_at=None)
    wanted = Q(at__gte=now - RECENT) | Q(confirmed_at=None) | Exists(open_points)
    rows = ShiftHandover.objects.filter(wanted, plan=plan).select_related("author", "confirmed_by")
    return list(rows.prefetch_related("points__settled_by").order_by("-at", "pk")[:MOST_HANDOVERS])


def _problems(plan: ShiftPlan, now: datetime) -> list[Event]:
    """What users of the pool reported lately."""
    rows = Event.objects.filter(pool_id=plan.pool_id, kind="desktop.problem", at__gte=now - RECENT)
    return list(rows.order_by("-at", "pk")[:MOST_PROBLEMS])


def wish_of(plan: ShiftPlan, request_id: UUID) -> DesktopRequest:
    """A desktop, or a place in line, of the plan's pool; NotFound for all others."""
    rows = DesktopRequest.objects.filter(pool=plan.pool_id).exclude(state=RequestState.ENDED)
    wish = rows.select_related("user", "pool", "vm").filter(pk=request_id).first()
    if wish is None:
        raise NotFound(_("There is no such desktop."))
    return wish
