"""The supervisor restarts what dies, stops what it started, and finds what an earlier one left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.lab.redis_server import PrivateRedis
from broker.lab.supervisor import CannotRun, ProcessRecord, Supervisor, read_processes, require_free_port

# One program has a child in a session of its own, where no signal to a group reaches it; one ignores SIGTERM.
SCRIPT = """
import os, sys
from pathlib import Path
from broker.lab.supervisor import CannotRun, Program, Supervisor

state = Path(sys.argv[1])
steady = ["sh", "-c", "echo hello; exec sleep 1000"]
family = ["sh", "-c", "setsid sleep 1000 & echo $! > grandchild; wait"]
stubborn = ["sh", "-c", "trap '' TERM; sleep 1000"]
try:
    with Supervisor(state) as supervisor:
        environment = dict(os.environ)
        supervisor.start(Program("steady", steady, environment, foundation=True))
        supervisor.start(Program("family", family, environment))
        supervisor.start(Program("stubborn", stubborn, environment, stop_within_s=1))
        supervisor.announce("up")
        supervisor.keep_running()
except CannotRun as error:
    sys.exit(str(error))
"""


def eventually(condition: Callable[[], object], within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Run:
    """The script above in a process group of its own, as a terminal would start it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.log = state.with_suffix(".log")
        state.mkdir(exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(state)],
                cwd=state,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.log.read_text()

    def everybody(self) -> list[ProcessRecord]:
        eventually(lambda: (self.state / "grandchild").exists() and len(read_processes(self.state)) == 4)
        return list(read_processes(self.state).values())

    def grandchild(self) -> Path:
        return Path("/proc") / (self.state / "grandchild").read_text().strip()


def is_gone(process: Path) -> bool:
    return not process.exists() or ") Z " in (process / "stat").read_text()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path / "state")
    eventually(lambda: "up" in run.said())
    yield run
    if run.process.poll() is None:
        os.killpg(run.process.pid, signal.SIGTERM)
        run.process.wait(60)


def test_a_killed_program_is_started_again_and_recorded_under_its_new_id(run: Run) -> None:
    run.everybody()
    before = read_processes(run.state)["steady"]
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: read_processes(run.state).get("steady", before).pid != before.pid)
    assert not before.alive
    assert read_processes(run.state)["steady"].alive
    assert "steady was killed by SIGKILL; starting it again in 0.2 s" in run.said()
    assert "steady     | hello" in run.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_to_the_group_stops_everything_and_a_second_one_does_no_harm(
    run: Run, number: signal.Signals
) -> None:
    everybody = run.everybody()
    grandchild = run.grandchild()
    os.killpg(run.process.pid, number)
    time.sleep(0.3)
    os.killpg(run.process.pid, number)
    assert run.process.wait(20) == 0
    assert not any(record.alive for record in everybody)
    assert is_gone(grandchild)
    assert sorted(path.name for path in run.state.iterdir()) == ["grandchild", "lock"]
    assert "starting it again" not in run.said()


def test_what_a_killed_supervisor_left_is_ended_by_the_next_one(run: Run) -> None:
    everybody = run.everybody()
    grandchild = run.grandchild()
    run.process.kill()
    run.process.wait()
    eventually(lambda: not any(record.alive for record in everybody))
    assert not is_gone(grandchild)  # the kernel ends children, not grandchildren
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        with Supervisor(run.state):
            assert is_gone(grandchild)
            assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_second_supervisor_on_the_same_state_says_so_in_one_line(run: Run) -> None:
    run.everybody()
    script = [sys.executable, "-c", SCRIPT, str(run.state)]
    second = subprocess.run(script, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert second.stderr.splitlines() == [f"Hotdesk is already running with the state folder {run.state}."]
    assert all(record.alive for record in run.everybody())


def test_a_recorded_process_is_not_mistaken_for_a_later_one_with_its_id() -> None:
    assert not ProcessRecord("somebody", os.getpid(), started=1).alive


def test_a_failing_step_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="failed"), Supervisor(tmp_path / "state") as supervisor:
        supervisor.run("set-up", ["false", "hard"], os.environ)


def test_redis_keeps_its_port_and_password_and_loses_its_data_when_killed(tmp_path: Path) -> None:
    redis = PrivateRedis(tmp_path / "redis")
    redis.start()
    try:
        with pytest.raises(CannotRun, match="HOTDESK_PORT"):
            require_free_port(redis.port, setting="HOTDESK_PORT")
        assert (tmp_path / "redis/redis.conf").stat().st_mode & 0o077 == 0
        asked = ["redis-cli", "--no-auth-warning", "-p", str(redis.port), "-a", redis.password]
        assert subprocess.check_output([*asked, "set", "key", "value"]) == b"OK\n"
        redis.kill()
        redis.start()
        assert subprocess.check_output([*asked, "exists", "key"]) == b"0\n"
        assert PrivateRedis(tmp_path / "redis", redis.port).url == redis.url
    finally:
        redis.stop()
