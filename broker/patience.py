"""Patience with Redis: whoever has just waited for it in vain, anywhere in this process, does not wait again at once.

So when it hangs no page waits for it twice, and people who take desktops do not use up the threads of all others.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

LONG_SECONDS = 1.0  # one that refuses says so sooner
LEFT_ALONE_SECONDS = 5.0

_until = 0.0  # by this process's own clock


@contextmanager
def asking() -> Iterator[None]:
    """Ask Redis for something; TimeoutError at once when it let this process wait a moment ago."""
    global _until
    begun = time.monotonic()
    if begun < _until:
        raise TimeoutError("Redis did not answer a moment ago")
    try:
        yield
    except (OperationalError, RedisError, OSError):
        now = time.monotonic()
        if now - begun > LONG_SECONDS:
            _until = now + LEFT_ALONE_SECONDS
        raise
