"""Before anybody can administer anything: every page says how to make the first administrator, and nothing else."""

from collections.abc import Callable
from contextlib import suppress

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from broker import grants
from portal.api import errors
from portal.logins import API

FREE = ("/healthz", "/readyz", "/metrics")
COMMAND = "manage.py createsuperuser"


class FirstStart:
    """Asked until there is an administrator once: the last one cannot be taken away."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.is_over = False

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not self.is_over and request.path not in FREE:
            with suppress(OperationalError, InterfaceError):  # The view says what is to be said of the database.
                self.is_over = grants.superusers().exists()
                if not self.is_over:
                    return _how(request)
        return self.get_response(request)


def _how(request: HttpRequest) -> HttpResponse:
    if request.path.startswith(API):
        text = _("Hotdesk has no administrator yet. Make one with %(command)s.")
        return errors.envelope(503, "NO_ADMINISTRATOR", text % {"command": COMMAND})
    page = render_to_string("errors/first_start.html", {"command": COMMAND})
    return HttpResponse(page, status=503, headers={"Retry-After": "10"})
