"""Console sessions as pages and API answer with them."""

import time
from typing import Any

from django.utils.translation import gettext as _

from broker.errors import Busy, Refused
from broker.models import ConsoleSession, ConsoleTicket
from broker.operations import console_sessions, consoles
from broker.rules.consoles import Display
from broker.states import ConsoleEnd, ConsoleKind

CONSOLE_WAIT_SECONDS = 3.0
# A page opens those anew by itself: nobody meant them to end.
LOST = (ConsoleEnd.LOST, ConsoleEnd.REOPENED)


def opened(session: ConsoleSession) -> dict[str, Any]:
    """Where the page connects to, once a worker has set the password: said here, once, and nowhere else."""
    try:
        password = shown(session.ticket).password if session.ticket is not None else None
    except Refused:
        # Nobody will use it: whoever tries again is not asked whether to take it over.
        console_sessions.close(user=session.user, session_id=session.pk)
        raise
    return {
        "id": session.pk,
        "name": session.vm.name,
        "kind": session.kind,
        "protocol": session.vm.graphics if session.kind == ConsoleKind.GRAPHICAL else "text",
        "websocket": f"/ws/console/{session.pk}/",
        "password": password,
        "expires": session.expires_at,
    }


def shown(ticket: ConsoleTicket) -> Display:
    """Wait, a short while, for a worker to set the ticket on the host."""
    give_up = time.monotonic() + CONSOLE_WAIT_SECONDS
    while True:
        display = consoles.display(ticket=ticket)
        if display is not None:
            return display
        if time.monotonic() > give_up:
            raise Busy(_("The display could not be opened in time. Please try again in a moment."))
        time.sleep(0.02)


def state(session: ConsoleSession) -> dict[str, Any]:
    """Whether it is open; if not, why, in a sentence, and whether its page may open another one by itself."""
    over = session.is_over()
    reason = session.reason or ConsoleEnd.OVER
    return {
        "id": session.pk,
        "kind": session.kind,
        "open": not over,
        "reason": reason if over else None,
        "message": _message(session, reason) if over else "",
        "again": not over or reason in LOST,
    }


def _message(session: ConsoleSession, reason: str) -> str:
    if reason == ConsoleEnd.TAKEN_OVER and session.ended_by is not None and session.ended_by_id != session.user_id:
        return _("%(name)s took it over.") % {"name": session.ended_by.display_name}
    if reason == ConsoleEnd.TAKEN_OVER:
        return _("You opened it in another window.")
    return str(ConsoleEnd(reason).label)
