"""How many consoles and sockets there may be, and who is asked before somebody else's console is taken over."""

from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext as _

MOST_OF_USER = 8
MOST_SOCKETS = 16  # SPICE opens one for each of its channels
MOST_FRAME = 16 * 1024  # bytes from a browser: what noVNC sends at once, and some more


@dataclass(frozen=True)
class Holder:
    """Whoever has a console at this moment: in a browser (`session_id`), or with a viewer of their own."""

    user_id: UUID
    name: str
    session_id: UUID | None


def question(holder: Holder | None, *, user_id: UUID, replaces: UUID | None, take_over: bool) -> str:
    """What is asked before the console is opened; empty where nobody need be asked.

    Whoever comes back in the same page, `replaces` says in place of which session, asks nobody.
    """
    if holder is None or take_over or (holder.session_id is not None and holder.session_id == replaces):
        return ""
    if holder.user_id != user_id:
        return _("Console in use by %(name)s: take over?") % {"name": holder.name}
    if holder.session_id is None:
        return _("You have this console open in a viewer: take over?")
    return _("You have this console open in another window: take over?")
