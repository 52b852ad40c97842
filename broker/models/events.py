"""What happened, to whom, by whom and why."""

from django.conf import settings
from django.db import models

from broker.models.base import Row


class Event(Row):
    """One line of the record. `kind` names a sentence in broker.events, `facts` fill it in."""

    class Severity(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        ERROR = "error"

    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=60)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.INFO)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    pool_id = models.UUIDField(null=True)
    vm_id = models.UUIDField(null=True)
    host_id = models.UUIDField(null=True)
    request_id = models.UUIDField(null=True)
    subject_kind = models.CharField(max_length=40, blank=True, help_text="what else it is about, such as a cluster")
    subject_id = models.UUIDField(null=True)
    facts = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()
        ordering = ("-at", "pk")
        indexes = [
            models.Index(fields=("-at", "id"), name="event_newest"),
            models.Index(fields=("pool_id", "-at"), name="event_of_pool"),
            models.Index(fields=("vm_id", "-at"), name="event_of_vm"),
            models.Index(fields=("host_id", "-at"), name="event_of_host"),
            models.Index(fields=("subject_id", "-at"), name="event_of_subject"),
        ]
