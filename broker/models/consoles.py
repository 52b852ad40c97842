"""Tickets that open a desktop's display."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F

from broker.models.base import Row
from broker.models.pools import Pool
from broker.models.vms import VirtualMachine
from broker.states import ColorDepth, RunMode


class ConsoleOptions(models.Model):
    """How a user opens desktops of a pool: what was chosen last is the default for all of them (R028).

    Null where the user chose nothing: there the pool's own default holds, as it is at that moment.
    """

    CHOICES: ClassVar[tuple[str, ...]] = (
        "fullscreen",
        "remap_ctrl_alt_del",
        "usb_autoshare",
        "smartcard",
        "color_depth",
        "disabled_effects",
        "use_proxy",
    )

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="console_options")
    pool = models.ForeignKey(Pool, models.CASCADE, related_name="console_options")
    fullscreen = models.BooleanField(null=True)
    remap_ctrl_alt_del = models.BooleanField(null=True)
    usb_autoshare = models.BooleanField(null=True)
    smartcard = models.BooleanField(null=True)
    color_depth = models.CharField(max_length=4, choices=ColorDepth.choices, null=True)
    disabled_effects = models.JSONField(null=True)
    use_proxy = models.BooleanField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=("user", "pool"), name="console_options_of_user_and_pool")]

    def chosen(self) -> dict[str, Any]:
        """What the user chose, by name."""
        found = {name: getattr(self, name) for name in self.CHOICES}
        return {name: value for name, value in found.items() if value is not None}


class TicketQuerySet(models.QuerySet["ConsoleTicket"]):
    """Sentences about tickets."""

    def of_this_run(self) -> "TicketQuerySet":
        """Those that may still open the display, or have opened it."""
        return self.filter(run_number=F("vm__run_number"), revoked_at=None)

    def of_administrators(self) -> "TicketQuerySet":
        """Those for VMs that administrators run."""
        return self.of_this_run().filter(vm__run_mode=RunMode.STATEFUL)

    def to_close(self) -> "TicketQuerySet":
        """Those whose display is still to be closed because their user lost the right to it."""
        return self.filter(revoked_at__isnull=False, closed_at=None)


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
    revoked_at = models.DateTimeField(null=True, help_text="its user lost the right to the display")
    closed_at = models.DateTimeField(null=True, help_text="the display was closed for that")
    refusal = models.TextField(blank=True, help_text="why the host did not take it")

    objects = TicketQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=("vm", "number"), name="console_ticket_number")]
        indexes = [
            models.Index(
                fields=("revoked_at",),
                condition=models.Q(revoked_at__isnull=False, closed_at=None),
                name="console_ticket_to_close",
            )
        ]
