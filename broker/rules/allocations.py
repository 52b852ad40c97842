"""Why somebody got this desktop, or none yet: the words for what a match of line and VMs found."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from broker.states import HostStatus, OfferRule

# Every VM of a pool is counted under exactly one of these, in this order: the first that applies.
VERDICTS = {
    "in_use": gettext_noop("in use"),
    "creating": gettext_noop("still being made"),
    "resetting": gettext_noop("being cleaned after its last user"),
    "error": gettext_noop("on hold after an error"),
    "administrator": gettext_noop("in use by an administrator, or changed and not released"),
    "maintenance": gettext_noop("in maintenance"),
    "faulty": gettext_noop("marked as faulty"),
    "removing": gettext_noop("being removed"),
    "unreachable": gettext_noop("running on a host that does not answer"),
    "no_room": gettext_noop("free, but no host it may start on has room"),
    "ready": gettext_noop("offered: running and ready"),
    "starting": gettext_noop("offered: starting already"),
    "off": gettext_noop("offered: off and clean"),
}


def table(members: dict[str, int]) -> list[tuple[str, int]]:
    """What became of each VM of the pool in one match; what did not occur is left out."""
    return [(_(VERDICTS[verdict]), members[verdict]) for verdict in VERDICTS if members.get(verdict)]


def host_words(found: dict[str, Any]) -> str:
    """A host of the table in words."""
    words = {"host": found["name"], "free": found["free_mib"], "status": HostStatus(found["status"]).label}
    if found["status"] != HostStatus.UP:
        return _("%(host)s: %(status)s, starts nothing") % words
    return _("%(host)s: %(free)s MiB free") % words


def reason(rule: str, *, ticket: int, vm: str) -> str:
    """Why this VM went to this person, in one sentence."""
    words = {"vm": vm, "ticket": ticket, "rule": OfferRule(rule).label}
    return _("%(vm)s was given to ticket %(ticket)s, the first in line. %(rule)s") % words
