"""What an order asks for beyond a right on the row it names: the same for pages and API, so that neither is laxer."""

from typing import Any

from django.utils.translation import gettext as _

from broker import access
from broker.errors import Denied
from broker.models import StoragePool, Template, VirtualMachine, Volume


def require_detaching(user: Any, vms: list[VirtualMachine]) -> None:
    """It is the pool that is edited: a right on the VM alone is not enough."""
    for pool in {vm.pool for vm in vms if vm.pool is not None}:
        if not access.can(user, "edit_pool", pool):
            message = _("Your roles do not allow you to detach VMs from this pool.")
            raise access.denied(user, "edit_pool", pool, message)


def require_publishing(user: Any, vm: VirtualMachine, template: Template | None) -> None:
    """Into a template, or into a new one of the VM's data center; it copies all that is on the VM's disk."""
    for row in (vm, template or vm.cluster.data_center):
        if not access.can(user, "manage_templates", row):
            message = _("Your roles do not allow you to publish template versions.")
            raise access.denied(user, "manage_templates", row, message)


def require_importing(user: Any, storage_pool: StoragePool, into: Template | None, *, path: str, volume: str) -> None:
    """Into a template, or into a new one of the storage pool's data center.

    A path reads any file of the hosts, and the disks of VMs and templates lie among the volumes.
    """
    target = into or storage_pool.data_center
    if not access.can(user, "manage_templates", target):
        message = _("Your roles do not allow you to import templates here.")
        raise access.denied(user, "manage_templates", target, message)
    ours = Volume.objects.filter(storage_pool=storage_pool, name=volume).exists()
    if ours and not access.can(user, "manage_storage", storage_pool):
        raise Denied(_("This volume belongs to a virtual machine or a template: publish that instead."))
    if path and not access.can(user, "manage_storage", storage_pool):
        raise Denied(_("Your roles do not allow you to read files of the hosts; name a volume of the storage pool."))
