"""Terms of office in the database. The clock is the database client's; terms, not clocks, guard the writes."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from broker.models import Lease

HOLDER = f"{socket.gethostname()}/{os.getpid()}"
HEARTBEAT = "heartbeat"
SWEEPS_MISSED = 3  # after so many nobody is believed to be at work any more


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


def is_held(name: str) -> bool:
    """Whether anybody holds an office this moment."""
    return Lease.objects.filter(pk=name, expires_at__gt=timezone.now()).exists()


@contextmanager
def kept(name: str, *, seconds: int) -> Iterator[bool]:
    """Hold an office for as long as a long piece of work takes, renewing it meanwhile; False when another has it.

    Whoever dies over the work is followed within so many seconds.
    """
    holder = f"{HOLDER}/{uuid4()}"
    if not hold(name, seconds=seconds, holder=holder):
        yield False
        return
    over = threading.Event()

    def renew() -> None:
        while not over.wait(seconds / 3):
            try:
                hold(name, seconds=seconds, holder=holder)
            except OperationalError:
                continue  # a busy database: there is time for another try
        connection.close()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        over.set()
        thread.join()
        release(name, holder=holder)


def release(name: str, *, holder: str = HOLDER) -> None:
    """Give an office up, so that the next need not wait for its end."""
    Lease.objects.filter(pk=name, holder=holder).update(expires_at=timezone.now())


# -- is anybody at work? -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Silence:
    """No worker has run the sweep for too long."""

    since: datetime | None  # null when none ever has


def beat() -> None:
    """A worker runs the sweep: what was asked for is being done."""
    Lease.objects.update_or_create(
        pk=HEARTBEAT, defaults={"holder": HOLDER, "expires_at": timezone.now() + patience()}
    )


def silence() -> Silence | None:
    """Null while the workers are at work; it asks the database alone, so that it is known without Redis."""
    until = Lease.objects.filter(pk=HEARTBEAT).values_list("expires_at", flat=True).first()
    if until is None:
        return Silence(since=None)
    return None if timezone.now() < until else Silence(since=until - patience())


def patience() -> timedelta:
    """For how long after the last sweep workers are believed to be at work."""
    return timedelta(seconds=SWEEPS_MISSED * settings.SWEEP_SECONDS)
