"""The Celery app: which queue each task belongs to, and what the beat wakes.

Messages are wake-ups only. Losing any of them costs time, never work: the sweep sends them again.
"""

import os
import sys
from typing import Any
from uuid import UUID

from celery import Celery, signals
from celery.beat import PersistentScheduler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("hotdesk")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["broker"])
# Celery would close the connection to the database before and after each task, and most of a task's time would go
# into the next one. Django's own rule holds instead, as for web requests: `begin_task` sees to it.
app.conf.update(CELERY_DB_REUSE_MAX=sys.maxsize)


class LeasedScheduler(PersistentScheduler):
    """A beat that only ticks while it holds the database lease, so that two of them do no harm."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        from django.conf import settings
        from django.db import close_old_connections

        from broker import leases

        close_old_connections()
        if leases.hold("beat", seconds=settings.BEAT_LEASE_SECONDS):
            return super().tick(*args, **kwargs)
        return 1.0


@signals.beat_init.connect
def sweep_at_once(**_: Any) -> None:
    """Whatever waits since Hotdesk was stopped need not wait for the first turn of the beat."""
    from django.conf import settings

    app.send_task("broker.sweep", expires=settings.SWEEP_SECONDS)


@signals.worker_init.connect
def refuse_to_work_without_a_key(**_: Any) -> None:
    """Tickets are derived from the key."""
    from portal.secret import require_secret_key

    require_secret_key()


@signals.task_prerun.connect
def begin_task(task: Any, **_: Any) -> None:
    """With a connection that works, and for whoever's click sent the message; for nobody when a clock did."""
    from django.db import close_old_connections

    from broker import orders

    close_old_connections()
    order = getattr(task.request, orders.HEADER, None)
    orders.origin.set(orders.Origin(order_id=UUID(order)) if order else None)


@signals.setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Celery would replace the handlers; ours already print one line per record."""
    from logging.config import dictConfig

    from django.conf import settings

    dictConfig(settings.LOGGING)
