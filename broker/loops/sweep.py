"""Find every row that should be moving and wake it again, whatever became of its wake-up."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Exists, F, OuterRef, Q
from django.utils import timezone

from broker import config, jobs, leases
from broker.models import DesktopRequest, Host, Pool, TemplateVersion, Turn, VirtualMachine
from broker.operations import console_sessions, desktops, mails, pools, record, turns
from broker.states import HOLDING, WORKING, HostStatus, RequestState, VersionState

log = logging.getLogger(__name__)

BATCH = 500


def sweep() -> None:
    """Send wake-ups without looking at flags: this is what heals a lost flag."""
    leases.beat()
    waiting = DesktopRequest.objects.unserved().filter(pool=OuterRef("pk"))
    warm = VirtualMachine.objects.prestarted()
    short = Pool.objects.filter(prestarted_vms__gt=0).annotate(have=Count("vms", filter=Q(vms__in=warm)))
    wanting = set(Pool.objects.filter(Exists(waiting)).values_list("pk", flat=True))
    wanting |= set(VirtualMachine.objects.outdated().values_list("pool", flat=True).distinct())
    wanting |= set(short.filter(prestarted_vms__gt=F("have")).values_list("pk", flat=True))
    for pool_id in wanting:
        jobs.send("broker.allocate", pool_id, expires=settings.SWEEP_SECONDS)
    idle = Q(lease_until=None) | Q(lease_until__lte=timezone.now())
    # What a silent host runs is looked at when it answers again: until then it would only keep workers waiting.
    reachable = Q(host=None) | Q(host__status__in=WORKING)
    turns.mend()
    console_sessions.expire()
    in_line = Turn.objects.waiting().values("pk")
    # Whoever waits for a turn on a host is woken when it is given.
    moving = VirtualMachine.objects.in_motion().filter(idle, reachable).exclude(pk__in=in_line)
    moving = moving.order_by("lease_until", "pk")
    for vm_id in moving.values_list("pk", flat=True)[:BATCH]:
        jobs.send("broker.converge", vm_id, expires=settings.SWEEP_SECONDS)
    for wish_id in DesktopRequest.objects.abandoned().values_list("pk", flat=True)[:BATCH]:
        desktops.recover(request_id=wish_id)
    for pool_id in pools.untidy():
        jobs.send("broker.tidy_pool", pool_id)
    for host_id in Host.objects.filter(status=HostStatus.ACTIVATING).values_list("pk", flat=True):
        jobs.send("broker.activate_host", host_id)
    preparing = TemplateVersion.objects.filter(state=VersionState.PREPARING)
    for version_id in preparing.values_list("pk", flat=True)[:BATCH]:
        jobs.send("broker.prepare_version", version_id, expires=settings.SWEEP_SECONDS)
    for wish_id in mails.unsent():
        jobs.send("broker.mail_ready", wish_id, expires=settings.SWEEP_SECONDS)
    jobs.send("broker.enforce_access", jobs.EVERYBODY, expires=settings.SWEEP_SECONDS)
    record.expire()
    record.forget_sign_ins()
    pools.report_short(minutes=config.get("VmPoolMonitorIntervalInMinutes"))
    report_violations()


def report_violations() -> None:
    """What the constraints promise can be checked from outside, too: a finding is a defect of ours."""
    twice = (
        DesktopRequest.objects.filter(state__in=HOLDING, vm__isnull=False)
        .order_by()
        .values("vm")
        .annotate(people=Count("pk"))
        .filter(people__gt=1)
    )
    for row in twice[:BATCH]:
        log.error("I1 is broken: VM %s serves %s requests", row["vm"], row["people"])
    since = timezone.now() - timedelta(minutes=10)
    stuck = DesktopRequest.objects.filter(state=RequestState.RETURNING, returned_at__lt=since)
    for request in stuck.select_related("vm", "vm__host")[:BATCH]:
        log.error("%s has been returning since %s on %s", request, request.returned_at, request.vm)
