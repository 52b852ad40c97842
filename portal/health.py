"""Is the process alive, and can a person take a desktop?"""

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, JsonResponse
from redis.exceptions import RedisError

from broker import jobs
from broker.models import Host, Pool, VirtualMachine
from broker.states import HostStatus


def healthz(request: HttpRequest) -> JsonResponse:
    """This process answers."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, Redis and a host answer and a desktop can be taken; else 503 naming what is missing."""
    checks: dict[str, bool] = {"database": False, "redis": False, "host": False, "desktop": False}
    try:
        checks["host"] = Host.objects.filter(status=HostStatus.UP).exists()
        checks["database"] = True  # A connection from before may be broken: only an answer counts.
        # Where nobody has made a pool yet there is nothing to wait for.
        checks["desktop"] = not Pool.objects.exists() or VirtualMachine.objects.filter(hold=None).exists()
        jobs.cache.get("readyz")
        checks["redis"] = True
    except (DatabaseError, InterfaceError, RedisError, OSError):
        pass
    ready = all(checks.values())
    return JsonResponse({"status": "ready" if ready else "not ready", **checks}, status=200 if ready else 503)
