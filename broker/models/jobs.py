"""Progress of long work, item by item."""

from django.conf import settings
from django.db import models

from broker.models.base import Row
from broker.models.pools import Pool
from broker.states import JobState


class Job(Row):
    """Long work that was accepted, such as the VMs of a new pool."""

    kind = models.CharField(max_length=60)
    pool = models.ForeignKey(Pool, models.SET_NULL, null=True, related_name="jobs")
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.RUNNING)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ("-created_at", "pk")


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
        constraints = [models.UniqueConstraint(fields=("job", "object_id"), name="job_item_once")]
