"""Consoles that are open in browsers: who looks at which run of which VM."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from broker.models.base import Row
from broker.models.consoles import ConsoleTicket
from broker.models.desktops import DesktopRequest
from broker.models.vms import VirtualMachine
from broker.states import ConsoleEnd, ConsoleKind

# A web process says this often enough that it still has sockets of a session; without it nobody looks any more.
LOST_AFTER = timedelta(seconds=15)
# A host is a little late to say that a viewer is gone, and a page that has left was one.
STILL_SHOWN = timedelta(seconds=10)


class ConsoleSessionQuerySet(models.QuerySet["ConsoleSession"]):
    """Sentences about console sessions."""

    def not_ended(self) -> "ConsoleSessionQuerySet":
        return self.filter(ended_at=None)

    def in_force(self) -> "ConsoleSessionQuerySet":
        """Not ended, and of a run that is not over: their sockets may stay open."""
        return self.not_ended().filter(run_number=F("vm__run_number"))

    def seen(self) -> "ConsoleSessionQuerySet":
        """In force, and with somebody there."""
        return self.in_force().filter(seen_at__gte=timezone.now() - LOST_AFTER)

    def just_left(self) -> "ConsoleSessionQuerySet":
        """Ended so shortly ago that their viewers may still be seen by the host."""
        return self.filter(ended_at__gte=timezone.now() - STILL_SHOWN)

    def to_end(self) -> "ConsoleSessionQuerySet":
        """Those that nobody ended although their run is over, or nobody is there any more."""
        over = ~Q(run_number=F("vm__run_number")) | Q(seen_at__lt=timezone.now() - LOST_AFTER)
        return self.not_ended().filter(over)

    def of_watchers(self) -> "ConsoleSessionQuerySet":
        """Those that look at the desktop of somebody else."""
        return self.filter(request__isnull=False).exclude(user=F("request__user"))


class ConsoleSession(Row):
    """A console in a page of a browser. It opens any number of sockets up to a limit, for SPICE has one per channel.

    It is good for one user, one login, and one run of one VM. `request` is null for VMs that administrators run.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="console_sessions")
    login = models.CharField(max_length=64, help_text="a hash of the session or token that it was opened with")
    vm = models.ForeignKey(VirtualMachine, models.CASCADE, related_name="console_sessions")
    run_number = models.PositiveIntegerField()
    request = models.ForeignKey(DesktopRequest, models.CASCADE, null=True, related_name="console_sessions")
    kind = models.CharField(max_length=10, choices=ConsoleKind.choices)
    ticket = models.OneToOneField(ConsoleTicket, models.SET_NULL, null=True, related_name="console_session")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(help_text="until when sockets may be opened")
    seen_at = models.DateTimeField(default=timezone.now, help_text="when it last had a socket")
    ended_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=10, choices=ConsoleEnd.choices, blank=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    objects = ConsoleSessionQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=("vm", "kind"), condition=Q(ended_at=None), name="console_session_of_vm"),
            models.Index(fields=("user",), condition=Q(ended_at=None), name="console_session_of_user"),
        ]

    @property
    def is_watching(self) -> bool:
        """Whether it looks at the desktop of somebody else."""
        return self.request is not None and self.request.user_id != self.user_id

    def is_over(self) -> bool:
        """Whether no socket of it may be open; its VM is read with it."""
        return self.ended_at is not None or self.run_number != self.vm.run_number
