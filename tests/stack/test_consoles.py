"""Tickets against the real SPICE server, and what stands in the connection file."""

import time
from collections.abc import Iterator

import pytest

from tests import spice
from tests.running import Desktop, Hotdesk, connection, wait_until

DENIED = "PERMISSION_DENIED"


@pytest.fixture
def desktop(hotdesk: Hotdesk) -> Iterator[Desktop]:
    pool = hotdesk.pool_named("helpdesk")["id"]
    taken = hotdesk.person("agent07").take(pool)
    taken.wait_for("ready")
    yield taken
    taken.return_and_wait()


def opens(text: str, password: str | None = None) -> str:
    file = connection(text)
    return spice.link(file["host"], int(file["port"]), file["password"] if password is None else password)


def test_the_connection_file_is_what_remote_viewer_expects(desktop: Desktop) -> None:
    answer = desktop.console()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-virt-viewer"
    assert answer.headers["content-disposition"].endswith('.vv"')
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.startswith("[virt-viewer]\ntype=spice\nhost=127.0.0.1\nport=")
    file = connection(answer.text)
    assert (file["delete-this-file"], file["fullscreen"]) == ("1", "0")
    assert (file["toggle-fullscreen"], file["release-cursor"]) == ("shift+f11", "shift+f12")
    assert file["secure-attention"] == "ctrl+alt+end"
    assert file["title"] == desktop.now()["vm"]["name"] + ":%d"


@pytest.mark.req("R028")
def test_console_options_are_the_users_default_for_the_pool_alone(hotdesk: Hotdesk, desktop: Desktop) -> None:
    pool = hotdesk.pool_named("helpdesk")["id"]
    address = f"/pools/{pool}/console-options"
    chosen = {"fullscreen": True, "remap_ctrl_alt_del": False}
    assert chosen.items() <= desktop.owner.http.put(address, json=chosen).json().items()
    text = desktop.console().text
    assert "fullscreen=1" in text and "secure-attention" not in text
    desktop.return_and_wait()
    again = desktop.owner.take(pool)
    again.wait_for("ready")
    assert "fullscreen=1" in again.console().text
    again.return_and_wait()
    others = {"fullscreen": False, "remap_ctrl_alt_del": True}
    assert others.items() <= hotdesk.person("agent01").get(address).items()
    desktop.owner.http.put(address, json={})


def test_only_the_newest_ticket_opens_the_display(desktop: Desktop) -> None:
    first = desktop.console().text
    assert opens(first, "wrong") == DENIED
    assert opens(first, "") == DENIED
    assert opens(first) == "OK"
    second = desktop.console().text
    assert connection(first)["password"] != connection(second)["password"]
    assert opens(first) == DENIED
    assert opens(second) == "OK"
    wait_until(lambda: desktop.now()["timeline"]["connected"], "the connection is seen", 10)


def test_an_expired_ticket_is_refused(hotdesk: Hotdesk, desktop: Desktop) -> None:
    hotdesk.set("TicketValiditySeconds", 5)
    try:
        text = desktop.console().text
        assert "# Password is valid for 5 seconds." in text
        assert opens(text) == "OK"
        time.sleep(6.5)
        assert opens(text) == DENIED
    finally:
        hotdesk.set("TicketValiditySeconds", 120)


def test_a_ticket_opens_no_other_desktop_and_none_after_the_return(hotdesk: Hotdesk) -> None:
    pool = hotdesk.pool_named("helpdesk")["id"]
    mine, theirs = (hotdesk.person(name).take(pool) for name in ("agent08", "agent09"))
    mine.wait_for("ready")
    theirs.wait_for("ready")
    file = connection(mine.console().text)
    answer, viewer = spice.connect(file["host"], int(file["port"]), file["password"])
    assert answer == "OK" and viewer is not None
    text, other = mine.console().text, theirs.console().text
    assert viewer.is_connected(within_seconds=1), "a newer file threw the viewer out"
    assert opens(other, connection(text)["password"]) == DENIED
    assert hotdesk.person("agent09").http.post(f"/requests/{mine.id}/console").status_code == 404
    mine.give_back()
    assert mine.console().status_code == 409

    def shut() -> bool:
        try:
            return opens(text) != "OK"
        except OSError:
            return True  # its server is gone already

    wait_until(shut, "the returned desktop lets nobody in", 10)
    assert not viewer.is_connected(within_seconds=10), "the return left the viewer connected"
    mine.wait_for("ended")
    theirs.return_and_wait()


def test_a_restart_keeps_the_desktop(hotdesk: Hotdesk, desktop: Desktop) -> None:
    before = desktop.now()["vm"]
    # What is only in memory is gone once the guest has started anew, however long a worker takes to get to it.
    with hotdesk.serial(before["id"]) as shell:
        shell.run("echo before > /before", timeout_s=90)
    assert desktop.owner.http.post(f"/requests/{desktop.id}/restart").status_code == 202

    def started_anew() -> bool:
        with hotdesk.serial(before["id"]) as shell:
            try:
                return shell.run("cat /before 2>/dev/null || echo gone", timeout_s=30) == "gone"
            except (AssertionError, TimeoutError):
                return False  # it went down while it was asked

    wait_until(started_anew, "the guest has started anew", pause=1)
    assert desktop.now()["state"] == "ready"
    assert desktop.now()["vm"]["id"] == before["id"]
