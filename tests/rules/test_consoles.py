"""The ticket's password and the connection file."""

import configparser
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules.consoles import (
    Display,
    Options,
    Tls,
    connection_file,
    file_name,
    options_in_force,
    password,
    proxy_in_force,
    proxy_problem,
    rdp_address,
    rdp_address_problem,
    rdp_file,
    usb_filter_problem,
)

SHOWN = Display(
    title="desk-1",
    host="127.0.0.1",
    port=5901,
    password="pw",
    valid_seconds=120,
)
CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
EVERYTHING = replace(
    SHOWN,
    options=Options(
        fullscreen=True,
        smartcard=True,
        color_depth="16",
        disabled_effects=("animation", "wallpaper"),
    ),
    usb_filter="8,-1,-1,-1,1|-1,-1,-1,-1,0",
    tls=Tls(5902, "O=Desks\\, Chairs,CN=kvm1", CA),
    proxy="http://proxy:3128",
)


def options(display: Display) -> dict[str, str]:
    file = configparser.ConfigParser(interpolation=None)
    file.read_string(connection_file(display))
    assert file.sections() == ["virt-viewer"]
    return dict(file["virt-viewer"])


def test_the_file_opens_the_display_once() -> None:
    assert options(SHOWN) == {
        "type": "spice",
        "host": "127.0.0.1",
        "port": "5901",
        "password": "pw",
        "delete-this-file": "1",
        "fullscreen": "0",
        "title": "desk-1:%d",
        "toggle-fullscreen": "shift+f11",
        "release-cursor": "shift+f12",
        "secure-attention": "ctrl+alt+end",
        "enable-smartcard": "0",
        "enable-usb-autoshare": "1",
    }


@pytest.mark.req("R032")
def test_every_key_has_its_place() -> None:
    assert connection_file(EVERYTHING) == (
        "[virt-viewer]\n"
        "type=spice\n"
        "host=127.0.0.1\n"
        "port=5901\n"
        "password=pw\n"
        "# Password is valid for 120 seconds.\n"
        "delete-this-file=1\n"
        "fullscreen=1\n"
        "title=desk-1:%d\n"
        "toggle-fullscreen=shift+f11\n"
        "release-cursor=shift+f12\n"
        "secure-attention=ctrl+alt+end\n"
        "tls-port=5902\n"
        "enable-smartcard=1\n"
        "enable-usb-autoshare=1\n"
        "usb-filter=8,-1,-1,-1,1|-1,-1,-1,-1,0\n"
        "tls-ciphers=DEFAULT\n"
        "host-subject=O=Desks\\\\, Chairs,CN=kvm1\n"
        "ca=-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n\n"
        "color-depth=16\n"
        "disable-effects=animation, wallpaper\n"
        "proxy=http://proxy:3128\n"
        "secure-channels=main;inputs;cursor;playback;record;display;smartcard;usbredir\n"
    )


def test_what_may_be_opened_encrypted_only_names_no_plain_port() -> None:
    found = options(replace(EVERYTHING, port=None))
    assert "port" not in found and found["tls-port"] == "5902"


def test_another_kind_of_display_has_only_the_keys_that_it_knows() -> None:
    found = options(replace(EVERYTHING, type="vnc"))
    assert found["type"] == "vnc"
    assert not {"tls-port", "enable-smartcard", "usb-filter", "ca", "proxy", "secure-channels"} & set(found)


def test_the_file_says_how_long_its_password_opens() -> None:
    assert "# Password is valid for 120 seconds." in connection_file(SHOWN).splitlines()


@pytest.mark.req("R028")
@pytest.mark.parametrize(("fullscreen", "remap"), [(False, False), (False, True), (True, False), (True, True)])
def test_the_file_follows_the_options(fullscreen: bool, remap: bool) -> None:
    found = options(replace(SHOWN, options=Options(fullscreen=fullscreen, remap_ctrl_alt_del=remap)))
    assert found["fullscreen"] == str(int(fullscreen))
    assert ("secure-attention" in found) == remap


@given(key=st.text(min_size=1, alphabet=st.characters(codec="utf-8")), ticket=st.uuids())
def test_a_password_is_32_plain_characters_and_always_the_same(key: str, ticket: UUID) -> None:
    made = password(key, ticket)
    assert len(made) == 32
    assert made.isascii() and not set(made) & set(" \n\r=#;%")
    assert made == password(key, ticket)


def test_every_ticket_and_every_key_has_its_own_password() -> None:
    tickets = [uuid4() for _ticket in range(100)]
    assert len({password(key, ticket) for key in ("a", "b") for ticket in tickets}) == 200


@pytest.mark.parametrize(
    ("vm", "name"),
    [
        ("desk-1", "desk-1.vv"),
        ("a.b_c-D9", "a.b_c-D9.vv"),
        ("데스크-1", "___-1.vv"),
        ('x"\r\nSet-Cookie: a', "x___Set-Cookie__a.vv"),
        ("../../etc/passwd", ".._.._etc_passwd.vv"),
        ("", ".vv"),
    ],
)
def test_a_file_name_holds_nothing_to_stumble_over(vm: str, name: str) -> None:
    assert file_name(vm) == name


@pytest.mark.req("R071")
@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("http://proxy:3128", True),
        ("http://proxy.example.com:1", True),
        ("https://10.0.0.1:65535", True),
        ("http://[2001:db8::1]:3128", True),
        ("proxy:3128", False),
        ("http://proxy", False),
        ("http://:3128", False),
        ("http://proxy:", False),
        ("http://proxy:0", False),
        ("http://proxy:65536", False),
        ("http://proxy:70000", False),
        ("http://proxy:3128/", False),
        ("http://user@proxy:3128", False),
        ("http://2001:db8::1:3128", False),
        ("http://[proxy]:3128", False),
        ("http://so me:3128", False),
        ("ftp://proxy:3128", False),
        ("http://proxy:3128\nfullscreen=1", False),
        (f"http://{'x' * 250}:3128", False),
    ],
)
def test_a_proxy_has_protocol_host_and_port(address: str, allowed: bool) -> None:
    assert (proxy_problem(address) is None) == allowed


@pytest.mark.req("R068", "R069")
@pytest.mark.parametrize("pool", ["http://pool:1", ""])
@pytest.mark.parametrize("cluster", ["http://cluster:1", ""])
@pytest.mark.parametrize("default", ["http://default:1", ""])
def test_the_nearest_proxy_is_in_force(pool: str, cluster: str, default: str) -> None:
    assert proxy_in_force(pool=pool, cluster=cluster, default=default) == (pool or cluster or default)


@pytest.mark.req("R028")
def test_what_a_user_chose_stands_above_the_defaults() -> None:
    defaults = {"fullscreen": True, "color_depth": "16", "smartcard": True}
    assert options_in_force(defaults, {}) == Options(fullscreen=True, color_depth="16", smartcard=True)
    chosen = {"fullscreen": False, "smartcard": False, "use_proxy": False, "disabled_effects": ["all", "animation"]}
    assert options_in_force(defaults, chosen) == Options(
        color_depth="16", use_proxy=False, disabled_effects=("animation", "all")
    )


def test_nobody_chooses_a_smart_card_that_is_not_there() -> None:
    assert not options_in_force({"smartcard": False}, {"smartcard": True}).smartcard


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", True),
        ("-1,-1,-1,-1,0", True),
        ("8,-1,-1,-1,1|7,-1,-1,-1,1|-1,-1,-1,-1,0", True),
        ("0x08,0xEB1A,10000,256,1", True),
        ("-1,65535,65535,65535,1", True),
        ("256,-1,-1,-1,1", False),
        ("8,65536,-1,-1,1", False),
        ("8,-1,-1,1", False),
        ("8,-1,-1,-1,2", False),
        ("8,-1,-1,-1,1|", False),
        ("8, -1,-1,-1,1", False),
        ("08,-1,-1,-1,1", False),
        ("-2,-1,-1,-1,1", False),
        ("8,-1,-1,-1,1\nproxy=x", False),
        ("null", False),
        ("|".join(["-1,-1,-1,-1,1"] * 72), False),
    ],
)
def test_a_usb_filter_is_made_of_rules(text: str, allowed: bool) -> None:
    assert (usb_filter_problem(text) is None) == allowed


def test_an_rdp_file_names_the_guest_and_no_secret() -> None:
    text = rdp_file("helpdesk-1.desktops.example.com", fullscreen=True, clipboard=False)
    assert text == (
        "full address:s:helpdesk-1.desktops.example.com\r\nscreen mode id:i:2\r\n"
        "redirectclipboard:i:0\r\nprompt for credentials:i:1\r\n"
    )


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("", True),
        ("{name}.desktops.example.com", True),
        ("pc-{name}:3390", True),
        ("desktops.example.com", False),
        ("{name}:0", False),
        ("{name}:70000", False),
        ("{name}\r\nusername:s:x", False),
        ("{name} ", False),
        ("rdp://{name}", False),
    ],
)
def test_an_address_of_rdp_differs_for_each_vm(pattern: str, allowed: bool) -> None:
    assert (rdp_address_problem(pattern) is None) == allowed
    assert rdp_address("{name}.example.com:3390", "helpdesk-1") == "helpdesk-1.example.com:3390"
