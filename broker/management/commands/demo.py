"""Run all of Hotdesk on this machine: a private libvirt and Redis, web, workers, beat and watcher."""

import http.client
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from broker.lab import guest
from broker.lab.libvirtd import PrivateLibvirtd
from broker.lab.redis_server import PrivateRedis
from broker.lab.supervisor import CannotRun, Program, Stopped, Supervisor, require_free_port
from broker.management.commands.seed_demo import HOST as DEMO_HOST

# Only consoles say something on their websockets, bit by bit; and no browser of ours needs long headers.
WEB_LIMITS = ("--ws-max-size", "16384", "--h11-max-incomplete-event-size", "32768", "--no-server-header")
WORKERS = {"allocate": 1, "consoles": 2, "hypervisor": 4}  # queue: processes
CERTIFICATES = "certificates"
SETUP_STEPS = (
    ["migrate", "--noinput", "--verbosity=0"],
    ["collectstatic", "--noinput", "--verbosity=0"],
    ["seed_demo"],
    ["certificates", "make", str(settings.STATE_DIR / CERTIFICATES), "--host", DEMO_HOST],
)

WELCOME = """\
Sign in as agent01 … agent10, as admin, or as visitor (who may take nothing); the password is: hotdesk
Everything is kept in {state}. Stop with Ctrl-C; start afresh with `make demo-reset`."""


class Command(BaseCommand):
    """`manage.py demo`."""

    help = "Run Hotdesk with a demo world on this machine until Ctrl-C."
    requires_system_checks = ()  # the children check; this process only supervises

    def handle(self, **_: Any) -> None:
        """Start everything, then stay until a signal; exit status 1 with one sentence when that cannot be."""
        try:
            with Supervisor(settings.STATE_DIR) as supervisor:
                require_free_port(settings.PORT, setting="HOTDESK_PORT")  # after the leftovers are gone
                Demo(supervisor, settings.STATE_DIR, settings.PORT).run()
        except Stopped:
            pass
        except (CannotRun, OSError, RuntimeError) as error:
            print(f"demo: {error}", file=sys.stderr)
            sys.exit(1)


class Demo:
    """One run: the foundations, the set-up steps, the programs."""

    def __init__(self, supervisor: Supervisor, state: Path, port: int) -> None:
        self.supervisor = supervisor
        self.state = state
        self.port = port
        self.libvirtd = PrivateLibvirtd(state / "libvirt", certificates=state / CERTIFICATES / DEMO_HOST)
        self.redis = PrivateRedis(state / "redis")
        self.image = state / "tiny-linux.qcow2"
        self.environment = self._environment()

    def run(self) -> None:
        """Return when somebody asked to stop."""
        self._start_foundations()
        if not guest.is_current(self.image):
            self.supervisor.run("guest", [sys.executable, "-m", guest.__name__, str(self.image)], self.environment)
        for step in SETUP_STEPS:
            self.supervisor.run("set-up", self._manage(*step), self.environment)
        for name, command in self._programs().items():
            self.supervisor.start(Program(name, command, self.environment))
        threading.Thread(target=self._announce_when_ready, daemon=True).start()
        self.supervisor.keep_running()

    def _start_foundations(self) -> None:
        self.libvirtd.prepare()
        self.redis.prepare()
        redis = Program("redis", self.redis.command(), self.environment, foundation=True, stop_within_s=5)
        libvirtd = Program(
            "libvirtd",
            self.libvirtd.command(),
            self.libvirtd.environment(os.environ),
            foundation=True,
            find_pid=self.libvirtd.find_daemon,
            end=self._end_libvirtd,
        )
        for program, server in ((libvirtd, self.libvirtd), (redis, self.redis)):
            self.supervisor.start(program)
            sentence = f"{program.name} does not answer; see {server.log}."
            self.supervisor.wait_for(server.answers, sentence, timeout_s=60)

    def _end_libvirtd(self, command_pid: int) -> None:
        self.libvirtd.end(command_pid)
        self.libvirtd.clean_up()

    def _programs(self) -> dict[str, list[str]]:
        """What runs, by name, in the order of starting."""
        celery = [sys.executable, "-m", "celery", "-A", "portal", "--quiet"]
        web = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1"]
        web += ["--port", str(self.port), "--no-access-log", "--log-level", "warning"]
        web += ["--timeout-graceful-shutdown", "3", *WEB_LIMITS]
        programs = {"web": web}
        for queue, processes in WORKERS.items():
            options = ["-Q", queue, "-n", f"{queue}@hotdesk", "--concurrency", str(processes)]
            quiet = ["--without-mingle", "--without-gossip", "-l", "WARNING"]
            programs[queue] = [*celery, "worker", *options, *quiet]
        programs["beat"] = [*celery, "beat", "-s", str(self.state / "beat-schedule"), "-l", "WARNING"]
        programs["watch"] = self._manage("watch")
        return programs

    def _manage(self, *arguments: str) -> list[str]:
        return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]

    def _environment(self) -> Mapping[str, str]:
        """What the children need to know; the database is the caller's, or SQLite in the state folder."""
        return {
            **os.environ,
            "HOTDESK_STATE": str(self.state),
            "HOTDESK_PORT": str(self.port),
            "HOTDESK_SECRET_KEY": _secret_key(self.state / "secret_key"),
            "HOTDESK_REDIS_URL": self.redis.url,
            "HOTDESK_DEMO_HOST_URI": self.libvirtd.uri,
            "HOTDESK_STORAGE_PATH": str(self.state / "images"),
            "HOTDESK_PROBE_IMAGE": str(self.image),
            "PYTHONPATH": str(settings.BASE_DIR),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",  # as root
        }

    def _announce_when_ready(self) -> None:
        while not self.supervisor.stopping:
            if self._is_ready():
                self.supervisor.announce(f"Hotdesk is ready: http://127.0.0.1:{self.port}")
                self.supervisor.announce(WELCOME.format(state=self.state))
                return
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        """Whether a desktop can be taken now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _secret_key(file: Path) -> str:
    """The same key on every start, so that people stay signed in."""
    if not file.exists():
        with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as target:
            target.write(secrets.token_urlsafe(48))
    return file.read_text()
