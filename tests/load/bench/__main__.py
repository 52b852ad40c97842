"""`make bench`: measure everything, print a table, keep it as JSON; the last line is `budgets met: K of N`."""

import argparse
import logging
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from broker.lab.supervisor import Supervisor
from tests.load.bench.results import HEAD, Measured, keep
from tests.load.bench.sizes import FULL, SMALL, Size
from tests.load.production import Production
from tests.running import ROOT, running_hotdesk

WEBS = 2
PARTS = ("allocation", "pages", "takes", "watchers", "consoles", "storms", "guests")


def main() -> int:
    """Zero whether or not budgets are met: what is missed is told, and why is for people to find out."""
    parser = argparse.ArgumentParser(description="Measure Hotdesk against its budgets.")
    parser.add_argument("--size", choices=["full", "small"], default=os.environ.get("BENCH", "full"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    size = SMALL if options.size == "small" else FULL
    state = Path(os.environ.get("HOTDESK_STATE", ROOT / ".hotdesk"))
    _many_files()
    found: list[Measured] = []
    print(HEAD, flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="hotdesk-bench-") as name:
            for one in measure(Path(name), size, options.parts):
                found.append(one)
                print(one.line(), flush=True)
    finally:
        # What was measured in half an hour is not lost with a part that breaks.
        keep(found, state / "bench.json", size=options.size, commit=_commit())
    print(f"kept in {state / 'bench.json'}")
    judged = [one.met for one in found if one.met is not None]
    print(f"budgets met: {sum(judged)} of {len(judged)}", flush=True)
    return 0


def measure(folder: Path, size: Size, parts: tuple[str, ...]) -> Iterator[Measured]:
    """What needs no other process first, and each with no more processes than it needs."""
    (folder / "production").mkdir()
    with (folder / "log").open("w") as log, Supervisor(folder / "production", log) as supervisor:
        place = Production(supervisor, folder / "production", database="postgresql")
        place.start_foundations()
        logging.disable(logging.INFO)
        # Loaded only now: they know Django's models.
        from tests.load.bench import allocation, consoles, pages, storms, takes, watchers

        if "allocation" in parts:
            yield from allocation.measure(place, size)
            place.tidy_up()
        if "pages" in parts:
            yield from pages.lists(place, size)
            yield from pages.queries(place, size)
        if {"pages", "takes", "watchers", "consoles", "storms"} & set(parts):
            place.start_webs(WEBS)
            place.start_bare_webs(WEBS)
        if "pages" in parts:
            yield from pages.portal(place, size)
        if {"takes", "watchers", "consoles", "storms"} & set(parts):
            place.start_broker("broker1")
        if "takes" in parts:
            yield from takes.measure(place, size)
        if "watchers" in parts:
            yield from watchers.measure(place, size)
        if "consoles" in parts:
            yield from consoles.measure(place, size)
        if "storms" in parts:
            yield from storms.measure(place, size)
    if "guests" in parts:
        from tests.load.bench import guests

        for hotdesk in running_hotdesk(folder):
            yield from guests.measure(hotdesk, size)


def _many_files() -> None:
    """Thousands of connections are as many open files."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
