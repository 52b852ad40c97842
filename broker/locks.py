"""Every row lock, in the order in which they are taken: line, hosts by key, VMs, then wishes.

Whoever holds a VM's row never waits for a line or a host, and whoever holds a wish waits for nothing: there is no
circle. SQLite has no row locks: there every transaction holds the one write lock from its start.
"""

from uuid import UUID

from broker.models import DesktopRequest, Host, Line, VirtualMachine


def line(pool_id: UUID) -> Line:
    """The line of a pool; Line.DoesNotExist when the pool is gone. Foreign keys to it stay writable."""
    return Line.objects.select_for_update(no_key=True).get(pk=pool_id)


def hosts(cluster_id: UUID) -> list[Host]:
    """All hosts of a cluster, so that their memory is reserved by one process at a time (I7)."""
    return list(Host.objects.select_for_update(no_key=True).filter(cluster=cluster_id).order_by("pk"))


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
