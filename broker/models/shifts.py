"""Shifts of a help desk: the plan, who is expected when, who is there, and what is handed over."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from broker.models.base import Row
from broker.models.desktops import DesktopRequest
from broker.models.pools import Pool
from broker.states import LIVE, AtShiftEnd


class ShiftPlanQuerySet(models.QuerySet["ShiftPlan"]):
    """Sentences about plans."""

    def with_member(self, user: Any) -> "ShiftPlanQuerySet":
        """Those on one of whose rosters the user is, by the own name or through a group."""
        members = ShiftMember.objects.naming(user).filter(shift__plan=OuterRef("pk"))
        return self.filter(Exists(members))


class ShiftPlan(Row):
    """Who works at the desktops of a pool, and when.

    `early_minutes` before a shift its people may check in. After `grace_minutes` from its start whoever has not come
    is late, and so long after its end `at_end` is done.
    """

    pool = models.ForeignKey(Pool, models.CASCADE, related_name="shift_plans")
    name = models.CharField(max_length=100)
    time_zone = models.CharField(max_length=64)
    early_minutes = models.PositiveIntegerField(default=15)
    grace_minutes = models.PositiveIntegerField(default=15)
    at_end = models.CharField(max_length=10, choices=AtShiftEnd.choices, default=AtShiftEnd.REMIND)

    objects = ShiftPlanQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = _("shift plan")
        ordering = ("name", "pk")
        constraints = [models.UniqueConstraint(fields=("pool", "name"), name="shift_plan_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def early(self) -> timedelta:
        return timedelta(minutes=self.early_minutes)

    @property
    def grace(self) -> timedelta:
        return timedelta(minutes=self.grace_minutes)


class Shift(Row):
    """A shift that comes again every week; `weekdays` are those on which it begins, Monday is 0."""

    plan = models.ForeignKey(ShiftPlan, models.CASCADE, related_name="shifts")
    name = models.CharField(max_length=100)
    weekdays = models.JSONField()
    starts = models.TimeField()
    ends = models.TimeField()

    class Meta:
        default_permissions = ()
        verbose_name = _("shift")
        ordering = ("starts", "name", "pk")
        constraints = [models.UniqueConstraint(fields=("plan", "name"), name="shift_name")]

    def __str__(self) -> str:
        return self.name


class ShiftMemberQuerySet(models.QuerySet["ShiftMember"]):
    """Sentences about rosters."""

    def naming(self, user: Any) -> "ShiftMemberQuerySet":
        """What puts this user on a roster. A subquery: no row comes twice."""
        groups = Group.objects.filter(user=user).values("pk")
        return self.filter(Q(user=user) | Q(group__in=groups))


class ShiftMember(Row):
    """A user, or everybody in a group, on the roster of a shift."""

    shift = models.ForeignKey(Shift, models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    group = models.ForeignKey(Group, models.CASCADE, null=True, related_name="+")

    objects = ShiftMemberQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ("user__username", "group__name", "pk")
        constraints = [
            models.UniqueConstraint(fields=("shift", "user"), name="shift_member_user"),
            models.UniqueConstraint(fields=("shift", "group"), name="shift_member_group"),
            models.CheckConstraint(
                name="shift_member_is_a_user_or_a_group",
                condition=Q(user__isnull=False, group__isnull=True) | Q(user__isnull=True, group__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.user or self.group)


class OccurrenceQuerySet(models.QuerySet["ShiftOccurrence"]):
    """Sentences about shifts that take place."""

    def open_at(self, moment: datetime) -> "OccurrenceQuerySet":
        """Those to which one may check in."""
        return self.filter(opens_at__lte=moment, ends_at__gt=moment)


class ShiftOccurrence(Row):
    """A shift on one day. It is written when one may check in to it, and keeps its times from then on.

    So nobody's time changes while it runs, and the past stays as it was, whatever becomes of the plan.
    """

    plan = models.ForeignKey(ShiftPlan, models.CASCADE, related_name="occurrences")
    shift = models.ForeignKey(Shift, models.SET_NULL, null=True, related_name="occurrences")
    name = models.CharField(max_length=100)
    day = models.DateField(help_text="on which it begins, in the time zone of the plan")
    opens_at = models.DateTimeField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    grace_minutes = models.PositiveIntegerField(help_text="after which whoever has not come is late")

    objects = OccurrenceQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ("starts_at", "name", "pk")
        indexes = [models.Index(fields=("plan", "ends_at"), name="shift_occurrence_of_plan")]
        constraints = [models.UniqueConstraint(fields=("shift", "starts_at"), name="shift_occurs_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def grace(self) -> timedelta:
        return timedelta(minutes=self.grace_minutes)


class ShiftDuty(Row):
    """Somebody who is expected in a shift that takes place; later than its start if it was planned so late."""

    occurrence = models.ForeignKey(ShiftOccurrence, models.CASCADE, related_name="duties")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="shift_duties")
    expected_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        ordering = ("user__username", "pk")
        indexes = [models.Index(fields=("user", "occurrence"), name="shift_duty_of_user")]
        constraints = [models.UniqueConstraint(fields=("occurrence", "user"), name="shift_duty")]


class AttendanceQuerySet(models.QuerySet["ShiftAttendance"]):
    """Sentences about attendance."""

    def present(self) -> "AttendanceQuerySet":
        """Whoever has a desktop or a place in line by it; in a manual pool, who did not ask to return it."""
        return self.filter(request__state__in=LIVE, request__return_asked_at=None)

    def due(self, now: datetime) -> "AttendanceQuerySet":
        """Those to whom something is to be said or done, the longest overdue first; who left meanwhile as well."""
        return self.filter(look_at__lte=now).order_by("look_at", "pk")


class ShiftAttendance(Row):
    """Once that somebody checked in. Present is whose wish is live: there is no second truth that could disagree.

    `until` is the end of duty as it was known last; `stay_until` is what a lead allowed beyond it.
    """

    plan = models.ForeignKey(ShiftPlan, models.CASCADE, related_name="attendances")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="shift_attendances")
    request = models.OneToOneField(DesktopRequest, models.CASCADE, related_name="attendance")
    occurrence = models.ForeignKey(ShiftOccurrence, models.SET_NULL, null=True, related_name="attendances")
    came_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()
    stay_until = models.DateTimeField(null=True)
    stay_asked_at = models.DateTimeField(null=True, help_text="since when an answer of a lead is waited for")
    stay_asked_minutes = models.PositiveIntegerField(null=True)
    stay_reason = models.CharField(max_length=300, blank=True)
    stay_refused_at = models.DateTimeField(null=True)
    reminded_minutes = models.PositiveIntegerField(null=True, help_text="before `until`; the last reminder given")
    place_goes_told_at = models.DateTimeField(null=True, help_text="that a place in line is given up soon")
    look_at = models.DateTimeField(null=True, help_text="when a reminder, or the end, is due")

    objects = AttendanceQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ("-came_at", "pk")
        indexes = [
            models.Index(fields=("plan", "-came_at"), name="shift_attendance_of_plan"),
            models.Index(fields=("look_at",), condition=Q(look_at__isnull=False), name="shift_attendance_due"),
        ]

    @property
    def is_present(self) -> bool:
        return self.request.state in LIVE and self.request.return_asked_at is None

    @property
    def left_at(self) -> datetime | None:
        """When they checked out, or lost the desktop otherwise; null while they are there."""
        if self.is_present:
            return None
        wish = self.request
        return wish.return_asked_at or wish.returned_at or wish.ended_at

    @property
    def leaves_at(self) -> datetime:
        """The end of duty with all that was allowed beyond it."""
        return max(self.until, self.stay_until or self.until)


class ShiftHandover(Row):
    """What somebody leaves to the next shift, and who of it has read that."""

    plan = models.ForeignKey(ShiftPlan, models.CASCADE, related_name="handovers")
    attendance = models.ForeignKey(ShiftAttendance, models.SET_NULL, null=True, related_name="handovers")
    shift_name = models.CharField(max_length=100, blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    note = models.TextField(blank=True)
    confirmed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ("-at", "pk")
        indexes = [models.Index(fields=("plan", "-at"), name="shift_handover_of_plan")]


class HandoverPoint(Row):
    """One open point of what was handed over, until somebody settles it."""

    handover = models.ForeignKey(ShiftHandover, models.CASCADE, related_name="points")
    number = models.PositiveSmallIntegerField()
    text = models.CharField(max_length=300)
    settled_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    settled_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ("number", "pk")
        constraints = [models.UniqueConstraint(fields=("handover", "number"), name="handover_point")]
