"""Everybody at once: people, administrators and workers in real processes, and some of them are killed.

`python -m tests.load.race --seconds 60 --people 24 --seed 7 --database both` needs nothing that runs already: it
starts its own PostgreSQL, Redis, Celery workers and fake hosts. The seed decides what everybody does; in which order
it happens is the machine's. When the time is over everything must come to rest; then rows, events, hosts and answers
are read, and each promise that they break is told with what led to it. The last line is `violations: N`.
"""

import argparse
import logging
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from broker.lab.supervisor import Supervisor, read_processes
from tests.load.checker import Harm, Violation, counts, schedule, state_violations, violations
from tests.load.crowd import ADMINISTRATORS, OFFERS, Act, acts, orders, people
from tests.load.fronts import Fronts
from tests.load.production import CELERY, HASTE, QUIET, Production
from tests.load.record import Record
from tests.running import ROOT, descendants, kill_hard

DATABASES = ("sqlite", "postgresql")
QUEUES = "allocate,hypervisor,consoles"
WORKERS = ("worker1", "worker2")
VICTIMS = (*WORKERS, *2 * ("one of worker1", "one of worker2"), "beat", "front")
KILL_EVERY_S = 3.0
ADMINISTRATION = 0.1  # of all acts
REST_WITHIN_S = 90.0
# What the log of a worker says only when something is wrong with us.
CONFESSIONS = re.compile(r"was abandoned in state|is broken:|has been returning since|raised unexpected")
# A worker that is killed says so; a lock that is not to be had is asked for again.
EXPECTED = re.compile(r"WorkerLostError|database is locked")


class Race:
    """One database, from nothing to the record."""

    def __init__(self, supervisor: Supervisor, folder: Path, options: argparse.Namespace) -> None:
        self.supervisor, self.folder, self.options = supervisor, folder, options
        # Nothing here takes the database's power away.
        self.place = Production(
            supervisor, folder, database=options.database, durable=False, seed=options.seed, haste=HASTE
        )
        self.kills: Counter[str] = Counter()

    def run(self) -> tuple[Record, list[Violation]]:
        self._start_foundations()
        # Settings know which database it is only now.
        from tests.load import scene

        scene.build(self.place.fleet, self.options.people)
        self.place.start("beat", [*CELERY, "beat", "-s", str(self.folder / "beat-schedule"), "-l", "WARNING"])
        self.fronts = Fronts()
        self._settle("the world is made")
        defects = self._compete()
        found = self._settle("everybody is served who can be")
        self._everybody_leaves()
        self._settle("everybody has left")
        record = self._record()
        found += defects + violations(record) + self._confessions()
        return record, list(dict.fromkeys(found))

    def _start_foundations(self) -> None:
        self.place.start_servers()
        logging.disable(logging.INFO)
        self._start_workers()  # they take as long to start as the tables to be made
        self.place.make_tables()

    def _start_workers(self) -> None:
        for name in WORKERS:
            worker = [*CELERY, "worker", "-Q", QUEUES, "-n", f"{name}@race", "--concurrency", "3", *QUIET]
            self.place.start(name, worker)

    # -- while it lasts ------------------------------------------------------------------------------

    def _compete(self) -> list[Violation]:
        seed = self.options.seed
        lots = random.Random(f"{seed}/who is next")
        directly, by_crew = people(self.options.people)
        coming = {name: acts(name, seed) for name in (*directly, *by_crew)}
        ordering = {name: orders(name, seed, directly) for name in ADMINISTRATORS}
        ends_at = time.monotonic() + self.options.seconds
        kill_at = time.monotonic() + KILL_EVERY_S / 2
        while time.monotonic() < ends_at and not self.supervisor.stopping:
            who = ordering if lots.random() < ADMINISTRATION else coming
            self._let_do(next(who[lots.choice(list(who))]), lots)
            if time.monotonic() > kill_at:
                kill_at += KILL_EVERY_S
                self._kill(lots.choice(VICTIMS), lots)
        return self.fronts.finish(self.supervisor.tend)

    def _let_do(self, act: Act, lots: random.Random) -> None:
        while not self.fronts.take_up(act, lots):
            self.supervisor.tend()
            time.sleep(0.005)

    def _kill(self, victim: str, lots: random.Random) -> None:
        self.kills[victim] += 1
        if victim == "front":
            self.fronts.kill_one(lots)
            return
        record = read_processes(self.folder).get(victim.removeprefix("one of "))
        if record is None or not record.alive:
            return  # it has not come back from the last time yet
        family = list(descendants(record.pid))
        chosen = [lots.choice(family)] if victim.startswith("one of ") and family else [record.pid, *family]
        kill_hard(chosen)

    # -- afterwards ----------------------------------------------------------------------------------

    def _settle(self, what: str) -> list[Violation]:
        """Wait until all is at rest; what is not, when it never is."""
        began = time.monotonic()
        while True:
            if self.supervisor.stopping:
                raise SystemExit("The race was stopped: nothing is proved.")
            self.supervisor.tend()
            found = state_violations(self._record())
            if not found or time.monotonic() > began + REST_WITHIN_S:
                self.say(f"{what}, after {time.monotonic() - began:.1f} s" if not found else f"not at rest: {what}")
                return found
            time.sleep(0.3)

    def _everybody_leaves(self) -> None:
        from broker.errors import Conflict
        from broker.models import DesktopRequest
        from broker.operations import desktops

        for wish in DesktopRequest.objects.not_ended().select_related("user").order_by("-ticket"):
            try:
                desktops.give_back(request=wish)
            except Conflict:
                continue  # it has ended this moment

    def _record(self) -> Record:
        from tests.load import rows, scene

        most = {offer.name: offer.most_per_user for offer in OFFERS}
        answers = self.fronts.answers()
        return rows.read(scene.machinery(), answers, most)

    def _confessions(self) -> list[Violation]:
        lines = (self.folder / "log").read_text().splitlines()
        said = [line for line in lines if CONFESSIONS.search(line) and not EXPECTED.search(line)]
        return [Violation("errors", Harm.LOST, f"a worker says: {line}") for line in said]

    def say(self, text: str) -> None:
        print(f"{self.options.database}: {text}", flush=True)


def report(race: Race, record: Record, found: list[Violation]) -> None:
    """What was done, and each violation with the acts that led to it."""
    verbs = Counter(answer.verb for answer in record.answers)
    refusals = Counter(answer.refusal for answer in record.answers if answer.refusal)
    endings = Counter(wish.end_reason for wish in record.wishes)
    race.say(f"acts: {counts(verbs)}")
    race.say(f"refusals: {counts(refusals)}")
    race.say(f"requests: {len(record.wishes)}, served: {sum(wish.ready_at is not None for wish in record.wishes)}")
    race.say(f"endings: {counts(endings)}; kills: {counts(race.kills)}")
    for violation in found:
        race.say(str(violation))
        for answer in schedule(violation, record.answers) if violation.people else ():
            race.say(f"    {answer}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Real processes on a real database, all at once; then the checker.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    options = parser.parse_args()
    if options.database == "both":
        count = sum(_in_a_process_of_its_own(name, options) for name in DATABASES)
    else:
        print(f"seed: {options.seed}", flush=True)
        with tempfile.TemporaryDirectory(prefix="hotdesk-race-") as name:
            folder = Path(name)
            with (folder / "log").open("w") as log, Supervisor(folder, log) as supervisor:
                race = Race(supervisor, folder, options)
                record, found = race.run()
                report(race, record, found)
        count = len(found)
    print(f"violations: {count}", flush=True)
    return 1 if count else 0


def _in_a_process_of_its_own(database: str, options: argparse.Namespace) -> int:
    """Django knows one database for the life of a process."""
    command = [sys.executable, "-m", "tests.load.race", "--database", database, "--seed", str(options.seed)]
    command += ["--seconds", str(options.seconds), "--people", str(options.people)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    last = ""
    for line in child.stdout:
        if last:
            print(last, flush=True)
        last = line.rstrip()
    child.wait()
    count = re.fullmatch(r"violations: (\d+)", last)
    if count is None:
        print(last)
        raise SystemExit(f"The race on {database} ended with status {child.returncode}.")
    return int(count[1])


if __name__ == "__main__":
    sys.exit(main())
