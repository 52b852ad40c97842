"""A running Hotdesk for tests: the real demo in a folder of its own, and people who use its API."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from broker.lab.libvirtd import PrivateLibvirtd
from broker.lab.supervisor import read_processes
from tests.serial_console import SerialConsole

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "hotdesk"
READY = re.compile(r"^Hotdesk is ready: (?P<url>http://127\.0\.0\.1:\d+)$", re.MULTILINE)
PATIENCE_S = 120.0
# Whoever asks the web ten times a second takes a quarter of a processor from the guest that is waited for.
ASKING_S = 0.4

# Shorter than in production, so that tests see in seconds what heals in half a minute there.
HASTE = {
    "HOTDESK_TASK_SECONDS": "8",
    "HOTDESK_SWEEP_SECONDS": "3",
    "HOTDESK_MONITOR_SECONDS": "4",
    "HOTDESK_BEAT_LEASE_SECONDS": "4",
}


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S, pause: float = ASKING_S) -> Any:
    """The first true answer; fails, saying what was waited for, when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(pause)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def descendants(pid: int) -> Iterator[int]:
    """The processes below one, as far as they are there."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from descendants(int(child))


def kill_hard(pids: Iterable[int]) -> None:
    """SIGKILL to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Person:
    """Somebody who is signed in to the API."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.http = httpx.Client(base_url=f"{url}/api/v1", timeout=30)
        answer = self.http.post("/tokens", json={"username": name, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def take(self, pool_id: str) -> "Desktop":
        answer = self.http.post(f"/pools/{pool_id}/take")
        assert answer.status_code == 201, answer.text
        return Desktop(self, answer.json()["id"])


@dataclass
class Desktop:
    """A wish, as its owner sees it."""

    owner: Person
    id: str

    def now(self) -> dict[str, Any]:
        return self.owner.get(f"/requests/{self.id}")

    def wait_for(self, state: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
        return wait_until(
            lambda: (now := self.now())["state"] == state and now, f"{self.owner.name} {state}", seconds
        )

    def console(self) -> httpx.Response:
        return self.owner.http.post(f"/requests/{self.id}/console")

    def give_back(self) -> None:
        answer = self.owner.http.post(f"/requests/{self.id}/return")
        assert answer.status_code == 202, answer.text

    def return_and_wait(self) -> dict[str, Any]:
        if self.now()["state"] != "ended":
            self.give_back()
        return self.wait_for("ended")


class Hotdesk:
    """The demo, started as a person would; what it prints is kept in `log`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.log = state.with_suffix(".log")
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{
                key: value
                for key, value in os.environ.items()
                if key not in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")
            },
            **HASTE,
            "HOTDESK_STATE": str(state),
            "HOTDESK_PORT": str(self.port),
        }
        for name in ("HOTDESK_SECRET_KEY", "HOTDESK_TEST_DATABASE"):
            self.environment.pop(name, None)
        self.libvirtd = PrivateLibvirtd(state / "libvirt")
        self.process: subprocess.Popen[bytes] | None = None
        self.people: dict[str, Person] = {}

    def start(self) -> None:
        before = self.said().count("Hotdesk is ready")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.said()[-4000:]
            return self.said().count("Hotdesk is ready") > before

        wait_until(ready, "Hotdesk is ready", 300)

    def stop(self) -> int:
        """One SIGTERM to the process group; the exit status."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(60)

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def person(self, name: str) -> Person:
        if name not in self.people:
            self.people[name] = Person(self.url, name)
        return self.people[name]

    def manage(self, *arguments: str) -> str:
        """A management command, with the demo's own settings."""
        environment = {
            **self.environment,
            "HOTDESK_REDIS_URL": self._redis_url(),
            "DATABASE_URL": self.database_url,
        }
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def database_url(self) -> str:
        """Of the database that was chosen for it, or else of its own."""
        return self.environment.get("DATABASE_URL", f"sqlite:///{self.state / 'hotdesk.sqlite3'}")

    def _redis_url(self) -> str:
        from broker.lab.redis_server import PrivateRedis

        return PrivateRedis(self.state / "redis").url

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the database beside the running Hotdesk."""
        with closing(sqlite3.connect(f"file:{self.state / 'hotdesk.sqlite3'}?mode=ro", uri=True, timeout=20)) as db:
            return db.execute(query, values).fetchall()

    def pid(self, name: str) -> int:
        record = wait_until(
            lambda: (found := read_processes(self.state).get(name)) and found.alive and found, f"{name} runs"
        )
        return record.pid

    def serial(self, vm_id: str) -> SerialConsole:
        return SerialConsole(self.libvirtd.uri, vm_id)

    # what administrators do ------------------------------------------------------------------

    @property
    def admin(self) -> Person:
        return self.person("admin")

    def set(self, key: str, value: int) -> None:
        answer = self.admin.http.patch(f"/settings/{key}", json={"value": value})
        assert answer.status_code == 200, answer.text

    def pool_named(self, name: str) -> dict[str, Any]:
        return next(pool for pool in self.admin.get("/manage/pools")["items"] if pool["name"] == name)

    def create_pool(self, name: str, size: int, **values: Any) -> str:
        """A pool that is open to the help desk, once its VMs exist."""
        body = {
            "name": name,
            "cluster": self.admin.get("/clusters")["items"][0]["id"],
            "template": self.admin.get("/templates?q=Tiny")["items"][0]["id"],
            "size": size,
            **values,
        }
        answer = self.admin.http.post("/manage/pools", json=body)
        assert answer.status_code == 202, answer.text
        pool_id, job_id = answer.json()["pool"]["id"], answer.json()["job"]["id"]
        wait_until(lambda: self.admin.get(f"/jobs/{job_id}")["state"] == "done", f"{name} is made")
        given = {"principal": {"group": "help desk"}, "role": "UserRole"}
        answer = self.admin.http.post(f"/manage/pools/{pool_id}/permissions", json=given)
        assert answer.status_code == 201, answer.text
        return pool_id

    def vms(self, pool_id: str) -> list[dict[str, Any]]:
        return self.admin.get(f"/vms?pool={pool_id}")["items"]

    def everybody_leaves(self) -> None:
        """What a test left in somebody's hands is returned, and nobody waits any more: hosts rest only then."""
        query = "SELECT r.id, u.username FROM broker_desktoprequest r JOIN portal_user u ON u.id = r.user_id"
        for key, name in self.rows(f"{query} WHERE r.state IN ('queued', 'starting', 'ready')"):
            self.person(name).http.post(f"/requests/{UUID(key)}/return")
        wait_until(lambda: not self.rows(f"{query} WHERE r.state <> 'ended'"), "nobody has a desktop")

    def wait_until_clean(self, pool_id: str) -> None:
        """No wish is under way, and every VM is down and clean, or prestarted as promised."""

        def clean() -> bool:
            promised = self.admin.get(f"/manage/pools/{pool_id}")["prestarted_vms"]
            vms = self.vms(pool_id)
            up = [vm for vm in vms if vm["status"] == "up"]
            held = any(vm["hold"] or vm["user"] for vm in vms)
            return not held and len(up) == promised and all(vm["status"] in ("up", "down") for vm in vms)

        wait_until(clean, "all VMs are clean")


def kill(hotdesk: Hotdesk, *kinds: str) -> None:
    """SIGKILL the processes and all of their children at once; Redis loses its data, too."""
    pids = {kind: hotdesk.pid(kind) for kind in kinds}
    # libvirtd's guests are not its children; a worker's and the watcher's children are of the same kind.
    kill_hard(pid for kind, top in pids.items() for pid in (top, *(descendants(top) if kind != "libvirtd" else ())))
    if "redis" in kinds:
        for file in (hotdesk.state / "redis").glob("*.rdb"):
            file.unlink()

    def back() -> bool:
        now = read_processes(hotdesk.state)
        return all(kind in now and now[kind].alive and now[kind].pid != pid for kind, pid in pids.items())

    wait_until(back, f"{' and '.join(kinds)} are back")


def connection(text: str) -> dict[str, str]:
    """The keys of a connection file."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def running_hotdesk(folder: Path) -> Iterator[Hotdesk]:
    """Start, lend, and stop again, whatever the tests did."""
    hotdesk = Hotdesk(folder / "hotdesk")
    try:
        hotdesk.start()
        # A guest that is still booting hears no shutdown: nobody wants to wait half a minute for each of them.
        hotdesk.set("VmGracefulShutdownTimeout", 8)
        yield hotdesk
    finally:
        if hotdesk.process is not None and hotdesk.process.poll() is None:
            hotdesk.stop()
