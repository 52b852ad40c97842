"""The whole demo with real guests, while everything that it is made of fails.

`python -m tests.load.chaos --seconds 300 --people 8 --seed 7 --database sqlite` starts a demo of its own, in which
people take and return desktops. Meanwhile each kind of process is killed, Redis loses its data, libvirtd freezes,
guests die, the disk is full, the clock jumps and, with `--database postgresql`, the database restarts. What people
and torments do, the seed decides. Then nothing more fails, everybody goes home, and all must come to rest by itself.
The last line is `lost: 0 doubled: 0 orphaned: 0`.
"""

import argparse
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import django
import httpx

from tests.load.checker import Harm, Violation, counts, schedule, state_violations, violations
from tests.load.record import Machinery, Record
from tests.load.torments import Clock, Storage, Torments
from tests.load.visitors import Visitor
from tests.postgresql import PrivatePostgresql
from tests.running import Hotdesk

POOL = "helpdesk"
MOST_PEOPLE = 10  # that the demo knows
REST_WITHIN_S = 240.0
CONFESSIONS = ("was abandoned in state", "is broken:", "has been returning since")


class Chaos:
    """One demo, and what becomes of it."""

    def __init__(self, hotdesk: Hotdesk, torments: Torments, options: argparse.Namespace) -> None:
        self.hotdesk, self.torments, self.options = hotdesk, torments, options
        self.done: Counter[str] = Counter()
        self.released = 0
        self.visitors: list[Visitor] = []

    def run(self) -> tuple[Record, list[Violation]]:
        self._torment()
        found = self._settle("everybody is served who can be")
        self._everybody_leaves()
        found += self._settle("everybody has left")
        record = self._record()
        check = state_violations if self.torments.moved_clock else violations
        found += [*check(record), *self._confessions()]
        return record, list(dict.fromkeys(found))

    def _torment(self) -> None:
        over = threading.Event()
        pool_id = self.hotdesk.pool_named(POOL)["id"]
        names = [f"agent{number:02}" for number in range(1, self.options.people + 1)]
        self.visitors = [Visitor(self.hotdesk.person(name), pool_id, POOL, self.options.seed, over) for name in names]
        for visitor in self.visitors:
            visitor.start()
        ends_at = time.monotonic() + self.options.seconds
        try:
            while time.monotonic() < ends_at:
                time.sleep(self.torments.pause())
                self.done[self.torments.one()] += 1
        finally:
            self.torments.undo()
            over.set()
        for visitor in self.visitors:
            visitor.join()
        say("nothing fails any more, and nobody comes")

    # -- afterwards ----------------------------------------------------------------------------------

    def _settle(self, what: str) -> list[Violation]:
        """Wait until all is at rest; what is not, when it never is."""
        began = time.monotonic()
        while True:
            found = state_violations(self._record())
            took = time.monotonic() - began
            if not found or took > REST_WITHIN_S:
                say(f"{what}, after {took:.1f} s" if not found else f"not at rest: {what}")
                return found
            self._release_what_failed_too_often()
            time.sleep(0.5)

    def _release_what_failed_too_often(self) -> None:
        """What could not be started three times in a row is kept for an administrator to release."""
        from broker.models import VirtualMachine

        for key in VirtualMachine.objects.filter(hold="error").values_list("pk", flat=True):
            answer = self._insist(lambda key=key: self.hotdesk.admin.http.post(f"/vms/{key}/return"))
            self.released += answer.status_code == 202

    def _everybody_leaves(self) -> None:
        from broker.models import DesktopRequest

        live = DesktopRequest.objects.live().order_by("-ticket").values_list("pk", "user__username")
        for key, name in live:
            http = self.hotdesk.person(name).http
            self._insist(lambda http=http, key=key: http.post(f"/requests/{key}/return"))

    def _insist(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        while True:
            try:
                answer = ask()
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code != 503:
                return answer
            time.sleep(0.3)

    def _record(self) -> Record:
        from django.db import close_old_connections

        from tests.load import rows

        close_old_connections()
        answers = [answer for visitor in self.visitors for answer in list(visitor.answers)]
        return rows.read(self._machinery(), answers, {})

    def _machinery(self) -> list[Machinery]:
        from broker import config
        from broker.drivers import hypervisor
        from broker.models import Host

        installation = config.installation()
        off = (hypervisor.DomainState.OFF, hypervisor.DomainState.CRASHED)
        return [
            Machinery(
                id=host.pk,
                name=host.name,
                usable_mib=host.memory_mib * host.memory_overcommit_percent // 100,
                running={
                    facts.vm_id: facts.run
                    for facts in hypervisor.connect(host.uri).domains(installation)
                    if facts.state not in off
                },
                files=frozenset(path.name for path in (self.hotdesk.state / "images").iterdir()),
            )
            for host in Host.objects.all()
        ]

    def _confessions(self) -> list[Violation]:
        lines = self.hotdesk.said().splitlines()
        said = [line for line in lines if any(words in line for words in CONFESSIONS)]
        return [Violation("errors", Harm.LOST, f"a worker says: {line}") for line in said]


def report(chaos: Chaos, record: Record, found: list[Violation]) -> None:
    """What was done, and each finding with the acts that led to it."""
    endings = Counter(wish.end_reason for wish in record.wishes)
    refusals = Counter(answer.refusal for answer in record.answers if answer.refusal)
    say(f"torments: {counts(chaos.done)}")
    say(f"requests: {len(record.wishes)}, connection files: {sum(visitor.files for visitor in chaos.visitors)}")
    say(f"endings: {counts(endings)}; refusals: {counts(refusals)}")
    say(f"released by an administrator: {chaos.released}")
    for violation in found:
        say(str(violation))
        for answer in schedule(violation, record.answers) if violation.people else ():
            say(f"    {answer}")


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="The demo, while everything that it is made of fails.")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--people", type=int, choices=range(1, MOST_PEOPLE + 1), default=8)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args()
    # What was started is stopped, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    say(f"seed: {options.seed}")
    with tempfile.TemporaryDirectory(prefix="hotdesk-chaos-") as name:
        folder = Path(name)
        with Storage(folder / "hotdesk" / "images") as storage:
            found = _with_storage(folder, storage, options)
    counts = Counter(violation.harm for violation in found)
    say(" ".join(f"{harm}: {counts[harm]}" for harm in Harm))
    return 1 if found else 0


def _with_storage(folder: Path, storage: Storage, options: argparse.Namespace) -> list[Violation]:
    clock = Clock(folder)
    hotdesk = Hotdesk(folder / "hotdesk")
    hotdesk.environment |= clock.environment
    postgresql = PrivatePostgresql() if options.database == "postgresql" else None
    if postgresql is not None:
        postgresql.start()
        hotdesk.environment["DATABASE_URL"] = postgresql.url
    try:
        hotdesk.start()
        hotdesk.set("VmGracefulShutdownTimeout", 8)
        _look_at_its_rows(hotdesk)
        chaos = Chaos(hotdesk, Torments(hotdesk, storage, clock, postgresql, options.seed), options)
        record, found = chaos.run()
        report(chaos, record, found)
    finally:
        if hotdesk.process is not None and hotdesk.process.poll() is None:
            hotdesk.stop()
    return found


def _look_at_its_rows(hotdesk: Hotdesk) -> None:
    """With the demo's own settings."""
    os.environ.update(
        {
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "HOTDESK_STATE": str(hotdesk.state),
            "DATABASE_URL": hotdesk.database_url,
        }
    )
    django.setup()


if __name__ == "__main__":
    sys.exit(main())
