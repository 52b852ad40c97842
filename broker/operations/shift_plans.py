"""Shift plans: made, changed, removed; their shifts one by one, or all at once as a file says."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from broker import live, locks
from broker.errors import Conflict, Invalid
from broker.models import Pool, Shift, ShiftAttendance, ShiftPlan
from broker.operations import edits, rosters, shifts
from broker.rules import shifts as rules
from broker.rules.shifts import ShiftSpec
from broker.states import AtShiftEnd, PoolType

SHIFT_FIELDS = ("name", "weekdays", "starts", "ends")
PLAN_FIELDS = ("name", "time_zone", "early_minutes", "grace_minutes", "at_end")


@transaction.atomic
def create(
    *,
    pool: Pool,
    name: str,
    time_zone: str,
    early_minutes: int = 15,
    grace_minutes: int = 15,
    at_end: str = AtShiftEnd.REMIND,
    specs: Sequence[ShiftSpec] = (),
    by: Any = None,
) -> ShiftPlan:
    """A plan for a pool, with these shifts. Invalid lists all that is wrong; Conflict when the name is taken."""
    _require_few(len(specs))
    locks.line(pool.pk)
    plan = ShiftPlan(
        pool=pool,
        name=name.strip(),
        time_zone=time_zone.strip(),
        early_minutes=early_minutes,
        grace_minutes=grace_minutes,
        at_end=at_end,
    )
    _check(plan)
    plan.save(force_insert=True)
    _put_all(plan, specs, {})
    edits.record("created", plan, by=by, pool=pool)
    if specs:
        _changed(plan)
    return plan


@transaction.atomic
def change(
    *, plan: ShiftPlan, changes: dict[str, Any], expected: dict[str, Any] | None = None, by: Any = None
) -> None:
    """Change a plan; shifts that are open keep their times, grace and what is done at the end act at once."""
    locks.line(plan.pool_id)
    plan = edits.lock(plan)
    given = {name: value.strip() if isinstance(value, str) else value for name, value in changes.items()}
    wanted = ShiftPlan(pk=plan.pk, pool=plan.pool, **{name: getattr(plan, name) for name in PLAN_FIELDS} | given)
    edits.require_unchanged({name: getattr(plan, name) for name in expected or {}}, expected)
    _check(wanted)
    changed = edits.apply(plan, given, expected=None)
    if changed:
        edits.record("changed", plan, by=by, pool=plan.pool, fields=", ".join(changed))
        shifts.plan_changed(plan)


def _check(plan: ShiftPlan) -> None:
    names = ("name", "time_zone", "early_minutes", "grace_minutes")
    problems = rules.plan_problems(**{name: getattr(plan, name) for name in names})
    if plan.at_end not in AtShiftEnd.values:
        text = _("Choose one of: %(choices)s.")
        problems.append(("at_end", text % {"choices": ", ".join(AtShiftEnd.values)}))
    elif plan.at_end == AtShiftEnd.CHECK_OUT and plan.pool.type == PoolType.MANUAL:
        text = _("In a manual pool an administrator returns the desktops: there people can only be reminded.")
        problems.append(("at_end", text))
    if problems:
        raise Invalid.fields(problems)
    others = ShiftPlan.objects.filter(pool=plan.pool_id, name=plan.name).exclude(pk=plan.pk)
    if others.exists():
        text = _("The pool %(pool)s has a shift plan named %(name)s already.")
        raise Conflict(text % {"pool": plan.pool, "name": plan.name}, field="name", code="NAME_TAKEN")


@transaction.atomic
def remove(*, plan: ShiftPlan, by: Any = None) -> None:
    """Remove a plan with its shifts and its past; Conflict while somebody is checked in to one of them."""
    locks.line(plan.pool_id)
    there = ShiftAttendance.objects.filter(plan=plan).present().count()
    if there:
        text = ngettext(
            "%(count)s person is checked in to this plan. Remove it when they have checked out.",
            "%(count)s people are checked in to this plan. Remove it when they have checked out.",
            there,
        )
        raise Conflict(text % {"count": there}, code="IN_USE")
    edits.record("removed", plan, by=by, pool=plan.pool)
    live.shifts_changed(plan.pk)
    plan.delete()


# -- shifts --------------------------------------------------------------------------------------------


@transaction.atomic
def add_shift(*, plan: ShiftPlan, spec: ShiftSpec, by: Any = None) -> Shift:
    """One more shift, with its roster. Invalid lists everything that is wrong; Conflict when its name is taken."""
    locks.line(plan.pool_id)
    _require_few(plan.shifts.count() + 1)
    shift = _put(plan, Shift(plan=plan), spec)
    edits.record("created", shift, by=by, pool=plan.pool)
    _changed(plan)
    return shift


@transaction.atomic
def change_shift(*, shift: Shift, spec: ShiftSpec, by: Any = None) -> None:
    """Change a shift: its times from the next one on that opens, its roster at once."""
    plan = shift.plan
    locks.line(plan.pool_id)
    shift = edits.lock(shift)
    before = _facts(shift)
    after = _facts(_put(plan, shift, spec))
    changed = [name for name, value in after.items() if value != before[name]]
    if changed:
        edits.record("changed", shift, by=by, pool=plan.pool, fields=", ".join(changed))
    _changed(plan)


def _facts(shift: Shift) -> dict[str, Any]:
    """What of a shift can be changed, by the words of the record."""
    roster = set(shift.members.values_list("user", "group"))
    return {**{name: getattr(shift, name) for name in SHIFT_FIELDS}, "roster": roster}


@transaction.atomic
def remove_shift(*, shift: Shift, by: Any = None) -> None:
    """Remove a shift; one that is open goes on to its end."""
    plan = shift.plan
    locks.line(plan.pool_id)
    edits.record("removed", shift, by=by, pool=plan.pool)
    shift.delete()
    _changed(plan)


@transaction.atomic
def put_shifts(*, plan: ShiftPlan, specs: Sequence[ShiftSpec], time_zone: str | None = None, by: Any = None) -> None:
    """Make the plan hold these shifts and no others; a shift of the same name is that shift, changed.

    One of another name at the times of one that goes is that one, renamed: what of it runs is not begun again.
    Invalid lists what is wrong with each, by its name; then nothing is changed.
    """
    _require_few(len(specs))
    locks.line(plan.pool_id)
    plan = edits.lock(plan)
    if time_zone is not None and time_zone != plan.time_zone:
        change(plan=plan, changes={"time_zone": time_zone}, by=by)
        plan.time_zone = time_zone
    present = {shift.name: shift for shift in plan.shifts.all()}
    names = {spec.name.strip() for spec in specs}
    going = [shift for name, shift in present.items() if name not in names]
    for spec in specs:
        if spec.name.strip() in present:
            continue
        renamed = next((shift for shift in going if rules.pattern_of(shift) == spec.pattern), None)
        if renamed is not None:
            going.remove(renamed)
            present[spec.name.strip()] = renamed
    for shift in going:
        edits.record("removed", shift, by=by, pool=plan.pool)
        shift.delete()
    _put_all(plan, specs, present)
    edits.record("changed", plan, by=by, pool=plan.pool, fields="shifts")
    _changed(plan)


def _put_all(plan: ShiftPlan, specs: Sequence[ShiftSpec], present: dict[str, Shift]) -> None:
    names = [spec.name.strip() for spec in specs]
    problems = [
        ("shifts", _("There are two shifts named %(name)s.") % {"name": name})
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    for spec in specs:
        try:
            _put(plan, present.get(spec.name.strip()) or Shift(plan=plan), spec)
        except (Invalid, Conflict) as refusal:
            problems += [("shifts", f"{spec.name}: {detail['message']}") for detail in refusal.details]
    if problems:
        raise Invalid.fields(problems)


def _require_few(count: int) -> None:
    if count > rules.MOST_SHIFTS:
        text = _("A plan has at most %(most)s shifts.")
        raise Invalid(text % {"most": rules.MOST_SHIFTS}, field="shifts")


def _put(plan: ShiftPlan, shift: Shift, spec: ShiftSpec) -> Shift:
    name, pattern = spec.name.strip(), spec.pattern
    problems = rules.shift_problems(name, pattern)
    if problems:
        raise Invalid.fields(problems)
    if plan.shifts.filter(name=name).exclude(pk=shift.pk).exists():
        text = _("This plan has a shift named %(name)s already.")
        raise Conflict(text % {"name": name}, field="name", code="NAME_TAKEN")
    shift.name, shift.starts, shift.ends = name, pattern.starts, pattern.ends
    shift.weekdays = sorted(set(pattern.weekdays))
    shift.save()
    rosters.put(shift, spec)
    rosters.roster_changed(shift, timezone.now())
    return shift


def _changed(plan: ShiftPlan) -> None:
    plan = ShiftPlan.objects.select_related("pool").get(pk=plan.pk)
    shifts.plan_changed(plan)
