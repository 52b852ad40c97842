"""The tools that disks and certificates are made with."""

import os
import subprocess
from pathlib import Path


def run(*command: str, input: bytes | None = None, cwd: Path | None = None) -> bytes:
    """Run one tool, with the system folders on its path; its output, or an error that quotes what it said."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    done = subprocess.run(command, input=input, cwd=cwd, capture_output=True, env=os.environ | {"PATH": path})
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"`{' '.join(command[:3])} …` failed: {said}")
    return done.stdout
