"""The password of a ticket and the text of a connection file."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from uuid import UUID


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
    return "\n".join(lines) + "\n"


def file_name(vm_name: str) -> str:
    """`NAME.vv` with nothing in it that a file system or an HTTP header could stumble over."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in vm_name)
    return f"{plain}.vv"
