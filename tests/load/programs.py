"""The load programs as their tests run them: each in a process of its own, which knows nothing of these tests."""

import os
import subprocess
import sys

from tests.running import ROOT

LONGEST_S = 900


def run(name: str, *options: str, **environment: str) -> list[str]:
    """The lines that a program of this folder printed; it must end well."""
    # Django knows one database for the life of a process, and ours is not theirs.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HOTDESK_", "DJANGO_"))}
    command = [sys.executable, "-m", f"tests.load.{name}", *options]
    environment = {**inherited, **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
