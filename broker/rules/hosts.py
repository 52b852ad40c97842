"""How hosts are addressed."""

import re
from urllib.parse import parse_qs, urlsplit

from django.utils.translation import gettext as _

SCHEME = re.compile(r"qemu(\+(unix|ssh|libssh|libssh2|tls|tcp))?")
PLAIN = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])?(:[0-9]+)?")
MAX_URI = 1000


def uri_problem(uri: str, *, fakes: bool = False) -> str | None:
    """Why this cannot be the libvirt URI of a host, in a sentence; null when it can. `fakes`: for load tests."""
    if fakes and uri.startswith("fake:///"):
        return None
    try:
        parts = urlsplit(uri)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = None, False
    # Other parameters of libvirt's make the worker run programs, or trust anybody.
    plain = parts is not None and set(parse_qs(parts.query)) <= {"socket"} and PLAIN.fullmatch(parts.netloc)
    remote = parts is not None and parts.scheme.split("+")[-1] not in ("qemu", "unix")
    if (
        parts is None
        or not port_fits
        or len(uri) > MAX_URI
        or any(ord(c) <= 32 for c in uri)
        or not plain
        or not SCHEME.fullmatch(parts.scheme)
        or parts.path not in ("/system", "/session")
        or (remote and not parts.hostname)
    ):
        return _("Give a libvirt URI such as qemu:///system, qemu+ssh://root@host/system or qemu+tls://host/system.")
    return None


def address_problem(address: str) -> str | None:
    """Why viewers cannot be sent to this address."""
    if not address or len(address) > 255 or any(ord(c) <= 32 or c in "/;[]" for c in address):
        return _("Give the name or the IP address that viewers reach this host at.")
    return None


def busy_percent(*, busy_before: int, total_before: int, busy: int, total: int) -> int | None:
    """How busy the processors were between two looks at their counters; null while there is one look only."""
    if not total_before or total <= total_before or busy < busy_before:
        return None
    return round(100 * (busy - busy_before) / (total - total_before))
