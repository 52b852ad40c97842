"""Who keeps a handful of programs running as one? Starts them, restarts what dies, and leaves nothing behind.

It knows nothing of Django. Everything it starts dies with it, even when it is killed hard: the kernel sends
each child SIGKILL (PDEATHSIG), and what escapes that carries a mark by which the next start finds it.
"""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self

MARK = "HOTDESK_SUPERVISED"  # in the environment of every child and its children
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK_S = 0.1
FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 5.0
STEADY_AFTER_S = 10.0  # a program that ran this long starts again without growing delays
STOP_WITHIN_S = 60.0
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)

Process = subprocess.Popen[str]


class CannotRun(Exception):
    """Nothing can be started; the text is one sentence for the person at the terminal."""


class Stopped(Exception):
    """Somebody asked to stop while a step was running."""


@dataclass(frozen=True)
class Program:
    """Something to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    foundation: bool = False  # others need it: stopped after them, one at a time, last started first
    stop_within_s: float = 20.0
    find_pid: Callable[[int], int | None] | None = None  # the process meant, when the command only wraps it
    end: Callable[[int], None] | None = None  # how to end it, when SIGTERM is not the way


@dataclass(frozen=True)
class ProcessRecord:
    """One line of `processes.json`. The start time tells a process from a later one with the same id."""

    name: str
    pid: int
    started: int  # clock ticks since the machine started, from /proc

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _start_time(self.pid) == self.started


def read_processes(state: Path) -> dict[str, ProcessRecord]:
    """What the supervisor of this state folder runs, by name; itself included, as `supervisor`."""
    return {record["name"]: ProcessRecord(**record) for record in _read(state).get("processes", [])}


class _Running:
    """A program's present process."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: Process | None = None
        self.started_at = 0.0
        self.delay_s = FIRST_DELAY_S
        self.due_at = 0.0


class Supervisor:
    """Holds the state folder while it is entered; leaving stops everything that was started."""

    def __init__(self, state: Path, output: IO[str] = sys.stdout) -> None:
        self.state = state.resolve()
        self.stopping = False
        self._output = output
        self._output_lock = threading.Lock()
        self._colours = output.isatty() and "NO_COLOR" not in os.environ
        self._run_id = secrets.token_hex(16)
        self._running: list[_Running] = []
        self._recorded: list[ProcessRecord] = []

    def __enter__(self) -> Self:
        self._lock = _lock(self.state)
        end_leftovers(self.state)
        self._former_handlers = {number: signal.signal(number, self._asked_to_stop) for number in SIGNALS}
        self._record()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping = True
        self._stop_all()
        (self.state / "processes.json").unlink(missing_ok=True)
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        self._lock.close()

    # ---- what the caller does

    def start(self, program: Program) -> None:
        """Start a program and keep it running. Main thread only: a child dies with its thread."""
        running = _Running(program)
        self._running.append(running)
        self._spawn(running)
        self._record()

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run one step to its end; CannotRun when it fails, Stopped when somebody asked to stop meanwhile."""
        process = self._popen(name, command, environment)
        while process.poll() is None:
            self.tend()
            if self.stopping:
                process.terminate()
                _end_group(process, 5)
                raise Stopped
            time.sleep(TICK_S / 2)
        if process.returncode != 0:
            raise CannotRun(f"`{' '.join(command[-2:])}` failed; its output is above.")

    def wait_for(self, condition: Callable[[], bool], sentence: str, timeout_s: float) -> None:
        """Keep things running until the condition holds; CannotRun with the sentence after the timeout."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.tend()
            if self.stopping:
                raise Stopped
            if time.monotonic() > deadline:
                raise CannotRun(sentence)
            time.sleep(TICK_S)

    def keep_running(self) -> None:
        """Restart what dies until somebody asks to stop."""
        while not self.stopping:
            self.tend()
            time.sleep(TICK_S)

    def tend(self) -> None:
        """One look at every program."""
        for running in self._running:
            if running.process is None:
                if not self.stopping and time.monotonic() >= running.due_at:
                    self._spawn(running)
            elif _has_ended(running.process):
                self._bury(running)
        self._record()

    def say(self, name: str, text: str) -> None:
        """One log line."""
        colour = COLOURS[sum(name.encode()) % len(COLOURS)]
        head = f"\x1b[{colour}m{name:<10} |\x1b[0m" if self._colours else f"{name:<10} |"
        self.announce(f"{head} {text}")

    def announce(self, text: str) -> None:
        """Text as it is, for the person at the terminal."""
        # When nobody reads any more, that is no reason to stop.
        with self._output_lock, contextlib.suppress(OSError):
            print(text, file=self._output, flush=True)

    # ---- one process

    def _popen(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            env={**environment, MARK: self._run_id},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None
        threading.Thread(target=self._relay, args=(name, process.stdout), daemon=True).start()
        return process

    def _relay(self, name: str, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                if text := line.rstrip():
                    self.say(name, text)

    def _spawn(self, running: _Running) -> None:
        program = running.program
        running.process = self._popen(program.name, program.command, program.environment)
        running.started_at = time.monotonic()

    def _bury(self, running: _Running) -> None:
        """Note an unexpected end, with whatever the process left, and plan the next start."""
        assert running.process is not None
        status = _end_group(running.process, 0)
        running.process = None
        if time.monotonic() - running.started_at > STEADY_AFTER_S:
            running.delay_s = FIRST_DELAY_S
        running.due_at = time.monotonic() + running.delay_s
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self.say("supervisor", f"{running.program.name} {how}; starting it again in {running.delay_s:g} s")
        running.delay_s = min(running.delay_s * 2, LONGEST_DELAY_S)

    # ---- all of them

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _stop_all(self) -> None:
        alive = [running for running in self._running if running.process is not None]
        upper = [running for running in reversed(alive) if not running.program.foundation]
        if upper:
            self.say("supervisor", f"stopping {', '.join(running.program.name for running in upper)}")
        for running in upper:
            assert running.process is not None
            running.process.terminate()
        asked_at = time.monotonic()
        for running in upper:
            assert running.process is not None
            _end_group(running.process, asked_at + running.program.stop_within_s - time.monotonic())
        for running in reversed(alive):
            if running.program.foundation:
                assert running.process is not None
                self.say("supervisor", f"stopping {running.program.name}")
                if running.program.end is not None:
                    running.program.end(running.process.pid)
                running.process.terminate()
                _end_group(running.process, running.program.stop_within_s)
        _end_marked(self._run_id)
        if alive:
            self.say("supervisor", "everything is stopped")

    def _record(self) -> None:
        """Write down who runs, when that has changed."""
        found = [("supervisor", os.getpid())]
        for running in self._running:
            if running.process is None:
                continue
            name, pid, find_pid = running.program.name, running.process.pid, running.program.find_pid
            if find_pid is None:
                found.append((name, pid))
            else:
                found.append((f"{name}-loop", pid))
                if (meant := find_pid(pid)) is not None:
                    found.append((name, meant))
        records = [ProcessRecord(name, pid, start) for name, pid in found if (start := _start_time(pid))]
        if records != self._recorded:
            self._recorded = records
            content = {"run": self._run_id, "processes": [asdict(record) for record in records]}
            new = self.state / "processes.json.new"
            new.write_text(json.dumps(content, indent=1))
            new.replace(self.state / "processes.json")


def require_free_port(port: int, *, setting: str) -> None:
    """CannotRun when somebody listens on this loopback port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = f"Port {port} cannot be used ({error.strerror}); choose another with {setting}."
            raise CannotRun(reason) from None


def end_leftovers(state: Path) -> None:
    """End what a supervisor that was killed hard left running; only for the holder of the folder's lock."""
    if run_id := _read(state).get("run"):
        _end_marked(run_id)


def stop(state: Path) -> None:
    """Stop the supervisor of this state folder, if one runs, and everything that it started."""
    supervisor = read_processes(state).get("supervisor")
    if supervisor and supervisor.alive:
        os.kill(supervisor.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_WITHIN_S
        while supervisor.alive and time.monotonic() < deadline:
            time.sleep(TICK_S)
        if supervisor.alive:
            os.kill(supervisor.pid, signal.SIGKILL)
            time.sleep(1)
    with _lock(state):
        end_leftovers(state)


def _lock(state: Path) -> IO[str]:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (state / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise CannotRun(f"Hotdesk is already running with the state folder {state}.") from None
    return lock


def _read(state: Path) -> dict[str, Any]:
    try:
        content = json.loads((state / "processes.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None when it is gone or only unreaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _has_ended(process: Process) -> bool:
    """Whether the child has ended, without reaping it: until then nobody else can get its process id."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_group(process: Process, patience_s: float) -> int:
    """The exit status of a child that was asked to end, given some time; what is left of its group is killed."""
    deadline = time.monotonic() + patience_s
    while not _has_ended(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _marked(run_id: str) -> Iterator[int]:
    wanted = f"{MARK}={run_id}".encode()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
        except OSError:
            continue  # gone meanwhile, or somebody else's


def _end_marked(run_id: str) -> None:
    deadline = time.monotonic() + 10
    while (pids := list(_marked(run_id))) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
