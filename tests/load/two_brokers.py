"""Two brokers on one PostgreSQL and one Redis, one of which is killed, and then the other; for `test_production`."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from django.db import connection

from broker.lab.supervisor import Supervisor, read_processes
from tests.load.production import HASTE, Production
from tests.running import descendants, kill_hard


def main(folder: Path) -> dict[str, Any]:
    """What was seen, by name."""
    names = ("common", "first", "second")
    for name in names:
        (folder / name).mkdir()
    with (
        (folder / "log").open("w") as log,
        Supervisor(folder / "common", log) as common,
        Supervisor(folder / "first", log) as first,
        Supervisor(folder / "second", log) as second,
    ):
        place = Production(common, folder / "common", database="postgresql", haste=HASTE)
        place.start_foundations()
        logging.disable(logging.INFO)
        place.start_broker("first", first)
        place.start_broker("second", second)
        return _watch(place, folder)


def _watch(place: Production, folder: Path) -> dict[str, Any]:
    from broker.models import DesktopRequest, Event, Lease
    from broker.operations import desktops
    from tests.load.bench import rows

    estate = rows.Estate(place.fleet, hosts=1)
    pool = estate.real_pool(2)
    people = rows.people(6, pool=pool)
    place.wait_for(lambda: pool.vms.down_and_clean().count() == 2, "The pool is not made.")
    served: list[int] = []

    def serve(persons: list[Any]) -> None:
        """Two people take a desktop and give it back, once they have it."""
        wishes = [desktops.take(user=person, pool=pool)[0].pk for person in persons]
        mine = DesktopRequest.objects.filter(pk__in=wishes)
        place.wait_for(lambda: mine.filter(state="ready").count() == len(wishes), "Nobody serves.")
        served.append(mine.filter(state="ready").count())
        for wish in mine:
            desktops.give_back(request=wish)
        place.wait_for(lambda: not mine.not_ended().exists(), "Nobody cleans.")

    serve(people[:2])
    place.wait_for(lambda: Lease.objects.filter(name__startswith="watch").exists(), "Nobody watches the host.")
    beats, watches = (Lease.objects.filter(name__startswith=office) for office in ("beat", "watch"))
    told = {"holders of the beat": beats.count(), "holders of each watch": watches.count()}
    told["beats that were started"] = sum(
        name.endswith("beat") for part in ("first", "second") for name in read_processes(folder / part)
    )
    _kill(folder / "first")
    before = _connections()
    serve(people[2:4])
    told["connections opened while serving"] = _connections() - before
    with Supervisor(folder / "again", sys.stderr) as again:
        place.start_broker("first", again)
        _kill(folder / "second")
        serve(people[4:])
    assigned = list(Event.objects.filter(kind="desktop.assigned").order_by("at").values_list("request_id", flat=True))
    tickets = list(DesktopRequest.objects.order_by("assigned_at", "ticket").values_list("ticket", flat=True))
    names = ("served by both", "served by the second", "served by the first")
    return {
        **told,
        **dict(zip(names, served, strict=True)),
        "in order": tickets == sorted(tickets),
        "assigned twice": len(assigned) - len(set(assigned)),
    }


def _connections() -> int:
    """To the database, since it was made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def _kill(broker: Path) -> None:
    """Everything that a broker runs, at once; nobody starts it again."""
    for name, record in read_processes(broker).items():
        if name == "supervisor":  # that is this process
            continue
        kill_hard([record.pid, *descendants(record.pid)])


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
