"""Native viewers on a real guest: unencrypted, by TLS and through a proxy; impostors are refused."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.drivers.certificates import make_authority
from tests import spice
from tests.outside import outside
from tests.running import Desktop, Hotdesk, connection, wait_until
from tests.viewer import RemoteViewer, screen

OF_TLS = ("tls-port", "tls-ciphers", "host-subject", "ca", "secure-channels")


@pytest.fixture(scope="module")
def desktop(hotdesk: Hotdesk) -> Iterator[Desktop]:
    """One guest is enough for all of them."""
    taken = hotdesk.person("agent06").take(hotdesk.pool_named("helpdesk")["id"])
    taken.wait_for("ready")
    yield taken
    taken.return_and_wait()


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    assert shutil.which("remote-viewer"), "virt-viewer must be installed: `make test` does it"
    with screen() as name:
        yield name


def without(text: str, *keys: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if line.split("=", 1)[0] not in keys)


def with_value(text: str, key: str, value: str) -> str:
    assert f"\n{key}=" in text
    return re.sub(rf"(?m)^{key}=.*$", lambda _match: f"{key}={value}", text)


def pem(text: str) -> str:
    return connection(text)["ca"].replace("\\n", "\n")


def open_by_tls(text: str) -> str:
    file = connection(text)
    return spice.link(file["host"], int(file["tls-port"]), file["password"], ca=pem(text))


def test_the_file_leads_to_both_ports_and_only_the_newest_opens_either(desktop: Desktop) -> None:
    text = desktop.console().text
    file = connection(text)
    assert file["host-subject"] == "O=Hotdesk,CN=127.0.0.1"
    assert "BEGIN CERTIFICATE" in pem(text) and "KEY" not in pem(text)
    assert open_by_tls(text) == "OK"
    assert spice.link(file["host"], int(file["port"]), file["password"]) == "OK"
    assert open_by_tls(with_value(text, "password", "wrong")) == "PERMISSION_DENIED"
    assert open_by_tls(desktop.console().text) == "OK"
    assert open_by_tls(text) == "PERMISSION_DENIED"


@pytest.mark.req("R032")
def test_remote_viewer_encrypts_every_channel(desktop: Desktop, display: str, tmp_path: Path) -> None:
    text = desktop.console().text
    with RemoteViewer(display, tmp_path, text) as viewer:
        viewer.wait_for_the_guest()
        assert viewer.ports() == {int(connection(text)["tls-port"])}
        assert not viewer.file.exists(), "delete-this-file was not followed"
    assert desktop.now()["timeline"]["connected"]


@pytest.mark.req("R032")
def test_remote_viewer_opens_a_plain_file(desktop: Desktop, display: str, tmp_path: Path) -> None:
    text = without(desktop.console().text, *OF_TLS)
    with RemoteViewer(display, tmp_path, text) as viewer:
        viewer.wait_for_the_guest()
        assert viewer.ports() == {int(connection(text)["port"])}


def test_remote_viewer_refuses_a_host_that_another_authority_signed(
    desktop: Desktop, display: str, tmp_path: Path
) -> None:
    other = make_authority("other", datetime.now(UTC)).certificate.decode().replace("\n", "\\n")
    text = with_value(desktop.console().text, "ca", other)
    with RemoteViewer(display, tmp_path, text) as viewer:
        wait_until(lambda: "certificate chain verification" in viewer.said(), "the viewer complains", 30)
        assert not viewer.shows_the_guest()
        assert not viewer.ports()


def test_remote_viewer_refuses_a_host_of_another_name(desktop: Desktop, display: str, tmp_path: Path) -> None:
    text = with_value(desktop.console().text, "host-subject", "O=Hotdesk,CN=elsewhere")
    with RemoteViewer(display, tmp_path, text) as viewer:
        wait_until(lambda: "'O=Hotdesk,CN=elsewhere' verification failed" in viewer.said(), "it complains", 30)
        assert not viewer.shows_the_guest()
        assert not viewer.ports()


def test_a_cluster_that_wants_displays_encrypted_gives_no_plain_port(hotdesk: Hotdesk, desktop: Desktop) -> None:
    [cluster] = [one for one in hotdesk.admin.get("/clusters")["items"] if one["name"] == "Default"]
    path = f"/clusters/{cluster['id']}"
    assert hotdesk.admin.http.patch(path, json={"allow_plain_spice": False}).status_code == 200
    try:
        text = desktop.console().text
        assert "port" not in connection(text)
        assert open_by_tls(text) == "OK"
    finally:
        assert hotdesk.admin.http.patch(path, json={"allow_plain_spice": True}).status_code == 200


@pytest.mark.req("R068", "R070")
def test_who_cannot_reach_the_host_comes_through_the_proxy(
    hotdesk: Hotdesk, desktop: Desktop, display: str, tmp_path: Path
) -> None:
    path = f"/manage/pools/{hotdesk.pool_named('helpdesk')['id']}"
    with outside() as there:
        override = {"override_spice_proxy": True, "spice_proxy": there.proxy}
        assert hotdesk.admin.http.patch(path, json=override).status_code == 200
        try:
            text = desktop.console().text
        finally:
            assert hotdesk.admin.http.patch(path, json={"override_spice_proxy": False}).status_code == 200
        file = connection(text)
        assert file["proxy"] == there.proxy
        for port in (file["port"], file["tls-port"]):
            direct = f"import socket; socket.create_connection(({file['host']!r}, {port}), 3)"
            tried = subprocess.run([*there.within, "python3", "-c", direct], capture_output=True, text=True)
            assert re.search(r"(OSError|ConnectionRefusedError|TimeoutError): ", tried.stderr), tried
        with RemoteViewer(display, tmp_path, text, within=there.within) as viewer:
            viewer.wait_for_the_guest()
            assert viewer.ports() == {int(there.proxy.rsplit(":", 1)[1])}
        tunnel = f"CONNECT {file['host']}:{file['tls-port']}"
        wait_until(lambda: tunnel in there.tunnels(), "the proxy has carried it", 30)
