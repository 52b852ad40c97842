"""Names that failed to sign in too often from one address, and must wait: seen, and let in again earlier."""

from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events
from broker.errors import NotFound
from broker.models import Event

UNKNOWN = "?"  # begins what is kept instead of a name that nobody has; it begins no name


def in_force() -> QuerySet[AccessAttempt]:
    """Those that still have to wait."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    failed = AccessAttempt.objects.filter(failures_since_start__gte=settings.AXES_FAILURE_LIMIT)
    return failed.filter(attempt_time__gte=since)


def name_of(lock_out: AccessAttempt) -> str:
    """Whose it is; what was typed is not kept where it is no name, for it may have been a password."""
    return _("(a name that nobody has)") if lock_out.username.startswith(UNKNOWN) else lock_out.username


@transaction.atomic
def unlock(*, lock_out: AccessAttempt, by: Any) -> None:
    """Let this name try again from this address at once."""
    removed, _by_kind = AccessAttempt.objects.filter(pk=lock_out.pk).delete()
    if not removed:
        raise NotFound(_("It is not there any more."))
    about = {"name": name_of(lock_out), "address": lock_out.ip_address or "–"}
    events.record("lock_out.undone", actor=by, severity=Event.Severity.WARNING, **about)
