"""Pages for when something is not there, not allowed, or not possible now: what happened and what to do.

Those that may be needed while the database is away stand alone; the others have the site's header.
"""

import logging
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from broker import orders
from broker.errors import Busy, Conflict, Denied, Refused, TooMany

log = logging.getLogger(__name__)

BUSY_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED")
# Deadlocks, full up, locks that are not to be had, statements that took too long.
BUSY_POSTGRESQL = ("40", "53", "55", "57014")


def refused_page(request: HttpRequest, error: Refused) -> HttpResponse:
    """A rule said no: back to where the person was, with the reason; a page of its own where that is not known."""
    if isinstance(error, TooMany):
        return _later("errors/429.html", error, status=429, seconds=error.retry_after)
    if isinstance(error, Busy) and error.code == "MAINTENANCE":
        return _later("errors/maintenance.html", error, status=503)
    before = request.headers.get("Referer", "")
    safe = url_has_allowed_host_and_scheme(before, {request.get_host()}, request.is_secure())
    if request.method == "POST" and safe and isinstance(error, Conflict | Busy):
        messages.error(request, error.message)
        return redirect(before)
    if isinstance(error, Busy):
        again = request.get_full_path() if request.method == "GET" else ""
        template = "errors/database.html" if error.code == "DATABASE_AWAY" else "errors/503.html"
        return _later(template, error, status=503, again=again)
    if isinstance(error, Denied):
        return _within(request, "errors/403.html", 403, reason=error.message, advice=error.advice)
    return _within(request, "errors/409.html", 409, reason=error.message)


def database_away(error: Exception) -> Busy:
    """Locks that others hold, or a database that does not answer: nothing is wrong with the request."""
    cause = error.__cause__
    sqlite, postgresql = getattr(cause, "sqlite_errorname", ""), getattr(cause, "sqlstate", None) or ""
    if sqlite.startswith(BUSY_SQLITE) or postgresql.startswith(BUSY_POSTGRESQL):
        return Busy(_("Hotdesk is busy this moment. Please try again in a moment."))
    text = _("Hotdesk cannot reach its database, so nothing was changed. Please try again in a moment.")
    return Busy(text, code="DATABASE_AWAY")


def too_large() -> HttpResponse:
    page = render_to_string("errors/413.html", {"most": settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
    return HttpResponse(page, status=413)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The same page for what does not exist and what may not be seen (I6)."""
    return _within(request, "errors/404.html", 404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _within(request, "errors/403.html", 403)


def too_often(request: HttpRequest) -> HttpResponse:
    """Of codes, passwords or mails, as allauth counts them."""
    return refused_page(
        request, TooMany(_("That was tried too often. Please try again in a few minutes."), retry_after=60)
    )


def broken(request: HttpRequest, *args: Any) -> HttpResponse:
    """No query is safe here: the page stands alone. Django logs what went wrong right after the reference."""
    reference = orders.reference()
    log.error("%s %r broke; its reference is %s", request.method, request.path, reference)
    return HttpResponse(render_to_string("errors/500.html", {"reference": reference}), status=500)


def _later(template: str, error: Busy | TooMany, *, status: int, **about: Any) -> HttpResponse:
    page = render_to_string(template, {"reason": error.message, **about})
    return HttpResponse(page, status=status, headers={"Retry-After": str(error.retry_after)})


def _within(request: HttpRequest, template: str, status: int, **about: Any) -> HttpResponse:
    try:
        return render(request, template, about, status=status)
    except (OperationalError, InterfaceError) as error:  # The header asks who is signed in.
        return refused_page(request, database_away(error))
