"""What belongs to every page: notices, help, and what the browser keeps for when nothing can be reached."""

import hashlib

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal import browser_packages

# What the offline page is made of.
FILES = ("css/hotdesk.css", "favicon.svg", "js/theme.js", "js/offline.js")


@never_cache
@login_required
@require_safe
def notices(request: HttpRequest) -> HttpResponse:
    """What everybody must know now, for pages that are open already."""
    return render(request, "notices_now.html")


@require_safe
def guide(request: HttpRequest) -> HttpResponse:
    """How it all works, also for whoever cannot sign in yet."""
    return render(request, "help.html")


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """What is in these pages that others made, and under which licences."""
    return render(request, "about.html", {"packages": browser_packages.notices()})


def viewer(request: HttpRequest) -> HttpResponse:
    """How Remote Viewer is installed on each system, and what to do when it does not open."""
    return render(request, "viewer.html")


@never_cache
@require_safe
def offline(request: HttpRequest) -> HttpResponse:
    """The page that browsers keep; it stands alone, and there is nothing personal on it."""
    return HttpResponse(_offline_page())


@never_cache
@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """At the root, because it answers for all that lies below. Another language, or other files: another one."""
    files = [static(file) for file in FILES]
    version = hashlib.sha256("\n".join([_offline_page(), *files]).encode()).hexdigest()[:16]
    context = {"version": version, "page": reverse("offline"), "files": files}
    return HttpResponse(render_to_string("service-worker.js", context), content_type="text/javascript; charset=utf-8")


def _offline_page() -> str:
    return render_to_string("errors/offline.html")
