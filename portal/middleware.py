"""Answers that no view gives: refused operations on pages, and the API's own shape for what Django says itself."""

from collections.abc import Callable

from django.conf import settings
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from broker.errors import Busy, Refused
from portal.api import errors
from portal.pages.errors import refused_page

API = "/api/"


def refusals(get_response: Callable[[HttpRequest], HttpResponse]) -> "Refusals":
    return Refusals(get_response)


class Refusals:
    """For the API every answer is JSON of the documented shape; for pages a refusal is a page that helps on."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(API):
            return self.get_response(request)
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        length = request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > most:
            return errors.too_large(most)
        response = self.get_response(request)
        response.setdefault("Cache-Control", "no-store")
        if response.headers.get("Content-Type", "").startswith("application/json"):
            return response
        if response.status_code == 404:
            return errors.not_found()
        if response.status_code == 405:
            return errors.method_not_allowed(response.headers.get("Allow", ""))
        if response.status_code == 400:
            return errors.envelope(400, "BAD_REQUEST", _("The request could not be understood."))
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, OperationalError):
            # SQLite's one write lock, or a database that is being restarted: nothing is wrong with the request.
            error = Busy(_("Hotdesk is busy this moment. Please try again in a moment."))
        if not isinstance(error, Refused):
            return None
        if request.path.startswith(API):
            return errors.refusal(error)
        if isinstance(error, Refused) and error.code == "NOT_FOUND":
            raise Http404(error.message)
        return refused_page(request, error)
