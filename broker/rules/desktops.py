"""Why a wish is where it is, in a sentence for whoever waits, and the steps it goes through."""

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from broker.states import Ending, EndReason, RequestState


@dataclass(frozen=True)
class Surroundings:
    """What a pool looks like this moment."""

    size: int
    free: int
    in_use: int
    resetting: int
    creating: int
    hosts_up: int
    hosts_in_maintenance: int = 0
    no_room: int = 0
    held: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a wish has come."""

    state: str
    assigned: bool
    seen_running: bool
    end_reason: str | None
    halted: bool = False
    running: bool = True
    return_asked: bool = False
    revoked: bool = False
    ending: str | None = None


def reason(progress: Progress, around: Surroundings) -> str:
    """One sentence; empty for a desktop that is ready."""
    match progress.state:
        case RequestState.QUEUED:
            return _why_waiting(around)
        case RequestState.STARTING if not progress.assigned:
            return _(
                "The desktop chosen for you could not be started. You keep first claim: the next free one is yours."
            )
        case RequestState.STARTING if progress.seen_running:
            return _("Your desktop is starting. It is ready as soon as its system has booted.")
        case RequestState.STARTING:
            return _("A desktop was chosen for you and is being switched on.")
        case RequestState.READY if progress.revoked:
            return _("Your permission on the pool was removed. An administrator decides what becomes of the desktop.")
        case RequestState.READY if progress.return_asked:
            return _("You asked for its return: an administrator does that. Until then it stays yours.")
        case RequestState.READY if progress.halted:
            return _("Your desktop is shut down. It stays yours with all that is on it: start it again at any time.")
        case RequestState.READY if not progress.running:
            return _("Your desktop is starting. It is ready as soon as its system has booted.")
        case RequestState.RETURNING:
            return _("Your desktop is being shut down, and everything on it is deleted.")
        case RequestState.ENDED:
            return outcome(progress.end_reason, progress.ending)
    return ""


def outcome(end_reason: str | None, ending: str | None) -> str:
    """How it ended, in a sentence; where its time had passed, which time."""
    if end_reason == EndReason.EXPIRED and ending:
        return str(Ending(ending).label)
    return str(EndReason(str(end_reason)).label)


def _why_waiting(around: Surroundings) -> str:
    if not around.hosts_up and around.hosts_in_maintenance:
        return _("The hosts of this pool are in maintenance. Your place is kept.")
    if not around.hosts_up:
        return _("The hosts of this pool do not answer at the moment. Your place is kept.")
    if around.creating and around.creating == around.size:
        return _("The desktops of this pool are still being made.")
    if around.resetting:
        return _("The next desktop is being cleaned.")
    if around.free and around.no_room:
        return _("Desktops are free, but no host has room for another one. Your place is kept.")
    if around.free:
        return _("A desktop is free and is being chosen for you.")
    if around.in_use >= around.size:
        return ngettext("The only desktop is in use.", "All %(size)s desktops are in use.", around.size) % {
            "size": around.size
        }
    if around.held and around.in_use:
        words = {"in_use": around.in_use, "held": around.held}
        return _("%(in_use)s desktops are in use, and %(held)s cannot be offered at the moment.") % words
    return _("No desktop can be offered at the moment. Your place is kept.")
