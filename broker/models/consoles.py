"""Tickets that open a desktop's display."""

from django.db import models

from broker.models.base import Row
from broker.models.desktops import DesktopRequest


class ConsoleTicket(Row):
    """One issued connection file. Its password is derived from a key and this row's id, never stored.

    Only the newest ticket of a request is ever set on the host; `set_at` is null until a worker has done so.
    """

    request = models.ForeignKey(DesktopRequest, models.CASCADE, related_name="console_tickets")
    number = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    set_at = models.DateTimeField(null=True)
    refusal = models.TextField(blank=True, help_text="why the host did not take it")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=("request", "number"), name="console_ticket_number")]
