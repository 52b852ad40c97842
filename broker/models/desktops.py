"""One row per wish for a desktop: the place in line, the assignment and the history."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from broker.models.base import Row, Stateful
from broker.models.hosts import Host
from broker.models.pools import Pool
from broker.models.vms import VirtualMachine
from broker.states import (
    HOLDING,
    LIVE,
    NOT_READY,
    REQUEST_MOVES,
    EndReason,
    HostStatus,
    RequestState,
    VmHold,
    VmStatus,
)


class RequestQuerySet(models.QuerySet["DesktopRequest"]):
    """Sentences about wishes."""

    def live(self) -> "RequestQuerySet":
        return self.filter(state__in=LIVE)

    def not_ended(self) -> "RequestQuerySet":
        return self.exclude(state=RequestState.ENDED)

    def unserved(self) -> "RequestQuerySet":
        """Waiting for a VM: those in line, and those whose VM failed and who keep first claim."""
        return self.filter(state__in=NOT_READY, vm=None)

    def abandoned(self) -> "RequestQuerySet":
        """Holding a VM of which nothing is wanted and nothing is being done: no legal course leads here."""
        gone = Q(vm__run_mode=None) & (Q(vm__hold=None) | Q(state__in=(RequestState.STARTING, RequestState.READY)))
        return self.filter(gone, state__in=HOLDING, vm__isnull=False)

    def kept_from_their_users(self) -> "RequestQuerySet":
        """Desktops of manual pools whose user lost the permission: an administrator returns them."""
        return self.filter(state=RequestState.READY, revoked_at__isnull=False)

    def in_order(self) -> "RequestQuerySet":
        """The order of the line. Whoever has first claim asked before all others who still wait."""
        return self.order_by("ticket")

    def with_place(self) -> "RequestQuerySet":
        """Annotate how many asked earlier in the same pool and are not ready yet."""
        ahead = (
            DesktopRequest.objects.filter(pool=OuterRef("pool"), state__in=NOT_READY, ticket__lt=OuterRef("ticket"))
            .order_by()
            .values("pool")
            .annotate(ahead=Count("pk"))
            .values("ahead")
        )
        return self.annotate(ahead=Coalesce(Subquery(ahead, output_field=models.IntegerField()), 0))


class DesktopRequest(Row, Stateful):
    """A person's wish for a desktop of a pool, from `queued` to `ended`. The constraints keep I1 and I3."""

    STATE_FIELD = "state"
    MOVES = REQUEST_MOVES

    pool = models.ForeignKey(Pool, models.SET_NULL, null=True, related_name="requests")
    pool_name = models.CharField(max_length=255, help_text="kept when the pool is removed")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="desktop_requests")
    ticket = models.BigIntegerField()
    slot = models.PositiveIntegerField()
    idempotency_key = models.CharField(max_length=200, null=True)
    state = models.CharField(max_length=10, choices=RequestState.choices, default=RequestState.QUEUED)
    end_reason = models.CharField(max_length=10, choices=EndReason.choices, null=True)
    vm = models.ForeignKey(VirtualMachine, models.SET_NULL, null=True, related_name="requests")
    vm_name = models.CharField(max_length=255, blank=True, help_text="kept when the VM is removed")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="VMs that failed to start for it")

    requested_at = models.DateTimeField(default=timezone.now)
    assigned_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    connected_at = models.DateTimeField(null=True)
    return_asked_at = models.DateTimeField(null=True, help_text="a manual pool's user is done with it")
    revoked_at = models.DateTimeField(null=True, help_text="since when a manual pool keeps it from its user")
    returned_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = RequestQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ("-requested_at", "pk")
        indexes = [
            models.Index(fields=("pool", "ticket"), condition=Q(state__in=NOT_READY), name="request_line"),
            models.Index(fields=("user", "-requested_at"), name="request_of_user"),
            models.Index(fields=("vm",), condition=Q(state__in=HOLDING), name="request_holding_vm"),
        ]
        constraints = [
            models.UniqueConstraint(fields=("pool", "ticket"), name="request_ticket"),
            models.UniqueConstraint(fields=("vm",), condition=Q(state__in=HOLDING), name="vm_serves_one_request"),
            models.UniqueConstraint(
                fields=("pool", "user", "slot"), condition=Q(state__in=LIVE), name="user_within_limit"
            ),
            models.UniqueConstraint(
                fields=("user", "idempotency_key"),
                condition=Q(idempotency_key__isnull=False),
                name="request_idempotency_key",
            ),
            models.CheckConstraint(
                name="desktop_in_hand_is_a_vm",
                condition=~Q(state__in=(RequestState.READY, RequestState.RETURNING)) | Q(vm__isnull=False),
            ),
            models.CheckConstraint(
                name="request_ends_with_a_reason",
                condition=~Q(state=RequestState.ENDED) | Q(end_reason__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pool_name} #{self.ticket}"


def with_counts(pools: "models.QuerySet[Pool]", user: Any) -> "models.QuerySet[Pool]":
    """Annotate what a card shows: size, free, ready, starting, in_use, queue_length, mine, hosts_up."""
    members = VirtualMachine.objects.filter(pool=OuterRef("pk"))
    requests = DesktopRequest.objects.filter(pool=OuterRef("pk"))
    hosts = Host.objects.filter(cluster=OuterRef("cluster"), status=HostStatus.UP)
    return pools.annotate(
        size=_count(members),
        free=_count(members.offerable()),
        ready=_count(members.offerable().filter(ready_at__isnull=False)),
        resetting=_count(members.filter(hold=VmHold.RESETTING)),
        creating=_count(members.filter(hold=VmHold.CREATING)),
        failed=_count(members.filter(hold=VmHold.ERROR)),
        running=_count(members.exclude(status=VmStatus.DOWN)),
        in_use=_count(requests.filter(state__in=HOLDING, vm__isnull=False)),
        queue_length=_count(requests.unserved()),
        mine=_count(requests.filter(user=user, state__in=LIVE)),
        hosts_up=_count(hosts),
    )


def _count(rows: "models.QuerySet[Any]") -> Coalesce:
    counted = rows.order_by().annotate(_one=models.Value(1)).values("_one").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=models.IntegerField()), 0)
