"""`make demo` as a newcomer meets it: it starts again in what it left, and leaves nothing running."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, Hotdesk, wait_until


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotdesk]:
    """A demo that may be stopped and killed."""
    demo = Hotdesk(tmp_path_factory.mktemp("own") / "hotdesk")
    demo.start()
    yield demo
    if demo.process is not None and demo.process.poll() is None:
        demo.stop()


def left_running(demo: Hotdesk) -> list[int]:
    """Processes, guests included, that were started for this state folder."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            mine = str(demo.state) in (folder / "environ").read_bytes().decode(errors="replace")
            if folder.name.isdigit() and int(folder.name) != os.getpid() and mine:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_it_says_once_that_it_is_ready_and_then_who_may_sign_in(own: Hotdesk) -> None:
    lines = own.said().splitlines()
    ready = [number for number, line in enumerate(lines) if line.startswith("Hotdesk is ready: ")]
    assert [lines[number] for number in ready] == [f"Hotdesk is ready: {own.url}"]
    assert "agent01" in lines[ready[0] + 1] and "hotdesk" in lines[ready[0] + 1]


def test_hosts_are_listed_with_their_uris(own: Hotdesk) -> None:
    assert own.libvirtd.uri in own.manage("hosts")


def test_a_second_demo_on_the_same_folder_says_so(own: Hotdesk) -> None:
    second = subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=ROOT,
        env=own.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert len(second.stderr.strip().splitlines()) == 1, second.stderr


def test_sigterm_stops_everything_and_a_second_start_goes_on(own: Hotdesk) -> None:
    pool = own.pool_named("helpdesk")["id"]
    # Guests that nobody asked for say nothing more here, and each start would boot two of them.
    own.admin.http.patch(f"/manage/pools/{pool}", json={"prestarted_vms": 0})
    desktop = own.person("agent01").take(pool)
    desktop.wait_for("ready")
    assert own.stop() == 0
    assert left_running(own) == []
    own.start()
    # Its guest is gone with the demo: the wish ends with a reason, and the person can take another one.
    assert desktop.wait_for("ended")["end_reason"] == "failed"
    own.wait_until_clean(pool)
    assert len(own.vms(pool)) == 5
    again = own.person("agent01").take(pool)
    again.wait_for("ready")
    again.return_and_wait()


def test_killed_hard_the_next_start_cleans_up_first(own: Hotdesk) -> None:
    pool = own.pool_named("helpdesk")["id"]
    desktop = own.person("agent02").take(pool)
    desktop.wait_for("ready")
    assert own.process is not None
    os.kill(own.process.pid, signal.SIGKILL)
    own.process.wait()
    own.start()
    assert desktop.wait_for("ended")["end_reason"] == "failed"
    own.wait_until_clean(pool)
    own.stop()
    wait_until(lambda: left_running(own) == [], "nothing runs", 10)
