"""What the header offers to whom."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from broker import access
from broker.models import Cluster


def navigation(request: HttpRequest) -> dict[str, Any]:
    """For every page: whether to offer the Administration Portal, and the languages."""
    user = getattr(request, "user", None)
    signed_in = user is not None and user.is_authenticated
    return {
        "may_administer": signed_in and access.can_anywhere(user, "view_inventory", Cluster),
        "languages": settings.LANGUAGES,
    }
