"""Open the shifts that begin, remind whoever is there of the end, and end the wait of those whose shift is over."""

import logging
from zoneinfo import ZoneInfoNotFoundError

from django.db import DatabaseError
from django.utils import timezone

from broker import jobs
from broker.models import ShiftPlan
from broker.operations import shifts

log = logging.getLogger(__name__)

SENT_AGAIN_SECONDS = 20


def keep_shifts() -> None:
    """One task for each person, so that nobody's trouble delays another; nor does that of a plan delay others."""
    now = timezone.now()
    for attendance_id in shifts.due(now):
        jobs.send("broker.keep_attendance", attendance_id, expires=SENT_AGAIN_SECONDS)
    for plan in ShiftPlan.objects.prefetch_related("shifts"):
        try:
            shifts.open_due(plan, now)
        except (DatabaseError, ZoneInfoNotFoundError):
            log.exception("the shifts of %s could not be opened", plan)
