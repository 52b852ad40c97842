"""Which login a request came with: what it opened ends with it."""

import hashlib
from typing import Any

from django.http import HttpRequest

from portal.models import ApiToken

API = "/api/"


def of_request(request: HttpRequest) -> str:
    """Of the API the token, of pages the session."""
    if request.path.startswith(API):
        return of_token(request.headers.get("Authorization", "").partition(" ")[2])
    return of_session(request.session.session_key)


def of_session(key: str | None) -> str:
    """A hash: whoever reads our rows can sign in with none of it."""
    return hashlib.sha256(f"session {key}".encode()).hexdigest()


def of_token(token: str) -> str:
    return ApiToken.digest_of(token.strip())


def bearer(scope: dict[str, Any]) -> str | None:
    """The token that a program sends along with its websocket; null for browsers."""
    for name, value in scope["headers"]:
        if name == b"authorization" and value.lower().startswith(b"bearer "):
            return value[len(b"bearer ") :].decode("latin-1").strip()
    return None
