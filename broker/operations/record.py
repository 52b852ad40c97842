"""The record: how long it is kept."""

from datetime import datetime, timedelta
from typing import Any

from auditlog.models import LogEntry
from django.db import transaction
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


def _oldest(model: Any, column: str, before: datetime) -> list[Any]:
    rows = model._default_manager.filter(**{f"{column}__lt": before}).order_by(column, "pk")
    return list(rows.values_list("pk", flat=True)[:MOST])
