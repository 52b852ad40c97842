"""All routes of API v1 together."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.views.decorators.csrf import csrf_exempt
from ninja import Router, Schema

from portal.api import (
    clusters,
    console_sessions,
    data_centers,
    desktops,
    errors,
    events,
    hosts,
    jobs,
    lock_outs,
    permissions,
    pools,
    roles,
    settings,
    shift_plans,
    storage,
    templates,
    tokens,
    users,
    vms,
)
from portal.api.description import DescribedAPI

api = DescribedAPI(
    title="Hotdesk",
    version="1",
    description="Take desktops, stand in line, give them back; administer pools.",
    auth=tokens.Bearer(),
    urls_namespace="api",
    docs_decorator=csrf_exempt,
)
errors.install(api)

me = Router(tags=["sign-in"])


class Me(Schema):
    id: UUID
    username: str
    name: str
    groups: list[str]


@me.get("/me", response=Me, summary="Who am I")
def get_me(request: HttpRequest) -> dict[str, Any]:
    """The user of the token."""
    user: Any = request.user
    groups = list(user.groups.order_by("name").values_list("name", flat=True))
    return {"id": user.pk, "username": user.username, "name": user.display_name, "groups": groups}


NOUNS = (
    desktops,
    console_sessions,  # before VMs as well
    shift_plans,  # with the shifts
    permissions,  # before VMs, whose actions are words in the same place
    data_centers,
    clusters,
    hosts,
    storage,
    templates,
    pools,
    vms,
    users,
    lock_outs,
    roles,
    jobs,
    events,
    settings,
)
for router in (tokens.router, me, *(noun.router for noun in NOUNS)):
    api.add_router("", router)
