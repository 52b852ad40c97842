"""What each look at a line found: who could be served with what, and why the others wait on."""

from django.db import models
from django.utils import timezone

from broker.models.base import Row
from broker.models.pools import Pool


class Allocation(Row):
    """One match of a pool's line with its VMs.

    `members` counts the VMs of the pool by why they could or could not be offered (the keys of
    rules.allocations.VERDICTS); `hosts` are dictionaries of name, status, and free_mib before it.
    A match that serves nobody is kept only when it found something else than the one before.
    """

    pool = models.ForeignKey(Pool, models.CASCADE, related_name="allocations")
    at = models.DateTimeField(default=timezone.now)
    assigned = models.PositiveIntegerField(help_text="people who got a VM")
    waiting = models.PositiveIntegerField(help_text="people who were left, as many as were looked at")
    members = models.JSONField()
    hosts = models.JSONField()

    class Meta:
        default_permissions = ()
        ordering = ("-at", "pk")
        indexes = [
            models.Index(fields=("pool", "-at"), name="allocation_of_pool"),
            models.Index(fields=("at",), name="allocation_oldest"),
        ]
