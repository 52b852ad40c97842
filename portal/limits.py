"""How much may one caller ask for: requests a second, and bytes in a body? Sign-ins are in portal.failed_sign_ins."""

import asyncio
import hashlib
import time
from contextlib import suppress
from ipaddress import IPv6Network, ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.cache import caches
from django.db import OperationalError
from django.http import HttpRequest
from django.utils.translation import gettext as _

from broker.errors import TooMany
from portal.logins import API

# Asked by machines, every few seconds and from one address.
FREE = ("/healthz", "/readyz")
TOO_LARGE = "hotdesk.too_large"


# -- requests --------------------------------------------------------------------------------------


def count_request(request: HttpRequest) -> None:
    """TooMany when the address or whoever is signed in there asked more often than a person or a program needs to."""
    if request.path in FREE:
        return
    if count("address", address(request), seconds=1) <= settings.REQUESTS_PER_ADDRESS:
        principal = _principal(request)
        if principal is None or count("principal", principal, seconds=1) <= settings.REQUESTS_PER_USER:
            return
    raise TooMany(_("Too many requests at once. Please try again in a moment."), retry_after=1)


def _principal(request: HttpRequest) -> str | None:
    """Who asks, as far as that is cheap to know: a token is not looked up, and may be nobody's."""
    if request.path.startswith(API):
        return request.headers.get("Authorization", "").partition(" ")[2] or None
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return None
    try:
        return request.session.get(SESSION_KEY)
    except OperationalError:
        return None  # The view asks for the same, and says what is to be said.


# -- counting --------------------------------------------------------------------------------------


def count(*what: str, seconds: int) -> int:
    """How often this was counted in the present window, this time included."""
    counts, key = caches["limits"], _key(*what)
    counts.add(key, 0, timeout=left(seconds))
    try:
        return counts.incr(key)
    except ValueError:
        return 1  # The window ended between the two, or the memory is full and others come first.


def uncount(*what: str) -> None:
    """Forget one of those that were counted in the present window."""
    with suppress(ValueError):  # It has just ended.
        caches["limits"].decr(_key(*what))


def left(seconds: int) -> float:
    """Until the window ends. Windows begin at full multiples of their length."""
    return seconds - time.time() % seconds


def _key(*what: str) -> str:
    """A name of one length for anything; and whoever looks into the memory finds no tokens."""
    return hashlib.sha256("\0".join(what).encode(errors="surrogatepass")).hexdigest()


def address(request: HttpRequest) -> str:
    return network(request.META.get("REMOTE_ADDR", ""))


def network(text: str) -> str:
    """Where a caller is. Of IPv6 the network: a single machine has all the addresses in it."""
    try:
        found = ip_address(text)
    except ValueError:
        return text  # a socket without addresses
    if found.version == 4:
        return text
    return str(found.ipv4_mapped or IPv6Network((int(found), 64), strict=False))


# -- bodies ----------------------------------------------------------------------------------------


def is_too_large(request: HttpRequest) -> bool:
    """Whether the body is larger than what is read, by its own account or because BodyLimit stopped it."""
    stopped = getattr(request, "scope", {}).get(TOO_LARGE, False)
    return stopped or int(request.META.get("CONTENT_LENGTH") or "0") > settings.DATA_UPLOAD_MAX_MEMORY_SIZE


class BodyLimit:
    """Around Django's ASGI application: no body is received beyond the limit, whatever was said about its length.

    Django keeps a whole body before it asks anybody. What is too large ends early for it, and its middleware says so.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        length = dict(scope["headers"]).get(b"content-length", b"")
        scope[TOO_LARGE] = length.isdigit() and int(length) > most
        received, ended = 0, False

        async def limited() -> dict[str, Any]:
            nonlocal received, ended
            if ended:
                # Django listens for the caller to leave until it has answered, and then cancels this.
                await asyncio.Event().wait()
            if not scope[TOO_LARGE]:
                message: dict[str, Any] = await receive()
                received += len(message.get("body", b""))
                if received <= most:
                    return message
                scope[TOO_LARGE] = True
            ended = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def closing(message: dict[str, Any]) -> None:
            # The rest of the body is no next request.
            if scope[TOO_LARGE] and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self.application(scope, limited, closing)
