"""Pages for when something is not there, not allowed, or not possible now: what happened and what to do."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme

from broker.errors import Busy, Conflict, Denied, Refused, TooMany


def refused_page(request: HttpRequest, error: Refused) -> HttpResponse:
    """A rule said no: back to where the person was, with the reason; a page of its own where that is not known."""
    if isinstance(error, TooMany):
        return _too_many(error)
    before = request.headers.get("Referer", "")
    safe = url_has_allowed_host_and_scheme(before, {request.get_host()}, request.is_secure())
    if request.method == "POST" and safe and isinstance(error, Conflict | Busy):
        messages.error(request, error.message)
        return redirect(before)
    status = 403 if isinstance(error, Denied) else 503 if isinstance(error, Busy) else 409
    response = render(request, "errors/refused.html", {"reason": error.message}, status=status)
    if isinstance(error, Busy):
        response["Retry-After"] = str(error.retry_after)
    return response


def _too_many(error: TooMany) -> HttpResponse:
    page = render_to_string("errors/429.html", {"reason": error.message})
    return HttpResponse(page, status=429, headers={"Retry-After": str(error.retry_after)})


def too_large() -> HttpResponse:
    page = render_to_string("errors/413.html", {"most": settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
    return HttpResponse(page, status=413)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The same page for what does not exist and what may not be seen (I6)."""
    return render(request, "errors/404.html", status=404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/403.html", status=403)


def broken(request: HttpRequest, *args: Any) -> HttpResponse:
    """No query is safe here: the page stands alone."""
    return HttpResponse(render_to_string("errors/500.html"), status=500)
