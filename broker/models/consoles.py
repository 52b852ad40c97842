"""Tickets that open a desktop's display."""

from django.conf import settings
from django.db import models

from broker.models.base import Row
from broker.models.pools import Pool
from broker.models.vms import VirtualMachine


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

    It opens one run of one VM: every change of what is wanted of a VM draws a new run number and ends its tickets.
    Only the newest ticket of a VM is ever set on the host; `set_at` is null until a worker has done so.
    """

    vm = models.ForeignKey(VirtualMachine, models.CASCADE, related_name="console_tickets")
    run_number = models.PositiveIntegerField()
    number = models.PositiveIntegerField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="console_tickets")
    created_at = models.DateTimeField(auto_now_add=True)
    set_at = models.DateTimeField(null=True)
    refusal = models.TextField(blank=True, help_text="why the host did not take it")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=("vm", "number"), name="console_ticket_number")]
