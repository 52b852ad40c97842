"""Which jobs a person may follow, and which retry or stop."""

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from broker import access
from broker.errors import Denied, NotFound
from broker.models import Job, JobItem, Pool, Template, VirtualMachine

# What a kind of job asks for.
RIGHTS = {
    "pool.create": "edit_pool",
    "pool.grow": "edit_pool",
    "pool.remove": "remove_pool",
    "vm.create": "create_vm",
    "vm.rebuild": "edit_vm",
    "vm.remove": "remove_vm",
    "template.import": "manage_templates",
    "template.publish": "manage_templates",
}


def visible(user: Any) -> QuerySet[Job]:
    """One's own, and those about what one administers; all for whoever administers everything."""
    if access.everywhere(user, "view_inventory"):
        return Job.objects.all()
    pools = access.visible(user, Pool, "view_inventory")
    templates = Q(kind__startswith="template.", template__in=access.visible(user, Template, "view_inventory"))
    vms = access.visible(user, VirtualMachine, "view_inventory").values("pk")
    independent = Q(kind__startswith="vm.", pool=None, pk__in=JobItem.objects.filter(object_id__in=vms).values("job"))
    return Job.objects.filter(Q(started_by=user) | Q(pool__in=pools) | templates | independent)


def get(user: Any, job_id: UUID, *, to_change: bool = False) -> Job:
    """One job; NotFound for those of others. `to_change` asks for the right to edit what it is about, too."""
    job = visible(user).filter(pk=job_id).select_related("pool", "template").first()
    if job is None:
        raise NotFound(_("There is no such job."))
    if to_change and not may_change(user, job):
        raise Denied(_("You see this job but your roles do not allow this."))
    return job


def may_change(user: Any, job: Job) -> bool:
    """Whether the user may retry or stop it: only what one may still begin, whoever began it."""
    action = RIGHTS[job.kind]
    if job.kind.startswith("pool.") and job.pool is not None:
        return access.can(user, action, job.pool)
    if job.kind.startswith("template.") and job.template is not None:
        return access.can(user, action, job.template)
    keys = job.items.values("object_id")
    allowed = access.visible(user, VirtualMachine, action).filter(pk__in=keys).count()
    there = VirtualMachine.objects.filter(pk__in=keys).count()
    return allowed == there if there else access.everywhere(user, action)
