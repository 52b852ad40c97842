"""Every refusal in one shape: {"error", "message", "details": [{"field", "message"}]}."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from broker import orders
from broker.errors import Busy, Conflict, Denied, Invalid, NotFound, Refused, TooMany

STATUS: dict[type[Refused], int] = {
    Invalid: 400,
    Denied: 403,
    NotFound: 404,
    Conflict: 409,
    TooMany: 429,
    Busy: 503,
}


def envelope(status: int, code: str, message: str, details: list[dict[str, Any]] | None = None) -> JsonResponse:
    """The one shape of an error."""
    details = details or [{"field": None, "message": str(message)}]
    return JsonResponse({"error": code, "message": str(message), "details": details}, status=status)


def refusal(error: Refused) -> JsonResponse:
    """A refusal of an operation as an answer."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
    response = envelope(status, error.code, error.message, error.details)
    if isinstance(error, Busy | TooMany):
        response["Retry-After"] = str(error.retry_after)
    return response


def not_found() -> JsonResponse:
    return envelope(404, "NOT_FOUND", _("There is nothing at this address."))


def method_not_allowed(allowed: str) -> JsonResponse:
    message = _("This method is not allowed here. Allowed: %(methods)s.") % {"methods": allowed or "-"}
    response = envelope(405, "METHOD_NOT_ALLOWED", message)
    response["Allow"] = allowed
    return response


def too_large(most: int) -> JsonResponse:
    return envelope(413, "TOO_LARGE", _("The body may have at most %(most)s bytes.") % {"most": most})


def broken() -> JsonResponse:
    text = _(
        "It is not your fault, and it was written down. Desktops that run keep running, and places in line are kept."
    )
    reference = _("If it stays like this, give your administrator this reference: %(reference)s.")
    details = [text, reference % {"reference": orders.reference()}]
    return envelope(500, "BROKEN", text, [{"field": None, "message": sentence} for sentence in details])


def install(api: NinjaAPI) -> None:
    """Give every way an API call can fail its documented answer."""

    @api.exception_handler(Refused)
    def refused(request: HttpRequest, error: Refused) -> HttpResponse:
        return refusal(error)

    @api.exception_handler(AuthenticationError)
    def unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
        message = _("Sign in first: POST /api/v1/tokens, then send 'Authorization: Bearer TOKEN'.")
        response = envelope(401, "UNAUTHENTICATED", message)
        response["WWW-Authenticate"] = "Bearer"
        return response

    @api.exception_handler(ValidationError)
    def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        details = [{"field": _field(problem["loc"]), "message": problem["msg"]} for problem in error.errors]
        message = "; ".join(f"{one['field'] or 'body'}: {one['message']}" for one in details)
        return envelope(422, "INVALID_FIELDS", message, details)

    @api.exception_handler(HttpError)
    def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
        return envelope(error.status_code, "BAD_REQUEST", error.message)

    @api.exception_handler(Http404)
    def missing(request: HttpRequest, error: Http404) -> HttpResponse:
        return not_found()


def _field(location: tuple[Any, ...]) -> str | None:
    """The field's own name; null for the body as a whole.

    In front of it stand where it was read from and, except for path and header, the argument that holds it; behind it
    may stand which variant of its type was tried.
    """
    source, *names = location
    if source == "body" or (source == "query" and len(names) > 1):
        del names[0]
    return str(names[0]) if names else None
