"""The views of the Administration Portal. Each serves every kind; what differs is in the kinds' declarations."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from broker import access
from broker.errors import Busy, Conflict, Denied, Invalid, NotFound
from broker.models.base import Protected
from portal.manage import registry
from portal.manage.details import Button, details_of, toolbar
from portal.manage.listing import Listing
from portal.manage.query import complete as suggestions
from portal.manage.resource import MOST_CHOSEN, Action, Outcome, Resource
from portal.spreadsheets import download

PART = "X-Part"  # the page's script asks for the changing part of a page alone
MOST_REFUSALS = 5


@never_cache
@login_required
@require_safe
def index(request: HttpRequest, kind: str) -> HttpResponse:
    """The list of a kind, with the details of the one that is selected."""
    resource = registry.find(kind, request.user)
    listing = Listing(resource, request)
    rows, after = listing.page()
    selected = listing.selected()
    context = {
        "listing": listing,
        "rows": rows,
        "next": listing.address(after=after) if after else "",
        "first": listing.address(after=None),
        "kept_columns": listing.kept_columns(),
        "export_url": f"{reverse('manage-export', args=(kind,))}?{urlencode(listing.asked())}",
        "total": listing.total(),
        "selected": selected,
        "selected_keys": {resource.row_key(row) for row in selected},
        **_buttons(toolbar(resource, request.user, selected)),
        "back": request.get_full_path(),
        **(details_of(resource, selected[0], request, in_list=listing) if len(selected) == 1 else {}),
    }
    return page(request, "manage/list.html", resource, context)


def _buttons(buttons: list[Button]) -> dict[str, Any]:
    return {"toolbar": buttons, "has_folded": any(button.folded for button in buttons)}


@never_cache
@login_required
@require_safe
def details(request: HttpRequest, kind: str, key: str) -> HttpResponse:
    """One row, on a page of its own."""
    resource = registry.find(kind, request.user)
    row = resource.get(request.user, key)
    context = {
        **_buttons(toolbar(resource, request.user, [row], new=False)),
        "selected": [row],
        "back": request.get_full_path(),
        **details_of(resource, row, request),
    }
    return page(request, "manage/details_page.html", resource, context)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, kind: str, key: str = "") -> HttpResponse:
    """New or Edit: a page of its own, or a dialog where the script asks for the form alone."""
    resource = registry.find(kind, request.user)
    row = resource.get(request.user, key) if key else None
    _require_form(resource, request.user, row)
    make = resource.new_form if row is None else resource.edit_form
    back = back_of(request, resource.url)
    form = make(request.POST if request.method == "POST" else None, user=request.user, row=row, given=request.GET)
    refused = False
    if request.method == "POST" and form.is_valid():
        try:
            saved = form.save()
        except (Invalid, Conflict, Denied) as error:
            form.refuse(error)
            refused = isinstance(error, Denied)
        else:
            messages.success(request, saved)
            return done(request, back)
    context = {"form": form, "back": back, "row": row}
    status = 403 if refused else 422 if form.errors else 200
    return page(request, "manage/form.html", resource, context, status=status)


def _require_form(resource: Resource, user: Any, row: Any) -> None:
    if (resource.new_form if row is None else resource.edit_form) is None:
        raise NotFound(_("There is nothing at this address."))
    allowed = resource.may_create(user) if row is None else resource.may(user, resource.edit_permission, [row])
    if not allowed:
        raise _denied(user, resource.edit_permission, [row])
    reason = resource.why_not_edited(row) if row is not None else ""
    if reason:
        raise Conflict(str(reason))


def _denied(user: Any, permission: str, rows: list[Any]) -> Denied:
    """With advice about the first object that the right is missing on, where roles are given on such objects."""
    message = _("Your roles do not allow this.")
    missing = (row for row in rows if isinstance(row, Protected) and not access.can(user, permission, row))
    row = next(missing, None)
    return access.denied(user, permission, row, message) if row is not None else Denied(message)


@login_required
@require_POST
def act(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    """Do something with one or many rows; what cannot be undone is asked about first."""
    resource = registry.find(kind, request.user)
    action = resource.action(name)
    keys = list(dict.fromkeys(request.POST.getlist("id")))
    back = back_of(request, resource.url)
    rows = resource.chosen(request.user, keys[: MOST_CHOSEN + 1]) if keys else []
    if not rows or (action.one and len(rows) > 1):
        messages.error(request, str(resource.select_one if action.one else resource.select_some))
        return done(request, back)
    if not resource.may(request.user, action.permission, rows):
        raise _denied(request.user, action.permission, rows)
    reasons = list(dict.fromkeys(str(reason) for row in rows if (reason := action.possible(row))))
    if reasons:
        return _tell(request, back, Outcome(refusals=tuple(reasons)))
    if action.asks:
        return _ask(request, resource, action, rows, back)
    return _run(request, action, rows, back, {})


def _ask(request: HttpRequest, resource: Resource, action: Action, rows: list[Any], back: str) -> HttpResponse:
    """The question first, then the answer to it."""
    answered = "confirmed" in request.POST
    form = action.form(request.POST if answered else None, user=request.user, rows=rows) if action.form else None
    typed, error = action.typed(rows), ""
    if answered and typed and request.POST.get("typed", "").strip() != typed:
        error = _("Type the name exactly as it is shown.")
    if answered and not error and (form is None or form.is_valid()):
        try:
            return _run(request, action, rows, back, form.cleaned_data if form else {})
        except (Invalid, Conflict) as refusal:
            error = refusal.message
    context = {
        "action": action,
        "rows": rows,
        "question": action.question(rows) if action.question else "",
        "form": form,
        "typed": typed,
        "error": error,
        "back": back,
    }
    status = 422 if error or (form and form.errors) else 200
    return page(request, "manage/question.html", resource, context, status=status)


def _run(request: HttpRequest, action: Action, rows: list[Any], back: str, values: dict[str, Any]) -> HttpResponse:
    """Call the operation. Where nothing was asked, a refusal is told on the page the person came from."""
    try:
        result = action.run(rows, request.user, values)
    except (Invalid, Conflict, Busy) as error:
        if action.asks:
            raise
        return _tell(request, back, Outcome(refusals=(error.message,)))
    if isinstance(result, HttpResponse):
        return result
    gone = action.leaves and result.done
    return _tell(
        request, reverse("manage-list", args=(request.resolver_match.kwargs["kind"],)) if gone else back, result
    )


def _tell(request: HttpRequest, back: str, outcome: Outcome) -> HttpResponse:
    if outcome.done:
        messages.success(request, outcome.done)
    for refusal in outcome.refusals[:MOST_REFUSALS]:
        messages.error(request, refusal)
    more = len(outcome.refusals) - MOST_REFUSALS
    if more > 0:
        messages.error(request, _("And %(more)s more like these.") % {"more": more})
    return done(request, back)


def done(request: HttpRequest, back: str) -> HttpResponse:
    """Back to where the person was; the script only hears where that is, and redraws what is shown."""
    if PART in request.headers:
        return HttpResponse(status=204, headers={"X-Location": back})
    return redirect(back)


def back_of(request: HttpRequest, otherwise: str) -> str:
    """The page of the portal that the person came from."""
    wanted = request.POST.get("back") or request.GET.get("back", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return wanted if safe and wanted.startswith("/manage/") else otherwise


@never_cache
@login_required
@require_safe
def export(request: HttpRequest, kind: str) -> HttpResponse:
    """The whole list that the query finds as CSV, sent while it is read."""
    resource = registry.find(kind, request.user)
    listing = Listing(resource, request)
    if listing.error:
        return HttpResponse(listing.error, status=400, content_type="text/plain; charset=utf-8")
    return download(kind, listing.lines())


@never_cache
@login_required
@require_safe
def complete(request: HttpRequest, kind: str) -> HttpResponse:
    """What could come next in a query."""
    resource = registry.find(kind, request.user)
    start, offers = suggestions(request.GET.get("q", ""), resource.vocabulary())
    items = [{"text": offer.text, "label": offer.label} for offer in offers[:50]]
    return JsonResponse({"start": start, "items": items})


@vary_on_headers(PART)
def page(
    request: HttpRequest, template: str, resource: Resource | None, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """A page with everything around it, or its changing part alone."""
    alone = PART in request.headers
    layout = "manage/part.html" if alone else "manage/base.html"
    return render(
        request, template, {"layout": layout, "alone": alone, "resource": resource, **context}, status=status
    )


def require_administrator(user: Any) -> None:
    """For those who administer nothing the portal does not exist (I6)."""
    if not access.administers(user):
        raise NotFound(_("There is nothing at this address."))
