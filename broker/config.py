"""Settings that administrators may change while Hotdesk runs: key, type, range, default, meaning."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker import events
from broker.errors import Invalid, NotFound
from broker.models import Setting
from broker.rules.consoles import proxy_problem

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
SWITCH = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
MASK = "********"

_texts: ContextVar[dict[str, str] | None] = ContextVar("the settings as they were read", default=None)


@dataclass(frozen=True)
class Number:
    """A whole-number setting and the range it may lie in."""

    default: int
    low: int
    high: int
    help: str | Promise
    secret: bool = False

    def read(self, key: str, text: str) -> int:
        """The value; Invalid says what is allowed."""
        if WHOLE_NUMBER.fullmatch(text) and self.low <= int(text) <= self.high:
            return int(text)
        allowed = _("%(key)s must be a whole number from %(low)s to %(high)s.")
        raise Invalid(allowed % {"key": key, "low": self.low, "high": self.high}, field="value")

    def allowed(self) -> str:
        return _("%(low)s to %(high)s") % {"low": self.low, "high": self.high}


@dataclass(frozen=True)
class Switch:
    """A setting that is on or off."""

    default: bool
    help: str | Promise
    secret: bool = False

    def read(self, key: str, text: str) -> bool:
        """The value; Invalid says what is allowed."""
        value = SWITCH.get(text.lower())
        if value is None:
            raise Invalid(_("%(key)s must be true or false.") % {"key": key}, field="value")
        return value

    def allowed(self) -> str:
        return _("true or false")


@dataclass(frozen=True)
class Text:
    """A setting in words; `problem` says why a value that is not blank cannot be."""

    default: str
    help: str | Promise
    problem: Callable[[str], str | None]
    secret: bool = False

    def read(self, key: str, text: str) -> str:
        """The value; Invalid says what is allowed."""
        problem = self.problem(text) if text else None
        if problem:
            raise Invalid(problem, field="value")
        return text

    def allowed(self) -> str:
        return _("text")


@dataclass(frozen=True)
class Choice:
    """A setting that is one of a few words."""

    default: str
    choices: tuple[str, ...]
    help: str | Promise
    secret: bool = False

    def read(self, key: str, text: str) -> str:
        """The value; Invalid says what is allowed."""
        if text not in self.choices:
            allowed = _("%(key)s must be one of: %(choices)s.")
            raise Invalid(allowed % {"key": key, "choices": ", ".join(self.choices)}, field="value")
        return text

    def allowed(self) -> str:
        return ", ".join(self.choices)


Key = Number | Switch | Text | Choice
MOST_OF_A_NOTICE = 500


def _too_long(text: str) -> str | None:
    return _("At most %(most)s characters.") % {"most": MOST_OF_A_NOTICE} if len(text) > MOST_OF_A_NOTICE else None


KEYS: dict[str, Key] = {
    "MaxVmsInPool": Number(1000, 1, 100_000, gettext_lazy("Most VMs one pool may have (R057).")),
    "MaxVmNameLength": Number(64, 1, 255, gettext_lazy("Most characters in the name of a VM.")),
    "VmPoolMonitorIntervalInMinutes": Number(
        5,
        1,
        10_080,
        gettext_lazy(
            "Minutes between the checks that report pools with too few prestarted VMs. "
            "What is missing is started at once, not only then."
        ),
    ),
    "VmPoolMonitorBatchSize": Number(5, 1, 50, gettext_lazy("Most VMs of one pool that are prestarted in one go.")),
    "VmPoolMaxSubsequentFailures": Number(
        3, 1, 100, gettext_lazy("Failed starts in a row after which a VM is put on hold.")
    ),
    "VmGracefulShutdownTimeout": Number(
        30, 0, 3600, gettext_lazy("Seconds a guest gets to shut down before it is turned off.")
    ),
    "TicketValiditySeconds": Number(
        120, 5, 600, gettext_lazy("Seconds a connection file opens the display after it was made.")
    ),
    "TemplateRenewalBatchSize": Number(
        5, 1, 1000, gettext_lazy("Most VMs of one pool that are moved to a newer template version at a time.")
    ),
    "HoldMinutes": Number(
        5, 1, 120, gettext_lazy("Minutes that a desktop is held for somebody who had to wait for it.")
    ),
    "ConnectMinutes": Number(
        30, 1, 1440, gettext_lazy("Minutes that somebody who did not have to wait may take to connect.")
    ),
    "WarningMinutes": Number(
        5, 2, 60, gettext_lazy("Minutes before the end of a desktop's time that its user is warned; again 1 before.")
    ),
    "IdleProcessorPercent": Number(
        5,
        1,
        100,
        gettext_lazy(
            "Percent of one processor below which nothing happens on a desktop, "
            "for the idle limit of pools. Programs that work on count, and so does whoever uses it."
        ),
    ),
    "MaxImageGiB": Number(1024, 1, 65_536, gettext_lazy("Largest disk, in GiB, that an imported image may have.")),
    "EventRetentionDays": Number(
        365, 30, 3650, gettext_lazy("Days that events, and the changes of single fields, are kept.")
    ),
    "SpiceProxyDefault": Text(
        "",
        gettext_lazy("SPICE proxy of pools and clusters that name none, as protocol://host:port; blank for none."),
        proxy_problem,
    ),
    "DirectoryGraceMinutes": Number(
        15,
        0,
        1440,
        gettext_lazy(
            "Minutes after which desktops of somebody are returned whom the directory no longer has. "
            "The display is closed at once."
        ),
    ),
    "ApiTokenDays": Number(365, 1, 3650, gettext_lazy("Most days that a new API token may be valid.")),
    "RequireSecondFactor": Choice(
        "none",
        ("none", "administrators"),
        gettext_lazy(
            "Who must have a second factor besides the password: nobody, or whoever has any role beyond UserRole."
        ),
    ),
    "MinPasswordLength": Number(
        8, 8, 128, gettext_lazy("Fewest characters of a password, whenever one is chosen anew.")
    ),
    "MaintenanceNotice": Text(
        "",
        gettext_lazy("While this is not blank, everybody reads it on every page and no new desktop can be taken."),
        _too_long,
    ),
    "DefaultAutoConvergence": Switch(
        False, gettext_lazy("Whether migrations slow a guest down that writes too fast, unless cluster or VM differ.")
    ),
    "DefaultMigrationCompression": Switch(
        False, gettext_lazy("Whether migrations compress memory (XBZRLE), unless cluster or VM differ.")
    ),
}


@contextmanager
def as_begun() -> Iterator[None]:
    """Within it the settings are as they are now, read all at once: short work asks for many of them, often."""
    token = _texts.set(dict(Setting.objects.values_list("pk", "value")))
    try:
        yield
    finally:
        _texts.reset(token)


def get(key: str) -> Any:
    """The value in force."""
    stored = _text(key)
    return KEYS[key].default if stored is None else KEYS[key].read(key, stored)


def _text(key: str) -> str | None:
    texts = _texts.get()
    if texts is not None:
        return texts.get(key)
    return Setting.objects.filter(pk=key).values_list("value", flat=True).first()


def known(key: str) -> Key:
    """What may be set under this name; NotFound when there is no such key."""
    if key not in KEYS:
        text = _("There is no setting %(key)s. There are: %(keys)s.")
        raise NotFound(text % {"key": key, "keys": ", ".join(KEYS)})
    return KEYS[key]


def shown(key: str, value: Any) -> str:
    """A value in words, with secrets masked."""
    if KEYS[key].secret and value:
        return MASK
    return str(value).lower() if isinstance(value, bool) else str(value)


@transaction.atomic
def put(key: str, text: str, *, by: Any = None) -> Any:
    """Change a value; Invalid says what is allowed, NotFound names no such key."""
    value = known(key).read(key, text.strip())
    before = get(key)
    Setting.objects.update_or_create(pk=key, defaults={"value": str(value)})
    events.record("setting.changed", actor=by, key=key, before=shown(key, before), after=shown(key, value))
    return value


def installation() -> str:
    """The mark that our domains carry, so that those of another Hotdesk, or of nobody, are never touched."""
    mark = _text("Installation")
    if mark is None:
        setting, _created = Setting.objects.get_or_create(pk="Installation", defaults={"value": uuid4().hex})
        mark = setting.value
    return mark
