"""The password of a ticket, the text of a connection file, and the proxy that it names."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from uuid import UUID

from django.utils.translation import gettext as _

PROXY = re.compile(r"https?://(?P<host>\[[^\]]+\]|[^\s\[\]:/?#@]+):(?P<port>[0-9]{1,5})")
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
MAX_PROXY = 255


@dataclass(frozen=True)
class Display:
    """Where and how a viewer opens a desktop."""

    title: str
    host: str
    port: int
    password: str
    valid_seconds: int
    fullscreen: bool
    remap_ctrl_alt_del: bool
    proxy: str = ""


def password(key: str, ticket_id: UUID) -> str:
    """The ticket's secret, derived so that it never has to be stored: 32 characters (SPICE takes 59 at most)."""
    digest = hmac.new(key.encode(), b"hotdesk console ticket " + ticket_id.bytes, hashlib.sha256).digest()
    return urlsafe_b64encode(digest)[:32].decode()


def connection_file(display: Display) -> str:
    """The virt-viewer file; `%d` in the title is the viewer's own place for the number of the display."""
    lines = [
        "[virt-viewer]",
        "type=spice",
        f"host={display.host}",
        f"port={display.port}",
        f"password={display.password}",
        f"# Password is valid for {display.valid_seconds} seconds.",
        "delete-this-file=1",
        f"fullscreen={int(display.fullscreen)}",
        f"title={display.title}:%d",
        "toggle-fullscreen=shift+f11",
        "release-cursor=shift+f12",
    ]
    if display.remap_ctrl_alt_del:
        lines.append("secure-attention=ctrl+alt+end")
    if display.proxy:
        lines.append(f"proxy={display.proxy}")
    return "\n".join(lines) + "\n"


def file_name(vm_name: str) -> str:
    """`NAME.vv` with nothing in it that a file system or an HTTP header could stumble over."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in vm_name)
    return f"{plain}.vv"


def proxy_problem(address: str) -> str | None:
    """Why this cannot be the address of a SPICE proxy (R071), in a sentence; null when it can."""
    match = PROXY.fullmatch(address)
    if match is None or len(address) > MAX_PROXY or not _is_host(match["host"]):
        return _("SPICE proxy address must be in form protocol://host:port, such as http://proxy.example.com:3128.")
    if not 1 <= int(match["port"]) <= 65535:
        return _("The port of the SPICE proxy must be from 1 to 65535.")
    return None


def _is_host(text: str) -> bool:
    if not text.startswith("["):
        return HOST_NAME.fullmatch(text) is not None
    try:
        IPv6Address(text[1:-1])
    except AddressValueError:
        return False
    return True


def proxy_in_force(*, pool: str, cluster: str, default: str) -> str:
    """The first of the three that is not blank, as a whole (R068, R069)."""
    return pool or cluster or default
