"""The record: how long it is kept; and what is kept beside it of sign-ins that have ended."""

from datetime import datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from auditlog.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from broker import config, events
from broker.models import Allocation, Certificate, ConsoleSession, Event

MOST = 10_000  # at a time: the sweep comes again soon


@transaction.atomic
def expire() -> None:
    """Drop what is older than it must be kept; that something was dropped is itself recorded."""
    days = config.get("EventRetentionDays")
    before = timezone.now() - timedelta(days=days)
    count = Event.objects.expire(before, most=MOST)
    LogEntry.objects.filter(pk__in=_oldest(LogEntry, "timestamp", before)).delete()
    Certificate.objects.filter(pk__in=_oldest(Certificate, "made_at", before)).delete()
    Allocation.objects.filter(pk__in=_oldest(Allocation, "at", before)).delete()
    ConsoleSession.objects.filter(pk__in=_oldest(ConsoleSession, "ended_at", before)).delete()
    if count:
        events.record("record.expired", count=count, days=days)


def forget_sign_ins() -> None:
    """Drop browsers' sign-ins that have ended: what Django keeps of them, and what was noted of the browsers."""
    ended = Session.objects.filter(expire_date__lt=timezone.now()).order_by("expire_date", "pk")
    Session.objects.filter(pk__in=list(ended.values_list("pk", flat=True)[:MOST])).delete()
    alive = Session.objects.filter(pk=OuterRef("session_key"))
    orphans = UserSession.objects.filter(~Exists(alive)).order_by("pk").values_list("pk", flat=True)
    UserSession.objects.filter(pk__in=list(orphans[:MOST])).delete()


def _oldest(model: Any, column: str, before: datetime) -> list[Any]:
    rows = model._default_manager.filter(**{f"{column}__lt": before}).order_by(column, "pk")
    return list(rows.values_list("pk", flat=True)[:MOST])
