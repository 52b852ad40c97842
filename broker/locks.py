"""Every row lock, in the order in which they are taken: line, hosts by key, VMs, then wishes.

Whoever holds a VM's row never waits for a line or a host, and whoever holds a wish waits for nothing: there is no
circle. SQLite has no row locks: there every transaction holds the one write lock from its start.
"""

from uuid import UUID

from broker.models import DesktopRequest, Host, Line, Pool, VirtualMachine

PACING = ("pace", "pressure_percent", "usual_seconds")


def line(pool_id: UUID) -> Line:
    """The line of a pool, with the pool as it is now; Line.DoesNotExist when it is gone. Foreign keys stay writable.

    Its lock is the pool's row, which whoever draws a ticket leaves as it is: PostgreSQL lets those wait in order who
    wait for a row that stays; at one that every holder changes they begin anew, and a server waits as long as people
    come.
    """
    list(Pool.objects.select_for_update(no_key=True).filter(pk=pool_id).values_list("pk").order_by())
    return Line.objects.select_related("pool").get(pk=pool_id)


def hosts(cluster_id: UUID) -> list[Host]:
    """All hosts of a cluster, so that their memory is reserved by one process at a time (I7)."""
    return list(Host.objects.select_for_update(no_key=True).filter(cluster=cluster_id).order_by("pk"))


def host(host_id: UUID) -> Host:
    """What paces one host, so that its turns are dealt by one process at a time. Nothing else is locked with it."""
    return Host.objects.select_for_update(no_key=True).only(*PACING).get(pk=host_id)


def wish_with_vm(request: DesktopRequest) -> tuple[DesktopRequest, VirtualMachine | None]:
    """A wish and its VM, locked: workers write a VM before its wish, so behind that lock the wish stands still."""
    wishes = DesktopRequest.objects.select_related("user", "pool")
    before = wishes.get(pk=request.pk)
    if before.vm_id is None:
        return before, None
    vm = VirtualMachine.objects.select_for_update(no_key=True, of=("self",)).get(pk=before.vm_id)
    request = wishes.get(pk=request.pk)
    # Its start may have failed meanwhile: then it has none any more.
    return request, vm if request.vm_id == vm.pk else None
