"""The record: how long it is kept."""

from datetime import timedelta

from auditlog.models import LogEntry
from django.db import transaction
from django.utils import timezone

from broker import config, events
from broker.models import Event

MOST = 10_000  # at a time: the sweep comes again soon


@transaction.atomic
def expire() -> None:
    """Drop what is older than it must be kept; that something was dropped is itself recorded."""
    days = config.get("EventRetentionDays")
    before = timezone.now() - timedelta(days=days)
    count = Event.objects.expire(before, most=MOST)
    oldest = LogEntry.objects.filter(timestamp__lt=before).order_by("timestamp", "pk").values_list("pk", flat=True)
    LogEntry.objects.filter(pk__in=list(oldest[:MOST])).delete()
    if count:
        events.record("record.expired", count=count, days=days)
