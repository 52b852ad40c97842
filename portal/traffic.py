"""What this web process was asked, and how long it took to answer: one line of the log, and two metrics."""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from portal import metrics
from portal.limits import FREE

log = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def traffic(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Tell of all but static files and what machines ask every few seconds; never of queries: they may hold names."""

    def answer(request: HttpRequest) -> HttpResponse:
        begun = time.perf_counter()
        response = get_response(request)
        if request.path not in FREE and not request.path.startswith(settings.STATIC_URL):
            _tell(request, response.status_code, time.perf_counter() - begun)
        return response

    return answer


def _tell(request: HttpRequest, status: int, seconds: float) -> None:
    # Of what has no address, and of words that are no methods, there is no end.
    route = request.resolver_match.route if request.resolver_match else ""
    method = request.method if request.method in METHODS else ""
    metrics.answers.labels(method, route, status).inc()
    metrics.answer_seconds.labels(route).observe(seconds)
    about = {"method": method, "path": request.path, "status": status, "ms": round(seconds * 1000, 1)}
    log.info("%(method)s %(path)r %(status)s in %(ms)s ms", about, extra=about)
