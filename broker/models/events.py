"""What happened, to whom, by whom, from where and why."""

from datetime import datetime
from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from broker.models.base import Row


class EventQuerySet(models.QuerySet["Event"]):
    """The record is only added to: what is written stays as it is until its time is over."""

    def update(self, **values: Any) -> NoReturn:
        raise TypeError("The record is not changed.")

    def delete(self) -> NoReturn:
        raise TypeError("The record is not deleted; `expire` drops what is older than it must be kept.")

    def expire(self, before: datetime, *, most: int) -> int:
        """Drop the oldest of those that were written before this time; how many they were."""
        oldest = self.filter(at__lt=before).order_by("at", "pk").values("pk")[:most]
        return self.filter(pk__in=list(oldest.values_list("pk", flat=True)))._raw_delete(self.db)


class Event(Row):
    """One line of the record. `kind` names a sentence in broker.events, `facts` fill it in."""

    class Severity(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        ERROR = "error"

    class Outcome(models.TextChoices):
        DONE = "done", _("Done")
        REFUSED = "refused", _("Refused")
        FAILED = "failed", _("Failed")

    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=60)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.INFO)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default=Outcome.DONE)
    address = models.GenericIPAddressField(null=True, help_text="where the request came from")
    order_id = models.UUIDField(null=True, help_text="what one request did has the same")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    pool_id = models.UUIDField(null=True)
    vm_id = models.UUIDField(null=True)
    host_id = models.UUIDField(null=True)
    request_id = models.UUIDField(null=True)
    subject_kind = models.CharField(max_length=40, blank=True, help_text="what else it is about, such as a cluster")
    subject_id = models.UUIDField(null=True)
    facts = models.JSONField(default=dict)

    objects = EventQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ("-at", "pk")
        indexes = [
            models.Index(fields=("-at", "id"), name="event_newest"),
            models.Index(fields=("pool_id", "-at"), name="event_of_pool"),
            models.Index(fields=("vm_id", "-at"), name="event_of_vm"),
            models.Index(fields=("host_id", "-at"), name="event_of_host"),
            models.Index(fields=("request_id", "-at"), name="event_of_request"),
            models.Index(fields=("subject_id", "-at"), name="event_of_subject"),
            models.Index(fields=("actor", "-at"), name="event_by_actor"),
        ]

    def save(self, *args: Any, **more: Any) -> None:
        if not self._state.adding:
            raise TypeError("The record is not changed.")
        super().save(*args, **more)

    def delete(self, *args: Any, **more: Any) -> NoReturn:
        raise TypeError("The record is not deleted.")
