"""How much of this machine's work stands still, by its kernel's own account (PSI)."""

import re
from pathlib import Path
from urllib.parse import urlsplit

ACCOUNTS = ("cpu", "io", "memory")
SOME = re.compile(r"^some avg10=(?P<percent>[0-9.]+)", re.MULTILINE)


def stalled_percent(uri: str, accounts: Path = Path("/proc/pressure")) -> int | None:
    """The worst of processors, disks and memory in the last ten seconds; null for hosts that are other machines."""
    if urlsplit(uri).hostname:
        return None
    found = [_some(accounts / name) for name in ACCOUNTS]
    known = [percent for percent in found if percent is not None]
    return round(max(known)) if known else None


def _some(account: Path) -> float | None:
    """Null where the kernel keeps no such account."""
    try:
        some = SOME.search(account.read_text())
    except OSError:
        return None
    return float(some["percent"]) if some else None
