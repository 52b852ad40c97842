"""Events: what happened, to whom, by whom, and why."""

from typing import Any

from django.utils.translation import gettext_lazy

from broker import audit
from broker.events import KINDS, sentence
from broker.models import Event
from portal import events
from portal.manage.cells import Column
from portal.manage.properties import CHOICE, MOMENT, TEXT, Property
from portal.manage.resource import Resource, Tab
from portal.templatetags.hotdesk import moment, state

SEVERITIES = [
    (Event.Severity.INFO, gettext_lazy("Information")),
    (Event.Severity.WARNING, gettext_lazy("Warning")),
    (Event.Severity.ERROR, gettext_lazy("Error")),
]


def severity_cell(event: Any) -> Any:
    return state(event.severity, dict(SEVERITIES)[event.severity])


def actor_of(event: Any) -> str:
    return event.actor.display_name if event.actor else "Hotdesk"


def changes_of(event: Event, user: Any) -> dict[str, Any]:
    """What the same request changed on the rows that the event is about, field by field."""
    keys = {event.pool_id, event.vm_id, event.host_id, event.subject_id} - {None}
    return {"changes": audit.changes_of(event.order_id, keys) if event.order_id and keys else []}


class Events(Resource):
    """The record of everything the user may see."""

    kind = "events"
    title = gettext_lazy("Events")
    icon = "scroll-text"
    model = Event
    order = "at"
    descending = True
    named = "kind"
    example = gettext_lazy("severity = error and at = today")
    refresh_seconds = 3
    live_tail = True
    select_one = gettext_lazy("Select one event.")
    select_some = gettext_lazy("Select one event.")
    columns = (
        Column("at", gettext_lazy("Time"), type=MOMENT, draw=lambda event: moment(event.at, "medium")),
        Column("severity", gettext_lazy("Severity"), type=CHOICE, choices=SEVERITIES, draw=severity_cell),
        Column("what", gettext_lazy("What happened"), read=sentence),
        Column("actor", gettext_lazy("By"), "actor.username", TEXT, read=actor_of),
        Column("outcome", gettext_lazy("Outcome"), type=CHOICE, choices=Event.Outcome.choices),
        Column("address", gettext_lazy("From"), type=TEXT, shown=False),
        Column(
            "kind",
            gettext_lazy("Kind"),
            type=CHOICE,
            choices=lambda: [(kind, kind) for kind in KINDS],
            shown=False,
        ),
    )
    properties = (
        Property("pool", "facts__pool", TEXT, gettext_lazy("Pool")),
        Property("vm", "facts__vm", TEXT, gettext_lazy("Virtual machine")),
        Property("host", "facts__host", TEXT, gettext_lazy("Host")),
        Property("user", "facts__user", TEXT, gettext_lazy("User")),
        Property("name", "facts__name", TEXT, gettext_lazy("Name")),
        Property("reason", "facts__reason", TEXT, gettext_lazy("Reason")),
    )
    tabs = (Tab("general", gettext_lazy("General"), "manage/tabs/event.html", changes_of),)

    def visible(self, user: Any) -> Any:
        return events.visible(user)

    def may(self, user: Any, permission: str, rows: list[Any]) -> bool:
        return False

    def label(self, row: Any) -> str:
        return sentence(row)
