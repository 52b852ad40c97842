"""My desktops, the line, and the page of one desktop from the wish to its end."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from broker import access
from broker.errors import Invalid
from broker.models import DesktopRequest, Pool
from broker.operations import consoles, deadlines, desktops, mails
from broker.rules import waits
from broker.states import LIVE, Ending, RequestState
from portal import browser_packages, duties, lines
from portal import requests as shown
from portal.cards import cards_of
from portal.connection_files import connection, remote_desktop
from portal.models import Opening
from portal.pages.console_forms import ConsoleOptionsForm


@dataclass(frozen=True)
class Stage:
    """One step of the list on the desktop's page: done, the one under way, or still to come."""

    label: str
    at: datetime | None
    current: bool
    ahead: bool  # it was done before anybody asked


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
    mine = DesktopRequest.objects.filter(user=request.user).not_ended()
    states = list(mine.values_list("pool", "state"))
    wishes = list(shown.readable(mine).order_by("requested_at", "pk")[:100]) if states else []
    shown.look_around(wishes)
    for wish in wishes:
        wish.position = shown.position(wish)
        wish.reason = shown.warning(wish) or " ".join(shown.calls(wish)) or shown.reason(wish)
        wish.wait_words = waits.in_words(wish.wait) if wish.wait else ""
    pools = access.visible(request.user, Pool, "use_pool").order_by("name", "pk")[:200]
    shifts = [mine for mine in duties.mine(request.user).values() if mine.concerns_now]
    shifts.sort(key=lambda mine: (mine.attendance is None, mine.plan.name))
    return {
        "wishes": wishes,
        "cards": cards_of(pools, Counter(pool_id for pool_id, state in states if state in LIVE)),
        "key": uuid4(),
        "shifts": shifts,
        "now": timezone.now(),
    }


@login_required
@require_POST
def take(request: HttpRequest, pool_id: UUID) -> HttpResponse:
    """Ask for a desktop and go to its page."""
    pool = access.get(request.user, Pool, pool_id, see="use_pool")
    # One page has one key for all its pools; the same key for another pool is another wish.
    key = request.POST.get("key", "")[:100]
    wish, _created = desktops.take(user=request.user, pool=pool, idempotency_key=key and f"{key} {pool.pk}")
    return redirect("desktop", wish.pk)


@never_cache
@login_required
@require_safe
def desktop(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """One page for the whole life of a wish; its panel follows the state."""
    wish = shown.own(request.user, request_id)
    return _page(request, wish, _options_form(wish))


def _page(request: HttpRequest, wish: Any, form: ConsoleOptionsForm | None) -> HttpResponse:
    wrong = form is not None and form.is_bound
    context = {**panel_context(wish), "form": form}
    return render(request, "desktops/desktop.html", context, status=422 if wrong else 200)


def _options_form(wish: Any, data: Any = None) -> ConsoleOptionsForm | None:
    """Null once the pool was removed: there is nothing to remember them for."""
    return ConsoleOptionsForm(data, user=wish.user, pool=wish.pool) if wish.pool is not None else None


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
    names = {"pool": wish.pool_name}
    titles = {
        RequestState.STARTING: _("%(pool)s – starting") % names,
        RequestState.READY: _("%(pool)s – ready") % names,
        RequestState.RETURNING: _("%(pool)s – being returned") % names,
        RequestState.ENDED: _("%(pool)s – ended") % names,
    }
    words: lines.Words = {}
    dots = 0
    if position is not None:
        wish.served = shown.served_since(wish)
        words = lines.words(wish)
        total = position + shown.people_behind(wish, lines.DOTS + 1)
        dots = total if total <= lines.DOTS else 0
    warning, calls = shown.warning(wish), shown.calls(wish)
    return {
        "wish": wish,
        "attendance": shown.attendance_of(wish),
        "calls": calls,
        "position": position,
        "reason": shown.reason(wish),
        "warning": warning,
        "held": wish.state == RequestState.READY and wish.ending == Ending.HOLD,
        "may_extend": shown.may_extend(wish),
        "notice": warning or " ".join(calls) or _notice(wish),
        "why": shown.why(wish),
        "title": words.get("title") or titles[wish.state],
        "words": words,
        "stages": _stages(wish),
        "start_longest": wish.ground.start_longest if wish.ground.starts >= waits.FEWEST else None,
        "dots": range(1, dots + 1),
        "in_browser": browser_packages.ARE_INSTALLED,
        "browser_first": browser_packages.ARE_INSTALLED and wish.user.opening == Opening.BROWSER,
        "watchers": shown.watchers(wish),
        "may_leave": wish.state == RequestState.QUEUED or (wish.state == "starting" and wish.vm is None),
    }


def _notice(wish: Any) -> str:
    """What whoever went away meanwhile is called back for."""
    if wish.state != RequestState.READY or wish.connected_at is not None:
        return ""
    return _("Your desktop of the pool %(pool)s is ready.") % {"pool": wish.pool_name}


def _stages(wish: Any) -> list[Stage]:
    times = [
        (_("Asked"), wish.requested_at),
        (_("Desktop chosen"), wish.assigned_at),
        (_("Host chosen"), wish.placed_at),
        (_("Clean disk made"), wish.disk_ready_at),
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
    return [
        Stage(label, at, index == next_one, ahead=at is not None and at < wish.requested_at)
        for index, (label, at) in enumerate(times)
    ]


@login_required
@require_POST
def connect(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Download a connection file, as the options beside the button say; they are remembered for the pool (R028)."""
    wish = shown.own(request.user, request_id)
    form = _options_form(wish, request.POST) if "options" in request.POST else None
    if form is not None and not form.is_valid():
        return _page(request, wish, form)
    if form is not None:
        form.save()
    return connection(consoles.issue(request=wish))


@login_required
@require_POST
def connect_by_rdp(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Download an RDP file, where the desktop offers it."""
    return remote_desktop(shown.own(request.user, request_id))


@login_required
@require_POST
def choose_console_options(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Remember the options without connecting, or leave them to the pool again."""
    wish = shown.own(request.user, request_id)
    form = _options_form(wish, request.POST)
    if form is None:
        return redirect("desktop", request_id)
    if "reset" in request.POST:
        consoles.choose_options(user=request.user, pool=form.pool, chosen={})
    elif form.is_valid():
        form.save()
    else:
        return _page(request, wish, form)
    messages.success(request, _("The options were saved."))
    return redirect("desktop", request_id)


@login_required
@require_POST
def extend(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Put the end of the desktop off, once."""
    deadlines.extend(request=shown.own(request.user, request_id))
    return redirect("desktop", request_id)


@login_required
@require_POST
def ask_for_mail(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Whether to send a mail when the desktop is ready."""
    mails.ask(request=shown.own(request.user, request_id), wanted=request.POST.get("wanted") == "yes")
    return redirect("desktop", request_id)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def report_problem(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Tell the help desk what is wrong; what was typed stays when it cannot be sent."""
    wish = shown.own(request.user, request_id)
    text, problem = request.POST.get("text", ""), ""
    if request.method == "POST":
        try:
            desktops.report_problem(request=wish, text=text)
        except Invalid as error:
            problem = error.message
        else:
            messages.success(request, _("The help desk was told, with what happened so far and when."))
            return redirect("desktop", request_id)
    most = desktops.MOST_PROBLEM
    context = {"wish": wish, "stages": _stages(wish), "text": text, "problem": problem, "most": most}
    return render(request, "desktops/problem.html", context, status=422 if problem else 200)


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
