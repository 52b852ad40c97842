"""Shift plans: make, change and remove them, their shifts and rosters, and the report of what was."""

from datetime import date, datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Schema, Status
from pydantic import Field

from broker import access
from broker.models import Pool, ShiftPlan
from broker.operations import shift_plans
from broker.rules.shifts import MOST_MINUTES, Pattern, ShiftSpec
from portal import rosters, shift_reports
from portal import shifts as shown
from portal.api import shifts
from portal.api.shapes import Name, Named, require_values, whole
from portal.api.shift_shapes import DutyOut, PlanRef, duty, reference, seconds
from portal.api.values import Body, Change, Given

# A plan is looked at and changed at the same addresses.
router = shifts.router

DAY_WORDS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="by the clock on the wall")]
Window = whole(0, MOST_MINUTES)
AtEnd = Literal["remind", "check_out"]
Names = Annotated[list[shifts.Line], Field(max_length=10_000)]


class ShiftIn(Body):
    """`weekdays` are those on which it begins. One that ends at an earlier time than it starts ends a day later."""

    name: shifts.Line
    weekdays: list[Weekday] = Field(max_length=100)
    starts: Clock
    ends: Clock
    users: Names = []
    groups: Names = []


class ShiftOut(Schema):
    name: str
    weekdays: list[Weekday]
    starts: str
    ends: str
    users: list[str]
    groups: list[str]


class PlanOut(PlanRef):
    early_minutes: int
    grace_minutes: int
    at_end: str
    leads: bool


class PlanIn(Body):
    NEEDED = ("name", "time_zone")

    pool: UUID
    name: Name = ""
    time_zone: Name = Field("", description="by region and city, such as Asia/Seoul")
    early_minutes: Window = Field(15, description="before a shift its people may check in")
    grace_minutes: Window = Field(15, description="until somebody is late, and after the end")
    at_end: AtEnd = "remind"
    shifts: list[ShiftIn] = Field([], max_length=1000)


class PlanPatch(Change):
    name: Name | None = None
    time_zone: Name | None = None
    early_minutes: Window | None = None
    grace_minutes: Window | None = None
    at_end: AtEnd | None = None


class Days(Given):
    """Days of the plan's time zone; without them the last seven."""

    since: date | None = Field(None, description="the first day")
    until: date | None = Field(None, description="the last day, which counts as well")


class DutyReport(DutyOut):
    """The same, once it is over: on which day, and how it ended."""

    day: date
    outcome: str  # in words


class WaitReport(Schema):
    """From checking in until the desktop was ready, in seconds; null where nobody got one."""

    count: int
    median: int | None
    p95: int | None
    longest: int | None
    unserved: int  # who left, or waits still, without a desktop


class HourReport(Schema):
    """Desktops in use in one hour of the day, over all days."""

    hour: int
    mean: float
    most: int


class Happened(Schema):
    at: datetime
    message: str


class ReportOut(Schema):
    plan: Named
    time_zone: str
    since: date
    until: date
    complete: bool  # false where there was too much for one report: take fewer days
    expected: int
    came: int
    late: int
    absent: int
    duties: list[DutyReport]
    waits: WaitReport
    seats: int  # VMs of the pool now
    hours: list[HourReport]
    problems: list[Happened]
    faults: list[Happened]


# -- plans ---------------------------------------------------------------------------------------------


@router.post("/shifts", response={201: PlanOut}, summary="Create a shift plan")
def create_plan(request: HttpRequest, values: PlanIn) -> Any:
    """For a pool whose shifts I lead; with its shifts, or they are put later."""
    pool = _pool(request, values.pool)
    plan = shift_plans.create(
        pool=pool,
        specs=[_spec(one) for one in values.shifts],
        by=request.user,
        **values.model_dump(exclude={"pool", "shifts"}),
    )
    return Status(201, show(request, plan))


@router.patch("/shifts/{uuid:plan_id}", response=PlanOut, summary="Change a shift plan")
def change_plan(request: HttpRequest, plan_id: UUID, values: PlanPatch) -> dict[str, Any]:
    """Shifts that are open keep their times; grace and what is done at the end act at once."""
    plan = shown.led(request.user, plan_id)
    changes = values.model_dump(exclude_unset=True)
    require_values(changes, frozenset())
    shift_plans.change(plan=plan, changes=changes, by=request.user)
    return show(request, shown.get(request.user, plan_id))


@router.delete("/shifts/{uuid:plan_id}", response={204: None}, summary="Remove a shift plan")
def remove_plan(request: HttpRequest, plan_id: UUID) -> Any:
    """With its past. 409 while somebody is checked in."""
    shift_plans.remove(plan=shown.led(request.user, plan_id), by=request.user)
    return Status(204, None)


# -- shifts and rosters ----------------------------------------------------------------------------------


@router.get("/shifts/{uuid:plan_id}/shifts", response=list[ShiftOut], summary="The shifts of a plan, with rosters")
def get_shifts(request: HttpRequest, plan_id: UUID) -> list[dict[str, Any]]:
    """For whoever sees the plan."""
    return [show_shift(spec) for spec in rosters.specs_of(shown.get(request.user, plan_id))]


@router.put("/shifts/{uuid:plan_id}/shifts", response=list[ShiftOut], summary="Put the shifts of a plan")
def put_shifts(request: HttpRequest, plan_id: UUID, wanted: list[ShiftIn]) -> list[dict[str, Any]]:
    """These and no others; a shift of the same name is that shift, changed. All of it, or nothing."""
    plan = shown.led(request.user, plan_id)
    shift_plans.put_shifts(plan=plan, specs=[_spec(one) for one in wanted], by=request.user)
    return [show_shift(spec) for spec in rosters.specs_of(plan)]


# -- what was --------------------------------------------------------------------------------------------


@router.get("/shifts/{uuid:plan_id}/report", response=ReportOut, summary="Report of a shift plan")
def get_report(request: HttpRequest, plan_id: UUID, days: Query[Days]) -> dict[str, Any]:
    """Attendance, waits, desktops in use, problems; for leads, and for who administers the pool."""
    plan = shift_reports.reported(request.user, plan_id)
    report = shift_reports.report(plan, shift_reports.period(plan, days.since, days.until))
    names = ("complete", "expected", "came", "late", "absent", "seats")
    return {name: getattr(report, name) for name in names} | {
        "plan": {"id": plan.pk, "name": plan.name},
        "time_zone": plan.time_zone,
        "since": report.period.since,
        "until": report.period.until,
        "duties": [_duty(one) for one in report.duties],
        "waits": {
            "count": report.waits.count,
            "median": seconds(report.waits.median),
            "p95": seconds(report.waits.p95),
            "longest": seconds(report.waits.longest),
            "unserved": report.waits.unserved,
        },
        "hours": [{"hour": one.hour, "mean": one.mean, "most": one.most} for one in report.hours],
        "problems": [{"at": one.at, "message": one.message} for one in report.problems],
        "faults": [{"at": one.at, "message": one.message} for one in report.faults],
    }


# -- rows as the contract writes them --------------------------------------------------------------------


def _pool(request: HttpRequest, pool_id: UUID) -> Pool:
    """A pool that one leads; NotFound for one that one does not see, Denied for one that one only sees."""
    user = request.user
    if access.visible(user, Pool, "lead_shifts").filter(pk=pool_id).exists():
        return Pool.objects.get(pk=pool_id)
    seen = access.visible(user, Pool, "use_pool").filter(pk=pool_id).exists()
    return access.get(user, Pool, pool_id, see="use_pool" if seen else "view_inventory", action="lead_shifts")


def _spec(shift: ShiftIn) -> ShiftSpec:
    return ShiftSpec(
        name=shift.name,
        pattern=Pattern(
            tuple(sorted({DAY_WORDS.index(word) for word in shift.weekdays})),
            time.fromisoformat(shift.starts),
            time.fromisoformat(shift.ends),
        ),
        users=tuple(dict.fromkeys(shift.users)),
        groups=tuple(dict.fromkeys(shift.groups)),
    )


def show(request: HttpRequest, plan: ShiftPlan) -> dict[str, Any]:
    """A plan as the contract writes it."""
    return {
        **reference(plan),
        "early_minutes": plan.early_minutes,
        "grace_minutes": plan.grace_minutes,
        "at_end": plan.at_end,
        "leads": shown.leads(request.user, plan),
    }


def show_shift(spec: ShiftSpec) -> dict[str, Any]:
    """A shift with its roster, as it can be put again."""
    return {
        "name": spec.name,
        "weekdays": [DAY_WORDS[day] for day in spec.pattern.weekdays],
        "starts": f"{spec.pattern.starts:%H:%M}",
        "ends": f"{spec.pattern.ends:%H:%M}",
        "users": list(spec.users),
        "groups": list(spec.groups),
    }


def _duty(one: shift_reports.DutyLine) -> dict[str, Any]:
    return {**duty(one), "day": one.occurrence.day, "outcome": one.outcome}
