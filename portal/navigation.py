"""What surrounds every page: the ways through the site, what everybody must know now, and the languages."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from broker import access, config, jobs, leases
from portal import shifts


@dataclass(frozen=True)
class Entry:
    """One way through the site. `key` follows g; `within` is how the names of further addresses of it begin.

    `offered` is asked with the user, and with those of RIGHTS that the user has anywhere.
    """

    name: str
    label: str | Promise
    icon: str
    key: str
    within: tuple[str, ...] = ()
    offered: Callable[[Any, frozenset[str]], bool] = lambda user, held: True


RIGHTS = ("lead_shifts", "view_inventory")
ENTRIES = (
    Entry("home", gettext_lazy("My desktops"), "monitor", "d", within=("desktop", "report-problem")),
    Entry("shifts", gettext_lazy("Shifts"), "calendar-clock", "s", within=("shift-",), offered=shifts.is_concerned),
    Entry("history", gettext_lazy("History"), "history", "h"),
    Entry(
        "manage", gettext_lazy("Administration"), "settings", "m", offered=lambda user, held: "view_inventory" in held
    ),
)


class Shell:
    """Each part is looked up when a template draws it: parts of pages, and pages that stand alone, cost nothing."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.now: datetime = timezone.now()

    @cached_property
    def entries(self) -> list[dict[str, Any]]:
        """The ways that are open to whoever is signed in; none for strangers."""
        user = getattr(self.request, "user", None)
        if user is None or not user.is_authenticated:
            return []
        held = access.held_anywhere(user, *RIGHTS)
        return [
            {"entry": entry, "url": reverse(entry.name), "current": self._current(entry)}
            for entry in ENTRIES
            if entry.offered(user, held)
        ]

    @cached_property
    def maintenance(self) -> str:
        """Why no desktop can be taken now, in the words of an administrator; blank for most of the time."""
        return str(config.get("MaintenanceNotice"))

    @cached_property
    def silence(self) -> leases.Silence | None:
        """Whether nobody is at work behind the pages."""
        return leases.silence()

    @property
    def delayed(self) -> bool:
        """Whether starts wait for the sweep, as far as this web process knows; no query."""
        return jobs.are_delayed()

    def _current(self, entry: Entry) -> str:
        """As aria-current says it; blank for elsewhere."""
        match = self.request.resolver_match
        here = (match.url_name or "") if match else ""
        if here == entry.name:
            return "page"
        return "true" if here.startswith((f"{entry.name}-", *entry.within)) else ""


def navigation(request: HttpRequest) -> dict[str, Any]:
    """For the templates of all pages."""
    return {"shell": Shell(request), "languages": settings.LANGUAGES}
