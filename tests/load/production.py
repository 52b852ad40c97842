"""Hotdesk as it runs on several machines, on this one: one database and one Redis, so many web processes and brokers.

A broker is what a machine besides the web runs: workers of all queues, a beat, and a watcher of the hosts. The hosts
are fake ones.
"""

import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import django
import httpx

from broker.lab.redis_server import PrivateRedis
from broker.lab.supervisor import Program, Supervisor
from tests.postgresql import PrivatePostgresql
from tests.running import ROOT

CELERY = (sys.executable, "-m", "celery", "-A", "portal", "--quiet")
QUIET = ("--without-mingle", "--without-gossip", "-l", "WARNING")
QUEUES = {"allocate": 1, "consoles": 1, "hypervisor": 3}  # queue: processes of each broker
READY_WITHIN_S = 120.0
# Shorter than in production: a lease that a killed worker held lapses after TASK_SECONDS + 3.
HASTE = {
    "HOTDESK_TASK_SECONDS": "4",
    "HOTDESK_SWEEP_SECONDS": "2",
    "HOTDESK_MONITOR_SECONDS": "2",
    "HOTDESK_TIME_SECONDS": "1",
    "HOTDESK_BEAT_LEASE_SECONDS": "3",
}


class Production:
    """What is started is ended by the supervisor; this process may use Django once the foundations stand."""

    def __init__(
        self,
        supervisor: Supervisor,
        folder: Path,
        *,
        database: str,
        durable: bool = True,
        seed: int = 0,
        haste: Mapping[str, str] = {},
    ) -> None:
        self.supervisor, self.folder, self.seed = supervisor, folder, seed
        self.fleet = folder / "fleet"
        self.redis = PrivateRedis(folder / "redis")
        self.postgresql = PrivatePostgresql(durable=durable) if database == "postgresql" else None
        self.ports: list[int] = []
        self.bare_ports: list[int] = []
        self.environment = {
            **os.environ,
            **haste,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "DATABASE_URL": self.postgresql.url if self.postgresql else f"sqlite:///{folder / 'hotdesk.sqlite3'}",
            "HOTDESK_STATE": str(folder),
            "HOTDESK_SECRET_KEY": secrets.token_urlsafe(48),
            "HOTDESK_REDIS_URL": self.redis.url,
            "HOTDESK_FAKE_HOSTS": "1",
            "HOTDESK_REQUESTS_PER_ADDRESS": "1000000",  # all come from this machine
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
        }

    def start_foundations(self) -> None:
        """Database, Redis and the fleet of fake hosts; then Django in this process, and the tables."""
        self.start_servers()
        self.make_tables()
        self._collect_static()

    def start_servers(self) -> None:
        """What must answer before a worker can be started; Django is ready in this process afterwards."""
        if self.postgresql is not None:
            self.postgresql.start()
        (self.folder / "static").mkdir()
        self.redis.prepare()
        fleet = [sys.executable, "-m", "broker.drivers.hypervisor.fake_fleet", str(self.fleet)]
        self.start("redis", self.redis.command(), foundation=True)
        self.start("fleet", [*fleet, "--seed", str(self.seed)], foundation=True)
        self.supervisor.wait_for(self.redis.answers, "Redis does not answer.", timeout_s=20)
        self.supervisor.wait_for(self.fleet.exists, "The fleet does not answer.", timeout_s=20)
        os.environ.update(self.environment)
        django.setup()

    def make_tables(self) -> None:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        # Without an administrator no page is shown but the one that says so.
        call_command("createsuperuser", interactive=False, username="root", email="root@localhost", verbosity=0)

    def _collect_static(self) -> None:
        from django.core.management import call_command

        call_command("collectstatic", interactive=False, verbosity=0)

    def start_webs(self, count: int) -> None:
        """So many web processes, each on a port of its own; waits until all answer."""
        self.ports += [self._serve(f"web{number}", "portal.asgi:application") for number in range(1, count + 1)]
        self._wait_for_answers(self.ports)

    def start_bare_webs(self, count: int) -> None:
        """As many that do nothing, to compare with."""
        bare = "tests.load.bench.floor:application"
        self.bare_ports += [self._serve(f"bare{number}", bare) for number in range(1, count + 1)]
        self._wait_for_answers(self.bare_ports)

    def _serve(self, name: str, application: str) -> int:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        web = [sys.executable, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port)]
        self.start(name, [*web, "--no-access-log", "--log-level", "warning", "--backlog", "4096"])
        return port

    def _wait_for_answers(self, ports: list[int]) -> None:
        for port in ports:
            self.supervisor.wait_for(lambda port=port: _answers(port), "The web does not answer.", READY_WITHIN_S)

    def start_broker(self, name: str, supervisor: Supervisor | None = None) -> None:
        """Workers of all queues, a beat and a watcher; with a supervisor of its own it can be ended alone."""
        programs = {f"{name}-{queue}": self._worker(name, queue) for queue in QUEUES}
        schedule = str(self.folder / f"{name}-schedule")
        programs[f"{name}-beat"] = [*CELERY, "beat", "-s", schedule, "-l", "WARNING"]
        programs[f"{name}-watch"] = [sys.executable, str(ROOT / "manage.py"), "watch"]
        for program, command in programs.items():
            (supervisor or self.supervisor).start(self._program(program, command))

    def _worker(self, broker: str, queue: str) -> list[str]:
        processes = ["--concurrency", str(QUEUES[queue])]
        return [*CELERY, "worker", "-Q", queue, "-n", f"{queue}@{broker}", *processes, *QUIET]

    def start(self, name: str, command: list[str], *, foundation: bool = False) -> None:
        """Keep a program running."""
        self.supervisor.start(self._program(name, command, foundation=foundation))

    def _program(self, name: str, command: list[str], *, foundation: bool = False) -> Program:
        return Program(name, command, self.environment, foundation=foundation, stop_within_s=5)

    def tidy_up(self) -> None:
        """What PostgreSQL does by itself in time, after much was written and deleted at once."""
        from django.db import connection

        if self.postgresql is not None:
            with connection.cursor() as cursor:
                cursor.execute("vacuum analyze")

    def wait_for(self, condition: object, sentence: str, timeout_s: float = READY_WITHIN_S) -> float:
        """The seconds until a condition of the rows held; CannotRun with the sentence when it never does."""
        began = time.monotonic()
        self.supervisor.wait_for(condition, sentence, timeout_s)  # type: ignore[arg-type]
        return time.monotonic() - began


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
