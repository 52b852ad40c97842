"""What each match of a line with VMs found: kept, so that anybody can be told why."""

from typing import Any

from broker.models import Allocation, Pool


def keep(
    pool: Pool, members: dict[str, int], hosts_seen: list[dict[str, Any]], *, assigned: int, waiting: int
) -> Allocation | None:
    """Keep what this match found; one that served nobody and found nothing new is not kept."""
    allocation = Allocation(pool=pool, assigned=assigned, waiting=waiting, members=members, hosts=hosts_seen)
    if not assigned:
        last = Allocation.objects.filter(pool=pool).first()
        if last is not None and not last.assigned and _same(last, allocation):
            return None
    allocation.save(force_insert=True)
    return allocation


def _same(one: Allocation, other: Allocation) -> bool:
    """How many wait, and how much memory is free beside that, changes all the time and explains nothing."""

    def hosts_of(allocation: Allocation) -> list[tuple[str, str]]:
        return [(host["name"], host["status"]) for host in allocation.hosts]

    return one.members == other.members and hosts_of(one) == hosts_of(other)
