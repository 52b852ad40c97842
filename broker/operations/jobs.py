"""Long work, item by item: how far it is, trying again what failed, and stopping after what is under way."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events, jobs, locks
from broker.errors import Conflict
from broker.models import Job, JobItem, Pool, Template, TemplateVersion, VirtualMachine
from broker.models.base import Row
from broker.states import JobState, VersionState, VmHold

# What a VM is held for while the job is at it.
HOLD_OF = {
    "pool.create": VmHold.CREATING,
    "pool.grow": VmHold.CREATING,
    "vm.create": VmHold.CREATING,
    "vm.rebuild": VmHold.CREATING,
    "pool.remove": VmHold.REMOVING,
    "vm.remove": VmHold.REMOVING,
}


def begin(
    kind: str, items: list[Row], *, about: str, by: Any, pool: Pool | None = None, template: Template | None = None
) -> Job:
    """Write a job and its items down, so that whoever asked can follow it."""
    _supersede([item.pk for item in items])
    job = Job.objects.create(kind=kind, about=about, pool=pool, template=template, started_by=by)
    JobItem.objects.bulk_create([JobItem(job=job, object_id=item.pk, name=str(item)) for item in items])
    return job


def _supersede(ids: list[UUID]) -> None:
    """What another job was still to do with the same objects is not done any more."""
    items = JobItem.objects.filter(object_id__in=ids, state=JobState.RUNNING)
    keys = set(items.values_list("job", flat=True))
    items.update(state=JobState.STOPPED)
    for job in Job.objects.select_for_update().filter(pk__in=keys).order_by("pk"):
        close(job)


def give_up_items(object_id: UUID) -> None:
    """What failed with an object is not tried again: it was dealt with in another way."""
    JobItem.objects.filter(object_id=object_id, state=JobState.FAILED).update(state=JobState.STOPPED)


def finish_item(object_id: UUID, state: str, message: str = "") -> None:
    """One item is over; with the last of them the job is."""
    item = JobItem.objects.filter(object_id=object_id, state=JobState.RUNNING).first()
    if item is None:
        return
    JobItem.objects.filter(pk=item.pk).update(state=state, message=message)
    # The job's row is the lock: whoever finishes the last item sees all others finished.
    close(Job.objects.select_for_update().get(pk=item.job_id))


def close(job: Job) -> None:
    """End the job, whose row is locked, if none of its items is running any more."""
    states = set(job.items.values_list("state", flat=True).distinct())
    if JobState.RUNNING in states:
        return
    worst = next((state for state in (JobState.FAILED, JobState.STOPPED) if state in states), JobState.DONE)
    Job.objects.filter(pk=job.pk, state=JobState.RUNNING).update(state=worst, ended_at=timezone.now())


@transaction.atomic
def retry(*, job: Job, by: Any) -> None:
    """Try what failed again; Conflict when nothing of it can be."""
    failed = job.items.filter(state=JobState.FAILED)
    ids = list(failed.values_list("object_id", flat=True))
    again = _try_vms_again(job, ids) if job.kind in HOLD_OF else _try_versions_again(ids)
    job = _lock(job)
    if not again:
        raise Conflict(_("Nothing of this job can be tried again."), code="WRONG_STATE")
    failed.filter(object_id__in=again).update(state=JobState.RUNNING, message="")
    Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, ended_at=None)
    events.record("job.retried", actor=by, pool=job.pool, about=job.about)


def _lock(job: Job) -> Job:
    """Always after the VMs: whoever finishes an item has written its VM before."""
    return Job.objects.select_for_update().get(pk=job.pk)


def _try_vms_again(job: Job, ids: list[UUID]) -> list[UUID]:
    vms = VirtualMachine.objects.filter(pk__in=ids, hold=VmHold.ERROR).order_by("pk")
    found = [vm.pk for vm in vms.select_for_update(no_key=True)]
    VirtualMachine.objects.filter(pk__in=found).update(
        hold=HOLD_OF[job.kind], hold_reason="", failures=0, intent_version=F("intent_version") + 1
    )
    for vm_id in found:
        jobs.wake_vm(vm_id)
    return found


def _try_versions_again(ids: list[UUID]) -> list[UUID]:
    versions = TemplateVersion.objects.filter(pk__in=ids, state=VersionState.FAILED)
    found = [version.pk for version in versions if _hold_source(version)]
    TemplateVersion.objects.filter(pk__in=found).update(state=VersionState.PREPARING, state_reason="")
    for version_id in found:
        jobs.later("broker.prepare_version", version_id)
    return found


def _hold_source(version: TemplateVersion) -> bool:
    """Whether the VM that is published, if it is one, can be kept from running again."""
    if version.source_vm_id is None:
        return True
    free = Q(hold=None) | Q(hold=VmHold.ADMINISTRATOR)
    at_rest = VirtualMachine.objects.clean().filter(free, pk=version.source_vm_id)
    return bool(at_rest.update(hold=VmHold.MAINTENANCE))


@transaction.atomic
def stop(*, job: Job, by: Any) -> None:
    """Finish what is under way and leave the rest; VMs that were not begun are not made, or not removed."""
    if job.pool_id is not None:
        locks.line(job.pool_id)
    hold = HOLD_OF.get(job.kind)
    running = job.items.filter(state=JobState.RUNNING).values_list("object_id", flat=True)
    idle = Q(lease_until=None) | Q(lease_until__lte=timezone.now())
    waiting = VirtualMachine.objects.filter(idle, pk__in=list(running), hold=hold).order_by("pk")
    ids = [vm.pk for vm in waiting.select_for_update(no_key=True)] if hold else []
    job = _lock(job)
    if job.state != JobState.RUNNING or hold is None or job.kind == "vm.rebuild":
        raise Conflict(_("This job cannot be stopped any more."), code="WRONG_STATE")
    # Not begun: what was to be made is forgotten, what was to be removed is cleaned and offered again.
    instead = VmHold.REMOVING if hold == VmHold.CREATING else VmHold.RESETTING
    VirtualMachine.objects.filter(pk__in=ids).update(hold=instead, intent_version=F("intent_version") + 1)
    job.items.filter(object_id__in=ids).update(state=JobState.STOPPED)
    if job.kind == "pool.remove" and job.pool_id is not None:
        Pool.objects.filter(pk=job.pool_id).update(removing=False)
    for vm_id in ids:
        jobs.wake_vm(vm_id)
    close(job)
    events.record("job.stopped", actor=by, pool=job.pool, about=job.about)
