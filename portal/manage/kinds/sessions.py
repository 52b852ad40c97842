"""Sessions: who wanted a desktop, what was chosen and why, and the proof that it was clean."""

from typing import Any

from django.utils.translation import gettext_lazy

from broker import access
from broker.models import DesktopRequest, Pool
from broker.rules import allocations, desktops
from broker.states import EndReason, RequestState
from portal import requests as shown
from portal.manage.cells import Column, state
from portal.manage.properties import CHOICE, MOMENT, NUMBER, TEXT, Property
from portal.manage.resource import SEE, Resource, Tab
from portal.manage.shared import events_tab


def why_of(row: Any, user: Any) -> dict[str, Any]:
    """What the match found that served it, and those that left it waiting: VMs by verdict, hosts by room."""
    wish = shown.one(DesktopRequest.objects.all(), row.pk)
    matches = [*shown.waits_of(wish), *([wish.allocation] if wish.allocation else [])]
    return {
        "why": shown.why(wish) or shown.reason(wish),
        "matches": [
            {
                "match": match,
                "members": allocations.table(match.members),
                "hosts": [allocations.host_words(host) for host in match.hosts],
                "won": match.pk == wish.allocation_id,
            }
            for match in matches
        ],
    }


def certificate_of(row: Any, user: Any) -> dict[str, Any]:
    """Joined, for a wish may name a certificate that is not written yet, and that is none."""
    return {"wish": DesktopRequest.objects.select_related("certificate").get(pk=row.pk)}


class Sessions(Resource):
    """Every wish of the pools one administers, the newest first; it is the assignment and the history as well."""

    kind = "sessions"
    title = gettext_lazy("Sessions")
    icon = "history"
    model = DesktopRequest
    order = "requested_at"
    descending = True
    named = "user"
    example = gettext_lazy("user = agent* and state = ready")
    select_one = gettext_lazy("Select one session.")
    select_some = gettext_lazy("Select one session.")
    nothing = gettext_lazy("Nobody had one yet.")
    columns = (
        Column("requested_at", gettext_lazy("Asked"), type=MOMENT),
        Column("user", gettext_lazy("User"), "user.username", TEXT, read=lambda wish: wish.user.display_name),
        Column("pool", gettext_lazy("Pool"), "pool_name", TEXT),
        Column("vm", gettext_lazy("Virtual machine"), "vm_name", TEXT),
        Column("state", gettext_lazy("State"), type=CHOICE, choices=RequestState.choices, draw=state),
        Column("ready_at", gettext_lazy("Ready"), type=MOMENT),
        Column("connected_at", gettext_lazy("Connected"), type=MOMENT),
        Column("ended_at", gettext_lazy("Ended"), type=MOMENT),
        Column(
            "end_reason",
            gettext_lazy("How it ended"),
            type=CHOICE,
            choices=EndReason.choices,
            read=lambda wish: (
                desktops.outcome(wish.end_reason, wish.ending) if wish.state == RequestState.ENDED else ""
            ),
        ),
        Column("ticket", gettext_lazy("Ticket"), type=NUMBER, number=True, shown=False),
        Column("attempts", gettext_lazy("Failed starts"), type=NUMBER, number=True, shown=False),
        Column("placed_at", gettext_lazy("Host chosen"), type=MOMENT, shown=False),
        Column("disk_ready_at", gettext_lazy("Clean disk made"), type=MOMENT, shown=False),
        Column("started_at", gettext_lazy("Switched on"), type=MOMENT, shown=False),
        Column("returned_at", gettext_lazy("Given back"), type=MOMENT, shown=False),
        Column("ends_at", gettext_lazy("Time ends"), type=MOMENT, shown=False),
    )
    properties = (Property("layer", "certificate__layer", TEXT, gettext_lazy("Layer")),)
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/facts.html"),
        Tab("why", gettext_lazy("Why"), "manage/tabs/why.html", why_of),
        Tab("certificate", gettext_lazy("Certificate"), "manage/tabs/certificate.html", certificate_of),
        events_tab("request_id"),
    )

    def visible(self, user: Any) -> Any:
        """Of pools that were removed only whoever sees everything sees what there was."""
        if access.everywhere(user, SEE):
            return DesktopRequest.objects.all()
        return DesktopRequest.objects.filter(pool__in=access.visible(user, Pool, SEE))

    def detailed(self, rows: Any) -> Any:
        return rows.select_related("user")
