"""The ticket's password and the connection file."""

import configparser
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules.consoles import Display, connection_file, file_name, password, proxy_in_force, proxy_problem

SHOWN = Display(
    title="desk-1",
    host="127.0.0.1",
    port=5901,
    password="pw",
    valid_seconds=120,
    fullscreen=False,
    remap_ctrl_alt_del=True,
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
    }


def test_the_file_says_how_long_its_password_opens() -> None:
    assert "# Password is valid for 120 seconds." in connection_file(SHOWN).splitlines()


@pytest.mark.req("R028")
@pytest.mark.parametrize(("fullscreen", "remap"), [(False, False), (False, True), (True, False), (True, True)])
def test_the_file_follows_the_options(fullscreen: bool, remap: bool) -> None:
    display = Display("d", "h", 1, "p", 1, fullscreen=fullscreen, remap_ctrl_alt_del=remap)
    found = options(display)
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


@pytest.mark.req("R068")
def test_a_connection_file_names_the_proxy_where_there_is_one() -> None:
    shown = Display("vm", "host", 5900, "secret", 120, fullscreen=False, remap_ctrl_alt_del=True)
    assert "proxy=" not in connection_file(shown)
    assert connection_file(replace(shown, proxy="http://proxy:3128")).endswith("\nproxy=http://proxy:3128\n")
