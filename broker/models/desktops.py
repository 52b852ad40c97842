"""One row per wish for a desktop: the place in line, the assignment and the history."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    OuterRef,
    Q,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from broker.models.allocations import Allocation
from broker.models.base import Row, Stateful
from broker.models.certificates import Certificate
from broker.models.pools import Pool
from broker.models.vms import CLEAN, WARM, VirtualMachine, VmQuerySet
from broker.states import (
    HOLDING,
    LIVE,
    NOT_READY,
    REQUEST_MOVES,
    Ending,
    EndReason,
    OfferRule,
    RequestState,
)

# What a wish is again whose VM could not be started for it.
UNASSIGNED: dict[str, Any] = {
    **dict.fromkeys(("vm", "allocation", "certificate", "assigned_at", "placed_at", "disk_ready_at", "started_at")),
    "rule": "",
}


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

    def to_mail(self) -> "RequestQuerySet":
        """Desktops that are ready, of which their users asked to be told by mail."""
        return self.filter(state=RequestState.READY, mail_asked=True, mailed_at=None, ready_at__isnull=False)

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
    waited = models.BooleanField(default=False, help_text="there was none for it when it was asked for")
    allocation = models.ForeignKey(Allocation, models.SET_NULL, null=True, related_name="served")
    # The layer of a VM that is off is made after the VM was given: the row comes then.
    certificate = models.ForeignKey(Certificate, models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    rule = models.CharField(max_length=10, choices=OfferRule.choices, blank=True)
    language = models.CharField(max_length=10, blank=True, help_text="in which it was asked for, and is spoken of")
    mail_asked = models.BooleanField(default=False, help_text="its user wants a mail when it is ready")
    mailed_at = models.DateTimeField(null=True)

    requested_at = models.DateTimeField(default=timezone.now)
    assigned_at = models.DateTimeField(null=True)
    placed_at = models.DateTimeField(null=True, help_text="a host was chosen for its VM")
    disk_ready_at = models.DateTimeField(null=True, help_text="a fresh layer was made for it")
    started_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    connected_at = models.DateTimeField(null=True)
    return_asked_at = models.DateTimeField(null=True, help_text="a manual pool's user is done with it")
    revoked_at = models.DateTimeField(null=True, help_text="since when a manual pool keeps it from its user")
    returned_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    viewer_left_at = models.DateTimeField(null=True, help_text="since when nobody looks at it")
    busy_at = models.DateTimeField(null=True, help_text="when it was last seen at work")
    ends_at = models.DateTimeField(null=True, help_text="when it will be taken back; null for never")
    ending = models.CharField(max_length=12, choices=Ending.choices, null=True, help_text="what `ends_at` comes from")
    extended = models.JSONField(default=list, help_text="the endings that were put off already")
    warned_minutes = models.PositiveIntegerField(null=True, help_text="before `ends_at`; the last warning given")
    look_at = models.DateTimeField(null=True, help_text="when a warning, or its end, is due")
    shift_ends_at = models.DateTimeField(null=True, help_text="when the shift takes it back that it was taken for")

    asked_back_at = models.DateTimeField(null=True, help_text="since when its user is asked to return it")
    asked_back_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    returned_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    return_reason = models.CharField(max_length=300, blank=True, help_text="why somebody else returned it")

    objects = RequestQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ("-requested_at", "pk")
        indexes = [
            models.Index(fields=("pool", "ticket"), condition=Q(state__in=NOT_READY), name="request_line"),
            models.Index(fields=("pool",), condition=~Q(state=RequestState.ENDED), name="request_of_pool"),
            models.Index(fields=("user", "-requested_at"), name="request_of_user"),
            models.Index(fields=("vm",), condition=Q(state__in=HOLDING), name="request_holding_vm"),
            models.Index(fields=("pool", "returned_at"), name="request_returns_of_pool"),
            models.Index(fields=("pool", "ready_at"), name="request_starts_of_pool"),
            models.Index(fields=("look_at",), condition=Q(look_at__isnull=False), name="request_due"),
            models.Index(
                fields=("ready_at",),
                condition=Q(mail_asked=True, mailed_at=None, ready_at__isnull=False),
                name="request_to_mail",
            ),
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


def recent(pools: Iterable[UUID], since: datetime) -> dict[UUID, dict[str, Any]]:
    """What came back and started in these pools since then, by pool: two queries.

    `returns`, `clean_longest`; `starts`, `start_mean`, `start_longest`. Durations are timedeltas.
    """
    found: dict[UUID, dict[str, Any]] = defaultdict(dict)
    rows = DesktopRequest.objects.filter(pool__in=list(pools)).order_by()
    cleaned, started = _duration(F("ended_at") - F("returned_at")), _duration(F("ready_at") - F("assigned_at"))
    back = rows.filter(returned_at__gte=since).values("pool")
    counted: list[Any] = [*back.annotate(returns=Count("pk"), clean_longest=Max(cleaned))]
    up = rows.filter(ready_at__gte=since, assigned_at__isnull=False).values("pool")
    counted += up.annotate(starts=Count("pk"), start_mean=Avg(started), start_longest=Max(started))
    for row in counted:
        found[row["pool"]] |= row
    return found


def _duration(difference: Any) -> ExpressionWrapper:
    return ExpressionWrapper(difference, output_field=models.DurationField())


def in_hand() -> Exists:
    """Whether a wish keeps a VM from everybody else."""
    return Exists(DesktopRequest.objects.filter(vm=OuterRef("pk"), state__in=HOLDING))


def verdicts(members: VmQuerySet) -> dict[str, int]:
    """How many VMs a match of the line finds to be what: the keys of rules.allocations.VERDICTS."""
    verdict = Case(
        When(in_hand(), then=Value("in_use")),
        When(hold__isnull=False, then=F("hold")),
        When(CLEAN, then=Value("off")),
        When(WARM & Q(ready_at__isnull=False), then=Value("ready")),
        When(WARM, then=Value("starting")),
        default=Value("unreachable"),
        output_field=models.CharField(),
    )
    counted = members.order_by().annotate(verdict=verdict).values("verdict").annotate(count=Count("pk"))
    return {row["verdict"]: row["count"] for row in counted}
