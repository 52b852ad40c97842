"""Progress of long work, item by item."""

from django.conf import settings
from django.db import models

from broker.models.base import Row
from broker.models.pools import Pool
from broker.models.templates import Template
from broker.states import JobState


class Job(Row):
    """Long work that was accepted, such as the VMs of a new pool."""

    kind = models.CharField(max_length=60)
    pool = models.ForeignKey(Pool, models.SET_NULL, null=True, related_name="jobs")
    template = models.ForeignKey(Template, models.SET_NULL, null=True, related_name="jobs")
    about = models.CharField(max_length=255, help_text="the name of what it is about, kept when that is removed")
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.RUNNING)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ("-created_at", "pk")
        indexes = [models.Index(fields=("-created_at", "id"), name="job_newest")]


class JobItem(models.Model):
    """One thing of many that a job does; `object_id` is the row it is about."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="items")
    object_id = models.UUIDField(db_index=True)
    name = models.CharField(max_length=255)
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.RUNNING)
    message = models.TextField(blank=True)

    class Meta:
        default_permissions = ()
        ordering = ("pk",)
        indexes = [models.Index(fields=("job", "state"), name="job_item_state")]
        constraints = [models.UniqueConstraint(fields=("job", "object_id"), name="job_item_once")]


def with_progress(jobs: "models.QuerySet[Job]") -> "models.QuerySet[Job]":
    """Annotate how many items there are and how they ended: total, done, failed_items, stopped_items."""

    def count(state: str) -> models.Count:
        return models.Count("items", filter=models.Q(items__state=state))

    return jobs.annotate(
        total=models.Count("items"),
        done=count(JobState.DONE),
        failed_items=count(JobState.FAILED),
        stopped_items=count(JobState.STOPPED),
    )
