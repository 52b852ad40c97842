"""Which jobs a person may follow, and which retry or stop."""

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from broker import access
from broker.errors import Denied, NotFound
from broker.models import Job, JobItem, Pool, Template, VirtualMachine


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
    """Whether the user may retry or stop it."""
    if job.pool is not None:
        return access.can(user, "edit_pool", job.pool)
    if job.template is not None and job.kind.startswith("template."):
        return access.can(user, "manage_templates", job.template)
    return job.started_by_id == user.pk or access.everywhere(user, "edit_vm")
