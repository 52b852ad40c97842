"""Settings that administrators may change while Hotdesk runs: key, type, range, default, meaning."""

import re
from dataclasses import dataclass
from uuid import uuid4

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker.errors import Invalid, NotFound
from broker.models import Setting

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True)
class Key:
    """A whole-number setting and the range it may lie in."""

    default: int
    low: int
    high: int
    help: str | Promise


KEYS: dict[str, Key] = {
    "MaxVmsInPool": Key(1000, 1, 100_000, gettext_lazy("Most VMs one pool may have (R057).")),
    "VmGracefulShutdownTimeout": Key(
        30, 0, 3600, gettext_lazy("Seconds a guest gets to shut down before it is turned off.")
    ),
    "TicketValiditySeconds": Key(
        120, 5, 600, gettext_lazy("Seconds a connection file opens the display after it was made.")
    ),
    "VmPoolMaxSubsequentFailures": Key(
        3, 1, 100, gettext_lazy("Failed starts in a row after which a VM is put on hold.")
    ),
    "VmPoolMonitorBatchSize": Key(5, 1, 50, gettext_lazy("Most VMs of one pool that are prestarted in one go.")),
}


def get(key: str) -> int:
    """The value in force."""
    stored = Setting.objects.filter(pk=key).values_list("value", flat=True).first()
    return KEYS[key].default if stored is None else int(stored)


def put(key: str, text: str) -> int:
    """Change a value; Invalid says what is allowed, NotFound names no such key."""
    known = KEYS.get(key)
    if known is None:
        raise NotFound(_("There is no setting %(key)s.") % {"key": key})
    if not WHOLE_NUMBER.fullmatch(text.strip()) or not known.low <= int(text) <= known.high:
        raise Invalid(
            _("%(key)s must be a whole number from %(low)s to %(high)s.")
            % {"key": key, "low": known.low, "high": known.high},
            field="value",
        )
    Setting.objects.update_or_create(pk=key, defaults={"value": str(int(text))})
    return int(text)


def installation() -> str:
    """The mark that our domains carry, so that those of another Hotdesk, or of nobody, are never touched."""
    setting, _created = Setting.objects.get_or_create(pk="Installation", defaults={"value": uuid4().hex})
    return setting.value
