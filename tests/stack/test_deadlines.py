"""The time of real desktops: seen by the host, told on the guest's console, and ended. All of it runs at once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests import spice
from tests.running import Desktop, Hotdesk, connection, wait_until
from tests.spice import Viewer

LONG_S = 300  # two minutes of the clock, and what a busy machine adds


@contextmanager
def short_hold(hotdesk: Hotdesk) -> Iterator[None]:
    """For what becomes ready from now on."""
    hotdesk.set("HoldMinutes", 1)
    try:
        yield
    finally:
        hotdesk.set("HoldMinutes", 5)


def connect(desktop: Desktop) -> Viewer:
    desktop.wait_for("ready")
    file = connection(desktop.console().text)
    answer, viewer = spice.connect(file["host"], int(file["port"]), file["password"])
    assert answer == "OK" and viewer is not None
    wait_until(lambda: desktop.now()["timeline"]["connected"], "the connection is seen", 20)
    return viewer


def ended(desktop: Desktop) -> tuple[str, str, str] | None:
    now = desktop.now()
    return (now["state"], now["end_reason"], now["ending"]) if now["state"] == "ended" else None


@pytest.mark.req("R004", "R018")
def test_holds_and_limits_run_out_on_real_guests(hotdesk: Hotdesk) -> None:
    limited = hotdesk.create_pool("limited", 1, max_session_minutes=2)
    dropped = hotdesk.create_pool("dropped", 2, disconnect_grace_minutes=2)
    resting = hotdesk.create_pool("resting", 2, idle_limit_minutes=2)
    wanted = hotdesk.create_pool("wanted", 1)
    people = [hotdesk.person(f"agent{number:02}") for number in range(1, 4)]
    back, gone = (person.take(dropped) for person in people[:2])
    rests, works = (person.take(resting) for person in people[:2])
    long = people[0].take(limited)
    with ExitStack() as stack:
        # -- the longest session is told on the guest's console before it ends --
        stack.callback(connect(long).channel.close)
        console = stack.enter_context(hotdesk.serial(long.now()["vm"]["id"]))
        # -- one desktop rests, on the other one a program works --
        for desktop in (rests, works):
            stack.callback(connect(desktop).channel.close)
        busy = stack.enter_context(hotdesk.serial(works.now()["vm"]["id"]))
        # Enough to be seen, and not a processor's whole time.
        busy.run("while sleep 0.2; do for i in $(seq 3000); do :; done; done & true")
        # -- one viewer drops and comes back, the other one does not --
        for desktop in (gone, back):
            connect(desktop).channel.close()
            wait_until(lambda desktop=desktop: desktop.now()["ending"] == "disconnected", "it is seen to drop", 30)
        stack.callback(connect(back).channel.close)
        wait_until(lambda: back.now()["ending"] is None, "it is seen to be back", 20)
        # -- somebody had to wait, and does not come --
        stack.enter_context(short_hold(hotdesk))
        first, second, third = (person.take(wanted) for person in people)
        first.wait_for("ready")
        first.return_and_wait()
        console.wait_for("HOTDESK-MESSAGE Your desktop ends in 1 min", timeout_s=LONG_S)
        for desktop, ending in ((second, "hold"), (gone, "disconnected"), (rests, "idle"), (long, "session")):
            found = wait_until(lambda desktop=desktop: ended(desktop), f"{ending} runs out", LONG_S)
            assert found == ("ended", "expired", ending)
        wait_until(lambda: third.now()["timeline"]["ready"], "the next in line is served")
        assert third.now()["waited"]
        assert [desktop.now()["state"] for desktop in (back, works)] == ["ready", "ready"]
    for desktop in (third, back, works):
        if desktop.now()["state"] != "ended":  # the third may have had its minute meanwhile
            desktop.return_and_wait()


@pytest.mark.req("R006", "R010", "R013")
def test_the_certificate_says_what_is_on_the_disk(hotdesk: Hotdesk) -> None:
    pool = hotdesk.pool_named("helpdesk")["id"]
    desktop = hotdesk.person("agent08").take(pool)
    desktop.wait_for("ready")
    proof = desktop.owner.get(f"/requests/{desktop.id}/why")["certificate"]
    layer = hotdesk.state / "images" / proof["layer"]
    assert layer.exists() and proof["stands_on"].endswith("/" + proof["disk"])
    assert proof["destroyed_at"] is None and len(proof["checksum"]) == 64
    desktop.return_and_wait()
    proof = desktop.owner.get(f"/requests/{desktop.id}/why")["certificate"]
    assert proof["destroyed_at"] is not None and not layer.exists()
