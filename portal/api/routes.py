"""All routes of API v1 together."""

from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from django.views.decorators.csrf import csrf_exempt
from ninja import Router, Schema
from pydantic import StrictBool

from broker.states import Scope
from portal import preferences
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
from portal.api.shapes import require_values
from portal.api.tokens import Bearer
from portal.api.values import Change
from portal.models import Opening

api = DescribedAPI(
    title="Hotdesk",
    version="1",
    description="Take desktops, stand in line, give them back; administer pools.",
    auth=Bearer(),
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


class Preferences(Schema):
    """What the account remembers; a blank language or theme is left to each browser."""

    language: str
    theme: str
    opening: Opening
    notifications: bool


class PreferencesPatch(Change):
    language: Literal["", "en", "ko"] | None = None
    theme: Literal["", "auto", "light", "dark"] | None = None
    opening: Opening | None = None
    notifications: StrictBool | None = None


@me.get("/me/preferences", response=Preferences, summary="What I chose for all my browsers")
def get_preferences(request: HttpRequest) -> dict[str, Any]:
    return preferences.of(request.user)


@me.patch("/me/preferences", response=Preferences, summary="Choose it")
def change_preferences(request: HttpRequest, values: PreferencesPatch) -> dict[str, Any]:
    """The language of answers follows at once."""
    changes = values.model_dump(exclude_unset=True)
    require_values(changes)
    preferences.keep(user=request.user, changes=changes)
    return preferences.of(request.user)


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
# What a token for one's own desktops opens; the others are for those that read, or may do everything.
OF_DESKTOPS = (me, desktops.router, console_sessions.router)
for router in (tokens.router, me, *(noun.router for noun in NOUNS)):
    api.add_router("", router, auth=Bearer(Scope.DESKTOPS) if router in OF_DESKTOPS else Bearer())
