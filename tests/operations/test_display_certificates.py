"""Encrypted displays: whom viewers trust, who may be opened how, and what is refused instead of being left open."""

import stat
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from broker.drivers.certificates import KeyPair, make_authority, sign_host
from broker.errors import Conflict, Invalid
from broker.models import Cluster, DesktopRequest, Host, VirtualMachine
from broker.operations import clusters, consoles, desktops, display_certificates, hosts
from broker.rules.consoles import Display
from broker.states import HostStatus
from tests.world import World


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return make_authority("ours", timezone.now())


@pytest.fixture(scope="module")
def signed(authority: KeyPair) -> str:
    return sign_host(authority, "127.0.0.1", timezone.now()).certificate.decode()


@pytest.fixture
def certified(world: World, authority: KeyPair, signed: str) -> World:
    """Its host has a certificate, and says so to its guests."""
    world.driver.tls_port = 5901
    display_certificates.accept(host=world.host, authorities=authority.certificate.decode(), certificate=signed)
    return world


def take(world: World) -> DesktopRequest:
    pool = world.pool(1)
    wish = world.take(world.person("agent", pool), pool)
    world.settle()
    wish.refresh_from_db()
    return wish


def shown(world: World, wish: DesktopRequest) -> Display:
    ticket = consoles.issue(request=wish)
    world.settle()
    display = consoles.display(ticket=ticket)
    assert display is not None
    return display


def want_encryption(world: World) -> None:
    clusters.change(cluster=world.cluster, changes={"allow_plain_spice": False})


def test_viewers_are_told_whom_to_expect_and_whom_to_trust(certified: World, authority: KeyPair) -> None:
    display = shown(certified, take(certified))
    assert display.tls is not None
    assert (display.port, display.tls.port, display.tls.subject) == (5900, 5901, "O=Hotdesk,CN=127.0.0.1")
    assert display.tls.ca == authority.certificate.decode()


def test_without_a_certificate_a_display_is_plain(world: World) -> None:
    world.driver.tls_port = 5901  # libvirt may encrypt; nobody said with what
    display = shown(world, take(world))
    assert (display.port, display.tls) == (5900, None)


def test_a_cluster_that_wants_encryption_has_no_plain_display(certified: World) -> None:
    want_encryption(certified)
    display = shown(certified, take(certified))
    assert display.port is None and display.tls is not None
    assert VirtualMachine.objects.get().display_port is None


def test_a_desktop_that_was_started_without_is_not_opened_unencrypted(
    world: World, authority: KeyPair, signed: str
) -> None:
    wish = take(world)
    display_certificates.accept(host=world.host, authorities=authority.certificate.decode(), certificate=signed)
    want_encryption(world)
    with pytest.raises(Conflict, match="was started without"):
        shown(world, wish)
    world.driver.tls_port = 5901
    desktops.give_back(request=wish)
    world.settle()
    again = world.take(wish.user, wish.pool)
    world.settle()
    assert shown(world, again).port is None


def test_a_host_without_a_certificate_is_said_to_have_none(certified: World) -> None:
    wish = take(certified)
    want_encryption(certified)
    Host.objects.update(spice_subject="")
    with pytest.raises(Conflict, match="has no certificate") as refusal:
        shown(certified, wish)
    assert refusal.value.code == "NOT_ENCRYPTED"


def test_encryption_is_not_wanted_before_all_hosts_can(world: World) -> None:
    with pytest.raises(Conflict, match="host cannot encrypt") as refusal:
        want_encryption(world)
    assert refusal.value.details[0]["field"] == "allow_plain_spice"
    assert Cluster.objects.get().allow_plain_spice


def test_a_new_host_of_such_a_cluster_is_no_use_before_it_has_one(certified: World) -> None:
    want_encryption(certified)
    cluster = Cluster.objects.get()
    late = hosts.add(cluster=cluster, name="late", uri="qemu+tls://late/system", display_address="late")
    hosts.activate_on_host(host=late)
    late.refresh_from_db()
    assert late.status == HostStatus.NON_OPERATIONAL
    assert "no certificate" in late.status_reason


def test_what_nobody_signed_is_not_accepted(world: World, signed: str) -> None:
    stranger = make_authority("stranger", timezone.now()).certificate.decode()
    with pytest.raises(Invalid, match="signed"):
        display_certificates.accept(host=world.host, authorities=stranger, certificate=signed)
    assert not Host.objects.get().spice_subject


def test_an_authority_is_replaced_by_way_of_both(certified: World, authority: KeyPair) -> None:
    other = Host.objects.create(cluster=certified.cluster, name="b", uri="fake:///b", display_address="b")
    newer = make_authority("newer", timezone.now())
    certificate = sign_host(newer, "b", timezone.now()).certificate.decode()
    with pytest.raises(Conflict, match="host any more"):
        display_certificates.accept(host=other, authorities=newer.certificate.decode(), certificate=certificate)
    both = (authority.certificate + newer.certificate).decode()
    display_certificates.accept(host=other, authorities=both, certificate=certificate)
    assert Cluster.objects.get().spice_ca == both


# -- the command -----------------------------------------------------------------------------------------


def run(*words: Any) -> None:
    call_command("certificates", *map(str, words), stdout=StringIO())


def test_one_command_makes_what_hosts_need_and_keeps_what_is_good(world: World, tmp_path: Path) -> None:
    Host.objects.create(cluster=world.cluster, name="odd/name", uri="fake:///b", display_address="kvm2.example.com")
    run("make", tmp_path)
    subjects = dict(Host.objects.values_list("name", "spice_subject"))
    assert subjects == {"host": "O=Hotdesk,CN=127.0.0.1", "odd/name": "O=Hotdesk,CN=kvm2.example.com"}
    files = {"ca-cert.pem", "server-cert.pem", "server-key.pem"}
    folders = [folder for folder in tmp_path.iterdir() if folder.is_dir()]
    assert len(folders) == 2 and all({file.name for file in folder.iterdir()} == files for folder in folders)
    keys = [*tmp_path.glob("*-key.pem"), *tmp_path.glob("*/*-key.pem")]
    assert len(keys) == 3 and all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)
    before = {file: file.read_bytes() for file in tmp_path.glob("**/*.pem")}
    run("make", tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.glob("**/*.pem")} == before


def test_a_host_that_moved_and_one_to_renew_get_new_ones(world: World, tmp_path: Path) -> None:
    run("make", tmp_path)
    [key] = tmp_path.glob("*/server-key.pem")
    first = key.read_bytes()
    Host.objects.update(display_address="192.0.2.9")
    run("make", tmp_path, "--host", "host")
    second = key.read_bytes()
    assert Host.objects.get().spice_subject == "O=Hotdesk,CN=192.0.2.9"
    run("make", tmp_path, "--renew")
    assert len({first, second, key.read_bytes()}) == 3


def test_supplied_ones_are_accepted(world: World, tmp_path: Path, authority: KeyPair, signed: str) -> None:
    ca, certificate = tmp_path / "ca.pem", tmp_path / "host.pem"
    ca.write_bytes(authority.certificate)
    certificate.write_text(signed)
    run("use", "host", "--authority", ca, "--certificate", certificate)
    assert Host.objects.get().spice_certified_until is not None
    for words in (("nobody", ca, certificate), ("host", certificate, ca), ("host", tmp_path / "none", certificate)):
        name, authorities, shows = words
        with pytest.raises(CommandError):
            run("use", name, "--authority", authorities, "--certificate", shows)
