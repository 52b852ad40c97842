"""A private PostgreSQL: its own folder, a socket in it, no port; it ends with the process that started it."""

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class PrivatePostgresql:
    """A server with one owner, `hotdesk`, whom it asks for no password. `durable`: commits wait for the disk."""

    def __init__(self, *, durable: bool = True) -> None:
        self._haste = "" if durable else "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        if not binaries:
            raise ImproperlyConfigured("PostgreSQL is not installed: `make test` installs it.")
        self.folder = Path(tempfile.mkdtemp(prefix="hotdesk-postgresql-"))
        self._as_owner: list[str] = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            shutil.chown(self.folder, "postgres")
            self._as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._binaries = binaries[0]
        self._initialized_by = os.getpid()
        self._run("initdb", "-U", "hotdesk", "-A", "trust", "-E", "UTF8")
        atexit.register(self.remove)

    @property
    def url(self) -> str:
        """For DATABASE_URL: the database that every server has."""
        return f"postgres://hotdesk@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-k {self.folder} -c listen_addresses='' -c max_connections=300 {self._haste}"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """As a crash does: nobody is waited for, and the next start recovers."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop", check=False)

    def remove(self) -> None:
        """Stop it and forget what it kept; nothing in children that were forked."""
        if os.getpid() == self._initialized_by:
            self.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [*self._as_owner, str(self._binaries / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=check, stdout=subprocess.DEVNULL, cwd="/")


def database() -> dict[str, Any]:
    """Start one for the tests, and say how Django reaches it."""
    # A power failure loses a test run anyway: nothing is waited for to reach the disk.
    server = PrivatePostgresql(durable=False)
    server.start()
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "hotdesk",
        "USER": "hotdesk",
        "HOST": str(server.folder),
        "OPTIONS": {},
        "TEST": {"NAME": "hotdesk_test"},
    }
