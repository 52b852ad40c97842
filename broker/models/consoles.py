"""Tickets that open a desktop's display."""

from django.conf import settings
from django.db import models

from broker.models.base import Row
from broker.models.desktops import DesktopRequest
from broker.models.pools import Pool


class ConsoleOptions(models.Model):
    """How a user opens desktops of a pool: what was chosen last is the default for all of them (R028)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="console_options")
    pool = models.ForeignKey(Pool, models.CASCADE, related_name="console_options")
    fullscreen = models.BooleanField(default=False)
    remap_ctrl_alt_del = models.BooleanField(default=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=("user", "pool"), name="console_options_of_user_and_pool")]


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
