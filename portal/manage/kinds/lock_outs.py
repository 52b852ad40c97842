"""Lock-outs: who must wait after sign-ins that failed."""

from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.utils.translation import gettext_lazy, ngettext

from broker.operations import lock_outs
from portal.manage.cells import Column
from portal.manage.kinds.users import PeopleResource
from portal.manage.properties import MOMENT, NUMBER, TEXT
from portal.manage.resource import Action, Tab, each


def unlocked(count: int) -> str:
    return ngettext("%(count)s was unlocked.", "%(count)s were unlocked.", count) % {"count": count}


class LockOuts(PeopleResource):
    """The list of lock-outs; the newest first."""

    kind = "lock-outs"
    title = gettext_lazy("Lock-outs")
    icon = "lock"
    model = AccessAttempt
    order = "attempt_time"
    descending = True
    named = "username"
    example = gettext_lazy("username = agent*")
    select_one = gettext_lazy("Select one lock-out.")
    select_some = gettext_lazy("Select at least one lock-out.")
    nothing = gettext_lazy("Nobody is locked out.")
    columns = (
        Column("username", gettext_lazy("User name"), type=TEXT, read=lock_outs.name_of),
        Column("address", gettext_lazy("Address"), "ip_address", TEXT),
        Column("failures", gettext_lazy("Failed sign-ins"), "failures_since_start", NUMBER, number=True),
        Column("attempt_time", gettext_lazy("Last failure"), type=MOMENT),
        Column(
            "until",
            gettext_lazy("Locked out until"),
            read=lambda row: row.attempt_time + settings.AXES_COOLOFF_TIME,
        ),
    )
    tabs = (Tab("general", gettext_lazy("General"), "manage/tabs/facts.html"),)
    actions = (
        Action(
            "unlock",
            gettext_lazy("Unlock"),
            each(lock_outs.unlock, "lock_out", unlocked),
            "manage_users",
            "lock-open",
            leaves=True,
        ),
    )

    def visible(self, user: Any) -> Any:
        rows = lock_outs.in_force()
        return rows if self.offered(user) else rows.none()

    def count(self, user: Any) -> int:
        return lock_outs.in_force().count()

    def key(self, text: str) -> Any:
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None

    def label(self, row: Any) -> str:
        return lock_outs.name_of(row)

    def may_create(self, user: Any) -> bool:
        return False
