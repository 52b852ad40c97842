"""`python -m broker.lab stop STATE`: the part of `make demo-reset` that needs no Django."""

import sys
from pathlib import Path

from broker.lab import supervisor
from broker.lab.libvirtd import PrivateLibvirtd


def stop(state: Path) -> None:
    """Stop the demo that uses this state folder, if one runs, and whatever an earlier one left."""
    if state.exists():
        supervisor.stop(state)
        PrivateLibvirtd(state / "libvirt").clean_up()


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "stop":
        sys.exit("usage: python -m broker.lab stop STATE")
    try:
        stop(Path(sys.argv[2]).resolve())
    except supervisor.CannotRun as error:
        sys.exit(f"demo: {error}")
