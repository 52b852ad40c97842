"""My desktops, the line, and the page of one desktop from the wish to its end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from broker import access
from broker.models import DesktopRequest, Pool, with_counts
from broker.operations import consoles, desktops
from broker.states import RequestState
from portal import requests as shown
from portal.api.desktops import connection

DOTS = 8  # a line this short is drawn person by person


@dataclass(frozen=True)
class Stage:
    """One step of the list on the desktop's page: done, the one under way, or still to come."""

    label: str
    at: datetime | None
    current: bool


@never_cache
@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What I have, what I wait for, and the pools I may take from."""
    return render(request, "desktops/home.html", _home_context(request))


@never_cache
@login_required
@require_safe
def cards(request: HttpRequest) -> HttpResponse:
    """The changing part of the home page alone."""
    return render(request, "desktops/cards.html", _home_context(request))


def _home_context(request: HttpRequest) -> dict[str, Any]:
    mine = shown.readable(DesktopRequest.objects.filter(user=request.user).not_ended())
    wishes = list(mine.order_by("requested_at", "pk")[:100])
    shown.look_around(wishes)
    for wish in wishes:
        wish.position = shown.position(wish)
        wish.reason = shown.reason(wish)
    rows = with_counts(access.visible(request.user, Pool, "use_pool"), request.user)
    pools: list[Any] = list(rows.select_related("template", "template_version").order_by("name", "pk")[:200])
    for pool in pools:
        pool.at_limit = pool.mine >= pool.max_vms_per_user
        # The key makes a second click, or a reload of the answer, the same wish.
        pool.key = uuid4()
        pool.free_percent = round(100 * pool.free / pool.size) if pool.size else 0
    return {"wishes": wishes, "pools": pools}


@login_required
@require_POST
def take(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Ask for a desktop and go to its page."""
    pool = access.get(request.user, Pool, pool_id, see="use_pool")
    key = request.POST.get("key", "")[:100] or None
    wish, _created = desktops.take(user=request.user, pool=pool, idempotency_key=key)
    return redirect("desktop", wish.pk)


@never_cache
@login_required
@require_safe
def desktop(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """One page for the whole life of a wish; its panel follows the state."""
    wish = shown.own(request.user, request_id)
    options = consoles.options_of(user=request.user, pool=wish.pool)
    return render(request, "desktops/desktop.html", {**panel_context(wish), "options": options})


@never_cache
@login_required
@require_safe
def panel(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """The changing part alone, for when live updates do not get through."""
    response = render(request, "desktops/panel.html", panel_context(shown.own(request.user, request_id)))
    return response


def panel_context(wish: Any) -> dict[str, Any]:
    """What the panel shows of a wish, the same for pages and live updates."""
    position = shown.position(wish)
    names = {"pool": wish.pool_name, "place": position}
    titles = {
        RequestState.QUEUED: _("(%(place)s) %(pool)s – in line") % names,
        RequestState.STARTING: _("%(pool)s – starting") % names,
        RequestState.READY: _("%(pool)s – ready") % names,
        RequestState.RETURNING: _("%(pool)s – being returned") % names,
        RequestState.ENDED: _("%(pool)s – ended") % names,
    }
    behind = _people_behind(wish) if position else 0
    total = (position or 0) + behind
    return {
        "wish": wish,
        "position": position,
        "reason": shown.reason(wish),
        "title": titles[wish.state],
        "stages": _stages(wish),
        "dots": range(1, total + 1) if 0 < total <= DOTS else (),
        "may_leave": wish.state == RequestState.QUEUED or (wish.state == "starting" and wish.vm is None),
    }


def _people_behind(wish: Any) -> int:
    later = DesktopRequest.objects.filter(pool=wish.pool_id, ticket__gt=wish.ticket)
    return min(later.unserved().count(), DOTS + 1)


def _stages(wish: Any) -> list[Stage]:
    times = [
        (_("Asked"), wish.requested_at),
        (_("Desktop chosen"), wish.assigned_at),
        (_("Switched on"), wish.started_at),
        (_("Ready"), wish.ready_at),
        (_("Connected"), wish.connected_at),
    ]
    if wish.state in (RequestState.RETURNING, RequestState.ENDED):
        times = [stage for stage in times if stage[1]]
        # Whoever left the line had nothing that could be cleaned.
        if wish.returned_at:
            times.append((_("Given back"), wish.returned_at))
        times.append((_("Clean again") if wish.returned_at else _("Ended"), wish.ended_at))
    next_one = next((index for index, (_label, at) in enumerate(times) if at is None), None)
    return [Stage(label, at, index == next_one) for index, (label, at) in enumerate(times)]


@login_required
@require_POST
def connect(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Download a connection file, as the options beside the button say; they are remembered for the pool (R028)."""
    wish = shown.own(request.user, request_id)
    if "options" in request.POST:
        consoles.choose_options(
            user=request.user,
            pool=wish.pool,
            fullscreen="fullscreen" in request.POST,
            remap_ctrl_alt_del="remap_ctrl_alt_del" in request.POST,
        )
    return connection(consoles.issue(request=wish))


@login_required
@require_POST
def restart(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Restart the guest."""
    desktops.restart(request=shown.own(request.user, request_id))
    messages.success(request, _("The desktop is restarting; it stays yours."))
    return redirect("desktop", request_id)


@login_required
@require_POST
def give_back(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Leave the line, or return the desktop."""
    wish = shown.own(request.user, request_id)
    if wish.state != RequestState.ENDED:
        desktops.give_back(request=wish)
    return redirect("desktop", request_id)
