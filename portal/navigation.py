"""What the header offers to whom."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from broker import access


def navigation(request: HttpRequest) -> dict[str, Any]:
    """For every page: whether to offer the Administration Portal, and the languages."""
    user = getattr(request, "user", None)
    signed_in = user is not None and user.is_authenticated
    return {
        "may_administer": signed_in and access.administers(user),
        "languages": settings.LANGUAGES,
    }
