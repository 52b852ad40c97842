"""Rosters: who is to come to which shift, and the shifts that take place as rows."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _

from broker.errors import Invalid
from broker.models import Shift, ShiftAttendance, ShiftDuty, ShiftMember, ShiftOccurrence, ShiftPlan
from broker.rules import shifts as rules
from broker.rules.shifts import ShiftSpec, Span

AHEAD = timedelta(hours=36)  # in which a shift that meets the present one begins
MOST_NAMED = 10


def people_of(shift: Shift) -> Any:
    """Everybody on the roster of a shift who can sign in, by the own name or through a group."""
    members = ShiftMember.objects.filter(shift=shift)
    groups = members.filter(group__isnull=False).values("group")
    own = members.filter(user__isnull=False).values("user")
    in_groups = Group.user_set.through.objects.filter(group__in=groups).values("user")
    people = get_user_model()._default_manager
    return people.filter(Q(pk__in=own) | Q(pk__in=in_groups), is_active=True)


def open_shifts(plan: ShiftPlan, now: datetime) -> list[ShiftOccurrence]:
    """The shifts to which one may check in now; those that begin to be open are written down with their people.

    The line of the pool is locked, so nobody edits the plan meanwhile.
    """
    found = list(ShiftOccurrence.objects.filter(plan=plan).open_at(now))
    return found + [_open(plan, shift, day, span, now) for shift, day, span in unwritten(plan, now)]


def unwritten(plan: ShiftPlan, now: datetime) -> list[tuple[Shift, date, Span]]:
    """What begins to be open and is not written down yet; a shift that runs is not opened again by an edit."""
    running = ShiftOccurrence.objects.filter(plan=plan, ends_at__gt=now).values_list("shift", "day")
    known, found = set(running), []
    for shift in plan.shifts.all():
        for day, span in rules.between(rules.pattern_of(shift), plan.time_zone, now, now + plan.early + timedelta(1)):
            if span.start - plan.early <= now < span.end and (shift.pk, day) not in known:
                found.append((shift, day, span))
    return found


def _open(plan: ShiftPlan, shift: Shift, day: date, span: Span, now: datetime) -> ShiftOccurrence:
    occurrence = ShiftOccurrence.objects.create(
        plan=plan,
        shift=shift,
        name=shift.name,
        day=day,
        opens_at=span.start - plan.early,
        starts_at=span.start,
        ends_at=span.end,
        grace_minutes=plan.grace_minutes,
    )
    expect(occurrence, people_of(shift), now)
    return occurrence


def expect(occurrence: ShiftOccurrence, people: Iterable[Any], now: datetime) -> None:
    """Write that these people are to come; whoever is expected already stays so."""
    at = max(occurrence.starts_at, now)
    duties = [ShiftDuty(occurrence=occurrence, user=person, expected_at=at) for person in people]
    ShiftDuty.objects.bulk_create(duties, ignore_conflicts=True)


def roster_changed(shift: Shift, now: datetime) -> None:
    """The roster acts at once on what runs: whoever is new is expected, whoever is off it and did not come is not."""
    people = list(people_of(shift))
    for occurrence in ShiftOccurrence.objects.filter(shift=shift, ends_at__gt=now):
        expect(occurrence, people, now)
        there = ShiftAttendance.objects.filter(plan=occurrence.plan_id, user=OuterRef("user"))
        came = Exists(there.filter(occurrence=occurrence)) | Exists(there.present())
        occurrence.duties.exclude(user__in=people).exclude(came).delete()


def open_for(plan: ShiftPlan, user: Any, now: datetime) -> ShiftOccurrence | None:
    """The shift to which this user may check in now: one that runs before one that is early, the first of each.

    Whoever came to a group of the roster meanwhile is expected from now on.
    """
    opened = open_shifts(plan, now)
    mine = set(ShiftDuty.objects.filter(occurrence__in=opened, user=user).values_list("occurrence", flat=True))
    on_roster = set(_shifts_of(plan, user).values_list("pk", flat=True))
    for occurrence in opened:
        if occurrence.pk not in mine and occurrence.shift_id in on_roster:
            expect(occurrence, [user], now)
            mine.add(occurrence.pk)
    meant = [one for one in opened if one.pk in mine]
    return min(meant, key=lambda one: (one.starts_at > now, one.ends_at, one.name), default=None)


def next_for(plan: ShiftPlan, user: Any, now: datetime) -> datetime | None:
    """When this user's next shift opens for checking in; null when none does within two weeks."""
    patterns = [rules.pattern_of(shift) for shift in _shifts_of(plan, user)]
    start = rules.next_start(patterns, plan.time_zone, now + plan.early)
    return None if start is None else start - plan.early


def duties_of(plan: ShiftPlan, user: Any, now: datetime) -> list[Span]:
    """When this user is on duty from about now on: what was written down, and what the roster says of the rest."""
    written = ShiftOccurrence.objects.filter(plan=plan, duties__user=user, ends_at__gt=now - AHEAD)
    spans, known = [], set()
    for occurrence in written:
        spans.append(rules.span_of(occurrence))
        if occurrence.ends_at > now:  # one that is over may take place again, when it was moved
            known.add((occurrence.shift_id, occurrence.day))
    for shift in _shifts_of(plan, user):
        for day, span in rules.between(rules.pattern_of(shift), plan.time_zone, now, now + AHEAD):
            if (shift.pk, day) not in known:
                spans.append(span)
    return spans


def _shifts_of(plan: ShiftPlan, user: Any) -> Any:
    return plan.shifts.filter(Exists(ShiftMember.objects.naming(user).filter(shift=OuterRef("pk"))))


def put(shift: Shift, spec: ShiftSpec) -> None:
    """Make the roster of a shift hold these people and groups, and nobody else; Invalid names those there are not."""
    members = ShiftMember.objects.filter(shift=shift)
    # Somebody who was disabled since may stay on a roster; nobody who is disabled comes to one.
    usable = Q(is_active=True) | Q(pk__in=members.filter(user__isnull=False).values("user"))
    users = _named(get_user_model()._default_manager.filter(usable), "username", spec.users)
    groups = _named(Group.objects.all(), "name", spec.groups)
    problems = []
    unknown = sorted({*spec.users} - {user.get_username() for user in users})
    if unknown:
        problems.append(("users", _("There is no user %(names)s.") % {"names": _listed(unknown)}))
    unknown = sorted({*spec.groups} - {group.name for group in groups})
    if unknown:
        problems.append(("groups", _("There is no group %(names)s.") % {"names": _listed(unknown)}))
    if problems:
        raise Invalid.fields(problems)
    members.exclude(user__in=users).exclude(group__in=groups).delete()
    known = set(members.values_list("user", "group"))
    new = [ShiftMember(shift=shift, user=user) for user in users if (user.pk, None) not in known]
    new += [ShiftMember(shift=shift, group=group) for group in groups if (None, group.pk) not in known]
    ShiftMember.objects.bulk_create(new)


def _named(rows: Any, field: str, names: Iterable[str]) -> list[Any]:
    return list(rows.filter(**{f"{field}__in": list(names)}))


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown}, …"
