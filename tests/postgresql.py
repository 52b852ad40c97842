"""A private PostgreSQL for the tests: its own folder, a socket in it, no port; it ends with the test process."""

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def database() -> dict[str, Any]:
    """Start it, and say how Django reaches it."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not binaries:
        raise ImproperlyConfigured("PostgreSQL is not installed: `make test` installs it.")
    folder = Path(tempfile.mkdtemp(prefix="hotdesk-postgresql-"))
    as_owner: list[str] = []
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        shutil.chown(folder, "postgres")
        as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = folder / "data"
    run = [
        *as_owner,
        str(binaries[0] / "initdb"),
        "-D",
        str(data),
        "-U",
        "hotdesk",
        "-A",
        "trust",
        "-E",
        "UTF8",
    ]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL, cwd="/")
    control = [*as_owner, str(binaries[0] / "pg_ctl"), "-D", str(data), "-w"]
    options = f"-k {folder} -c listen_addresses='' -c max_connections=200"
    start = [*control, "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/")
    owner = os.getpid()

    def stop() -> None:
        if os.getpid() == owner:  # not in the children that tests fork
            subprocess.run([*control, "-m", "immediate", "stop"], stdout=subprocess.DEVNULL, cwd="/")
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "hotdesk",
        "USER": "hotdesk",
        "HOST": str(folder),
        "OPTIONS": {},
        "TEST": {"NAME": "hotdesk_test"},
    }
