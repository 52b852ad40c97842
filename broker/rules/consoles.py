"""The password of a ticket, the options and the text of a connection file, and the proxy that it names."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv6Address
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from broker.models.machines import MAX_USB_FILTER
from broker.states import ColorDepth, Effect

PROXY = re.compile(r"https?://(?P<host>\[[^\]]+\]|[^\s\[\]:/?#@]+):(?P<port>[0-9]{1,5})")
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
MAX_PROXY = 255
NAME = "{name}"  # of the VM, in the address at which guests offer RDP
NUMBER = re.compile(r"-1|0x[0-9A-Fa-f]{1,4}|0|[1-9][0-9]{0,4}")  # 010 would be read as eight
# What each part of a rule of a USB filter may be, besides -1 for any: class, vendor, product, version.
USB_LIMITS = (0xFF, 0xFFFF, 0xFFFF, 0xFFFF)
CIPHERS = "DEFAULT"
SECURE_CHANNELS = "main;inputs;cursor;playback;record;display;smartcard;usbredir"


@dataclass(frozen=True)
class Options:
    """How a viewer opens a desktop, as far as its user decides."""

    fullscreen: bool = False
    remap_ctrl_alt_del: bool = True
    usb_autoshare: bool = True
    smartcard: bool = False
    color_depth: str = ColorDepth.NONE
    disabled_effects: tuple[str, ...] = ()
    use_proxy: bool = True


@dataclass(frozen=True)
class Tls:
    """An encrypted display: its port, whose certificate it shows, and who signed that, as PEM."""

    port: int
    subject: str
    ca: str


@dataclass(frozen=True)
class Display:
    """Where and how a viewer opens a desktop. `port` is null where it may be opened encrypted only."""

    title: str
    host: str
    port: int | None
    password: str
    valid_seconds: int
    type: str = "spice"
    options: Options = Options()
    usb_filter: str = ""
    tls: Tls | None = None
    proxy: str = ""


def password(key: str, ticket_id: UUID) -> str:
    """The ticket's secret, derived so that it never has to be stored: 32 characters (SPICE takes 59 at most)."""
    digest = hmac.new(key.encode(), b"hotdesk console ticket " + ticket_id.bytes, hashlib.sha256).digest()
    return urlsafe_b64encode(digest)[:32].decode()


def options_in_force(defaults: dict[str, Any], chosen: dict[str, Any]) -> Options:
    """The defaults of a pool or VM, and above them what the user chose.

    A smart card reader is a device of the desktop: users leave it out, and cannot have one that is not there.
    """
    found = replace(Options(), **{**defaults, **chosen})
    return replace(
        found,
        smartcard=bool(defaults.get("smartcard")) and found.smartcard,
        disabled_effects=in_order(found.disabled_effects),
    )


def in_order(effects: Any) -> tuple[str, ...]:
    """The effects once each, as connection files name them."""
    return tuple(effect for effect in Effect.values if effect in effects)


def connection_file(display: Display) -> str:
    """The virt-viewer file; `%d` in the title is the viewer's own place for the number of the display."""
    options = display.options
    lines = [
        "[virt-viewer]",
        *_lines(
            ("type", display.type),
            ("host", display.host),
            ("port", display.port),
            ("password", display.password),
        ),
        f"# Password is valid for {display.valid_seconds} seconds.",
        *_lines(
            ("delete-this-file", 1),
            ("fullscreen", int(options.fullscreen)),
            ("title", f"{display.title}:%d"),
            ("toggle-fullscreen", "shift+f11"),
            ("release-cursor", "shift+f12"),
            ("secure-attention", "ctrl+alt+end" if options.remap_ctrl_alt_del else None),
        ),
    ]
    if display.type == "spice":
        lines += _spice_lines(display)
    return "\n".join(lines) + "\n"


def _spice_lines(display: Display) -> Iterator[str]:
    options, tls = display.options, display.tls
    depth = None if options.color_depth == ColorDepth.NONE else options.color_depth
    return _lines(
        ("tls-port", tls and tls.port),
        ("enable-smartcard", int(options.smartcard)),
        ("enable-usb-autoshare", int(options.usb_autoshare)),
        ("usb-filter", display.usb_filter or None),
        ("tls-ciphers", tls and CIPHERS),
        ("host-subject", tls and tls.subject),
        ("ca", tls and tls.ca),
        ("color-depth", depth),
        ("disable-effects", ", ".join(options.disabled_effects) or None),
        ("proxy", display.proxy or None),
        ("secure-channels", tls and SECURE_CHANNELS),
    )


def _lines(*pairs: tuple[str, Any]) -> Iterator[str]:
    return (f"{key}={_escaped(str(value))}" for key, value in pairs if value is not None)


def _escaped(value: str) -> str:
    """As GLib's key files have it; a subject whose own commas are escaped must come out of it as it was."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def rdp_file(address: str, *, fullscreen: bool, clipboard: bool) -> str:
    """What Remote Desktop clients open. Who signs in is the guest's affair: the file has no secret."""
    return "".join(
        f"{line}\r\n"
        for line in (
            f"full address:s:{address}",
            f"screen mode id:i:{2 if fullscreen else 1}",
            f"redirectclipboard:i:{int(clipboard)}",
            "prompt for credentials:i:1",
        )
    )


def file_name(vm_name: str, kind: str = "vv") -> str:
    """`NAME.vv` with nothing in it that a file system or an HTTP header could stumble over."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in vm_name)
    return f"{plain}.{kind}"


def rdp_address(pattern: str, vm_name: str) -> str:
    """Where the guest of a VM offers RDP."""
    return pattern.replace(NAME, vm_name)


def rdp_address_problem(pattern: str) -> str | None:
    """Why this cannot say where guests offer RDP, in a sentence; null when it can, as when it is blank."""
    host, _colon, port = pattern.partition(":")
    if not pattern or (NAME in host and _is_host(host.replace(NAME, "vm")) and _is_port(port or "3389")):
        return None
    return _("Give a host name with {name} in place of the VM's name, such as {name}.desktops.example.com.")


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


def usb_filter_problem(text: str) -> str | None:
    """Why this cannot be a USB filter, in a sentence; null when it can, as a blank one."""
    if not text:
        return None
    if len(text) > MAX_USB_FILTER:
        return _("The USB filter may have at most %(most)s characters.") % {"most": MAX_USB_FILTER}
    for rule in text.split("|"):
        if not _is_usb_rule(rule.split(",")):
            text = _(
                "“%(rule)s” is no rule of a USB filter: class,vendor,product,version,allow, such as 8,-1,-1,-1,1. "
                "Rules are joined by |."
            )
            return text % {"rule": rule}
    return None


def _is_usb_rule(parts: list[str]) -> bool:
    if len(parts) != 5 or parts[4] not in ("0", "1"):
        return False
    return all(
        NUMBER.fullmatch(part) and int(part, 0 if part.startswith("0x") else 10) <= limit
        for part, limit in zip(parts[:4], USB_LIMITS, strict=True)
    )


def proxy_problem(address: str) -> str | None:
    """Why this cannot be the address of a SPICE proxy (R071), in a sentence; null when it can."""
    match = PROXY.fullmatch(address)
    if match is None or len(address) > MAX_PROXY or not _is_host(match["host"]):
        return _("SPICE proxy address must be in form protocol://host:port, such as http://proxy.example.com:3128.")
    if not _is_port(match["port"]):
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
