"""Every row lock, in the order in which they are taken: line, hosts by key, VMs, then wishes.

Whoever holds a VM's row never waits for a line or a host, and whoever holds a wish waits for nothing: there is no
circle. SQLite has no row locks: there every transaction holds the one write lock from its start.
"""

from uuid import UUID

from broker.models import Host, Line


def line(pool_id: UUID) -> Line:
    """The line of a pool; Line.DoesNotExist when the pool is gone. Foreign keys to it stay writable."""
    return Line.objects.select_for_update(no_key=True).get(pk=pool_id)


def hosts(cluster_id: UUID) -> list[Host]:
    """All hosts of a cluster, so that their memory is reserved by one process at a time (I7)."""
    return list(Host.objects.select_for_update(no_key=True).filter(cluster=cluster_id).order_by("pk"))
