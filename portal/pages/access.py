"""My access: which roles I have, on what, and where each comes from."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from broker import access

MOST = 500


@never_cache
@login_required
@require_safe
def my_access(request: HttpRequest) -> HttpResponse:
    """Everything that was given to me, or to a group I am in."""
    roles: list[Any] = list(access.held(request.user).order_by("role__name", "pk")[:MOST])
    return render(request, "access.html", {"roles": roles})
