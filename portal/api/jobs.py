"""Long work and its progress."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status

from broker.errors import NotFound
from broker.models import Job, with_progress
from broker.operations import jobs
from portal import jobs as shown
from portal.api.lists import Page, Paging, page

router = Router(tags=["jobs"])


class ItemOut(Schema):
    name: str
    state: str
    message: str


class JobSummary(Schema):
    id: UUID
    kind: str
    about: str
    state: str
    total: int
    done: int
    failed: int
    created: datetime
    ended: datetime | None


class JobOut(JobSummary):
    items: list[ItemOut]


@router.get("/jobs", response=Page[JobSummary], summary="Jobs")
def list_jobs(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    rows = with_progress(shown.visible(request.user))
    return page(rows, paging, order=("created_at", "id"), searched="about", show=summary, descending=True)


@router.get("/jobs/{uuid:job_id}", response=JobOut, summary="Progress of a job")
def get_job(request: HttpRequest, job_id: UUID) -> dict[str, Any]:
    """One's own, or about what one administers."""
    return show(_one(request, job_id))


@router.post("/jobs/{uuid:job_id}/retry", response={202: JobOut}, summary="Try what failed again")
def retry_job(request: HttpRequest, job_id: UUID) -> Any:
    job = shown.get(request.user, job_id, to_change=True)
    jobs.retry(job=job, by=request.user)
    return Status(202, show(_one(request, job_id)))


@router.post("/jobs/{uuid:job_id}/stop", response={202: JobOut}, summary="Stop after what is under way")
def stop_job(request: HttpRequest, job_id: UUID) -> Any:
    job = shown.get(request.user, job_id, to_change=True)
    jobs.stop(job=job, by=request.user)
    return Status(202, show(_one(request, job_id)))


def _one(request: HttpRequest, job_id: UUID) -> Any:
    job = with_progress(shown.visible(request.user)).filter(pk=job_id).first()
    if job is None:
        raise NotFound(_("There is no such job."))
    return job


def summary(job: Any) -> dict[str, Any]:
    """A job without its items."""
    return {
        "id": job.pk,
        "kind": job.kind,
        "about": job.about,
        "state": job.state,
        "total": job.total,
        "done": job.done,
        "failed": job.failed_items,
        "created": job.created_at,
        "ended": job.ended_at,
    }


def show(job: Job) -> dict[str, Any]:
    """A job as the contract writes it."""
    items = [{"name": one.name, "state": one.state, "message": one.message} for one in job.items.all()]
    return {**summary(job), "items": items}
