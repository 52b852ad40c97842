"""Terms of office in the database. The clock is the database client's; terms, not clocks, guard the writes."""

import os
import socket
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from broker.models import Lease

HOLDER = f"{socket.gethostname()}/{os.getpid()}"


def hold(name: str, *, seconds: int, holder: str = HOLDER) -> bool:
    """Take or renew an office for so many seconds; False while somebody else holds it."""
    now = timezone.now()
    until = now + timedelta(seconds=seconds)
    if Lease.objects.filter(pk=name, holder=holder, expires_at__gt=now).update(expires_at=until):
        return True
    lapsed = Lease.objects.filter(Q(expires_at__lte=now) | Q(holder=holder), pk=name)
    if lapsed.update(holder=holder, expires_at=until, term=F("term") + 1):
        return True
    if Lease.objects.filter(pk=name).exists():
        return False
    try:
        with transaction.atomic():
            Lease.objects.create(pk=name, holder=holder, expires_at=until, term=1)
    except IntegrityError:
        return False
    return True


def release(name: str, *, holder: str = HOLDER) -> None:
    """Give an office up, so that the next need not wait for its end."""
    Lease.objects.filter(pk=name, holder=holder).update(expires_at=timezone.now())
