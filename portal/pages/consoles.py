"""A desktop in the browser: its screen, or its text console."""

from typing import Any
from uuid import UUID

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from broker import access
from broker.errors import Invalid, NotFound, Refused
from broker.models import ConsoleSession, VirtualMachine
from broker.operations import console_doors, console_sessions
from broker.operations.console_doors import Wanted
from broker.states import ConsoleKind
from portal import browser_packages, logins
from portal import console_sessions as answers
from portal import requests as shown
from portal.api import errors

SEE = "view_inventory"
# Pictures and sound that SPICE brings; and xterm writes its own <style>, on the page of the text console alone.
GRAPHICAL_POLICY = {"img-src": ["blob:"], "media-src": ["blob:"]}
TEXT_POLICY = {"style-src": [UNSAFE_INLINE]}


@csp_update(GRAPHICAL_POLICY)  # type: ignore[arg-type]
@never_cache
@login_required
@require_safe
def of_desktop(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """The screen of one's own desktop."""
    return _page_of_desktop(request, request_id, ConsoleKind.GRAPHICAL)


@csp_update(TEXT_POLICY)  # type: ignore[arg-type]
@never_cache
@login_required
@require_safe
def text_of_desktop(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """The text console of one's own desktop."""
    return _page_of_desktop(request, request_id, ConsoleKind.TEXT)


@csp_update(GRAPHICAL_POLICY)  # type: ignore[arg-type]
@never_cache
@login_required
@require_safe
def of_vm(request: HttpRequest, vm_id: UUID) -> HttpResponse:
    """The screen of a VM that administrators run, or of the desktop of somebody who is shown it."""
    return _page_of_vm(request, vm_id, ConsoleKind.GRAPHICAL)


@csp_update(TEXT_POLICY)  # type: ignore[arg-type]
@never_cache
@login_required
@require_safe
def text_of_vm(request: HttpRequest, vm_id: UUID) -> HttpResponse:
    """The text console of a VM."""
    return _page_of_vm(request, vm_id, ConsoleKind.TEXT)


def _page_of_desktop(request: HttpRequest, request_id: UUID, kind: ConsoleKind) -> HttpResponse:
    wish = shown.own(request.user, request_id)
    links = {
        "back": reverse("desktop", args=(request_id,)),
        "open": reverse("desktop-console-open", args=(request_id,)),
        "graphical": reverse("desktop-console", args=(request_id,)),
        "text": reverse("desktop-text-console", args=(request_id,)),
    }
    return _page(request, kind, wish.vm.name if wish.vm else wish.vm_name, links)


def _page_of_vm(request: HttpRequest, vm_id: UUID, kind: ConsoleKind) -> HttpResponse:
    vm = _vm(request, vm_id)
    links = {
        "back": reverse("manage-details", args=("vms", vm_id)),
        "open": reverse("vm-console-open", args=(vm_id,)),
        "graphical": reverse("vm-console", args=(vm_id,)),
        "text": reverse("vm-text-console", args=(vm_id,)),
    }
    return _page(request, kind, vm.name, links)


def _vm(request: HttpRequest, vm_id: UUID) -> VirtualMachine:
    """A VM that the user sees, and may open in some way; which way it takes is seen when it is opened."""
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE)
    if not any(access.can(request.user, action, vm) for action in ("operate_vm", "watch_desktops")):
        text = _("You see %(name)s but your roles do not allow you to open it.") % {"name": vm}
        raise access.denied(request.user, "operate_vm", vm, text)
    return vm


def _page(request: HttpRequest, kind: ConsoleKind, name: str, links: dict[str, str]) -> HttpResponse:
    if not browser_packages.ARE_INSTALLED:
        raise NotFound(_("Desktops cannot be opened in the browser here; open them with Remote Viewer."))
    context = {"name": name, "kind": kind, "links": links, "is_text": kind == ConsoleKind.TEXT}
    return render(request, "consoles/console.html", context)


@never_cache
@login_required
@require_POST
def open_of_desktop(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Asked for by the page's script; what is refused is told in the API's own shape."""
    wish = shown.own(request.user, request_id)
    return _opened(request, lambda wanted: console_doors.open_own(request=wish, wanted=wanted))


@never_cache
@login_required
@require_POST
def open_of_vm(request: HttpRequest, vm_id: UUID) -> HttpResponse:
    """The same, of a VM."""
    vm = _vm(request, vm_id)
    return _opened(request, lambda wanted: console_doors.open_administered(vm=vm, by=request.user, wanted=wanted))


def _opened(request: HttpRequest, open_it: Any) -> HttpResponse:
    try:
        session: ConsoleSession = open_it(_wanted(request))
        return JsonResponse(answers.opened(session), status=201)
    except Refused as refusal:
        return errors.refusal(refusal)


def _wanted(request: HttpRequest) -> Wanted:
    kind, replaces = request.POST.get("kind", ConsoleKind.GRAPHICAL), request.POST.get("replaces", "")
    if kind not in ConsoleKind:
        raise Invalid(_("There is no such kind of console."), field="kind")
    try:
        before = UUID(replaces) if replaces else None
    except ValueError as error:
        raise Invalid(_("There is no such console."), field="replaces") from error
    return Wanted(kind, logins.of_request(request), before, request.POST.get("take_over") == "yes")


@never_cache
@login_required
@require_safe
def state(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Whether a console that one opened still is, and if not, why."""
    return JsonResponse(answers.state(console_sessions.of_user(request.user, session_id)))


@never_cache
@login_required
@require_POST
def close(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Its page is done with it."""
    console_sessions.close(user=request.user, session_id=session_id)
    return HttpResponse(status=204)
