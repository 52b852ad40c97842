"""Whose turn it is on a host: VMs that are, or wait to be, started, reset, made or deleted there."""

from datetime import datetime

from django.db import models
from django.db.models import Case, Exists, IntegerField, OuterRef, Q, Value, When

from broker.models.desktops import DesktopRequest
from broker.models.hosts import Host
from broker.models.vms import VirtualMachine
from broker.states import RequestState, RunMode


class TurnQuerySet(models.QuerySet["Turn"]):
    """Sentences about turns."""

    def waiting(self) -> "TurnQuerySet":
        return self.filter(given_at=None)

    def under_way(self, since: datetime) -> "TurnQuerySet":
        """Given later than `since`: what takes longer holds nobody up."""
        return self.filter(given_at__gt=since)

    def in_order(self) -> "TurnQuerySet":
        """People who wait first, then whatever gives VMs back to them, then prestarts, then housekeeping."""
        # In a manual pool somebody has a desktop, and waits for it to start again.
        theirs = DesktopRequest.objects.filter(
            vm=OuterRef("vm"), vm__run_mode__isnull=False, state__in=(RequestState.STARTING, RequestState.READY)
        )
        line = DesktopRequest.objects.filter(pool=OuterRef("vm__pool")).unserved()
        return self.annotate(
            rank=Case(
                When(Exists(theirs) | Q(vm__run_mode=RunMode.STATEFUL), then=Value(0)),
                When(Q(vm__run_mode=None) & Exists(line), then=Value(1)),
                When(vm__run_mode__isnull=False, then=Value(2)),
                default=Value(3),
                output_field=IntegerField(),
            )
        ).order_by("rank", "asked_at", "pk")


class Turn(models.Model):
    """A VM's turn on a host; null `given_at` while it waits for it."""

    vm = models.OneToOneField(VirtualMachine, models.CASCADE, primary_key=True, related_name="turn")
    host = models.ForeignKey(Host, models.CASCADE, related_name="turns", db_index=False)
    asked_at = models.DateTimeField(auto_now_add=True)
    given_at = models.DateTimeField(null=True)

    objects = TurnQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=("host", "given_at"), name="turn_on_host")]
