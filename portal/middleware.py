"""Answers that no view gives: refused operations on pages, and the API's own shape for what Django says itself."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.utils.translation import gettext as _
from django.views.defaults import bad_request

from broker.errors import Conflict, NotFound, Refused, TooMany
from portal import limits, preferences
from portal.api import errors
from portal.logins import API
from portal.pages.errors import database_away, refused_page, too_large

# No database, file name or XML can keep these, and no honest client sends them.
UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
LENGTH = re.compile("[0-9]{1,18}")


def refusals(get_response: Callable[[HttpRequest], HttpResponse]) -> "Refusals":
    return Refusals(get_response)


class Refusals:
    """For the API every answer is JSON of the documented shape; for pages a refusal is a page that helps on."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if _makes_no_sense(request):
            return _not_understood(request)
        if not request.path.startswith(API):
            return self.get_response(request)
        response = self.get_response(request)
        response.setdefault("Cache-Control", "no-store")
        if response.headers.get("Content-Type", "").startswith("application/json"):
            return response
        if response.status_code == 404:
            return errors.not_found()
        if response.status_code == 405:
            return errors.method_not_allowed(response.headers.get("Allow", ""))
        if response.status_code == 400:
            return _not_understood(request)
        if response.status_code == 500 and not settings.DEBUG:
            return errors.broken()
        return response

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        """The fields of a form; the check of its CSRF token has read them already."""
        is_form = request.method == "POST" and not request.path.startswith(API)
        return _not_understood(request) if is_form and _unspeakable(_values(request.POST)) else None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, OperationalError | InterfaceError):
            error = database_away(error)
        if isinstance(error, ObjectDoesNotExist):
            error = NotFound(_("It is not there any more."))
        if isinstance(error, IntegrityError):
            error = Conflict(_("Somebody else changed something that belongs to it this moment. Please try again."))
        if not isinstance(error, Refused):
            return None
        if not request.path.startswith(API) and error.code == "NOT_FOUND":
            raise Http404(error.message)
        return _refusal(request, error)


def within_limits(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """What asks for too much is answered here, in its language, before anything is looked up or read for it."""

    def answer(request: HttpRequest) -> HttpResponse:
        if limits.is_too_large(request):
            is_api = request.path.startswith(API)
            return errors.too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE) if is_api else too_large()
        try:
            limits.count_request(request)
        except TooMany as error:
            return _refusal(request, error)
        return get_response(request)

    return answer


def in_own_language(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Pages speak the language of the account; for the API whoever reads the token sees to it."""

    def answer(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(API):
            # Without a database the view that asks for the same says what is to be said.
            with suppress(OperationalError, InterfaceError):
                preferences.speak(request)
        return get_response(request)

    return answer


def permissions_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Tell browsers what no page of ours ever asks for, so that nothing smuggled into one may."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)
        return response

    return answer


def _refusal(request: HttpRequest, error: Refused) -> HttpResponse:
    return errors.refusal(error) if request.path.startswith(API) else refused_page(request, error)


def _unspeakable(texts: Iterable[str]) -> bool:
    return any(UNSPEAKABLE.search(text) for text in texts)


def _values(fields: QueryDict) -> Iterable[str]:
    return (value for _name, values in fields.lists() for value in values)


def _makes_no_sense(request: HttpRequest) -> bool:
    """Everything but the body. Cookies as Django reads them: a quoted one may hold what its header did not show."""
    if not LENGTH.fullmatch(_length(request)):
        return True
    try:
        fields = _values(request.GET)
    except SuspiciousOperation:
        return True  # more fields than Django reads
    return _unspeakable(chain([request.path], fields, request.headers.values(), request.COOKIES.values()))


def _length(request: HttpRequest) -> str:
    """What the caller says about the size of the body."""
    return request.META.get("CONTENT_LENGTH") or "0"


def _not_understood(request: HttpRequest) -> HttpResponse:
    if request.path.startswith(API):
        return errors.envelope(400, "BAD_REQUEST", _("The request could not be understood."))
    # Our own pages ask who is signed in, and the cookie may be the very thing that is wrong.
    return bad_request(request, SuspiciousOperation())
