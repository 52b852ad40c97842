"""End what somebody has no permission for any more: places in line, desktops in use, and open displays (R146)."""

from django.db.models import Exists, OuterRef

from broker import access, jobs
from broker.models import ConsoleTicket, DesktopRequest, Pool
from broker.operations import consoles, desktops
from broker.states import LIVE, PoolType

BATCH = 500


def enforce() -> None:
    """Look at every pool that somebody has or wants a desktop of: one statement each, however many they are."""
    wanted = DesktopRequest.objects.filter(pool=OuterRef("pk"), state__in=LIVE)
    for pool in Pool.objects.filter(Exists(wanted)).select_related("cluster__data_center"):
        live = DesktopRequest.objects.filter(pool=pool, state__in=LIVE)
        # Asked of these people alone, and not of everybody there is.
        allowed = access.who_can("use_pool", pool).filter(pk__in=live.values("user")).values("pk")
        lost = live.exclude(user__in=allowed)
        if pool.type == PoolType.MANUAL:
            DesktopRequest.objects.kept_from_their_users().filter(pool=pool, user__in=allowed).update(revoked_at=None)
        for request_id in lost.filter(revoked_at=None).values_list("pk", flat=True)[:BATCH]:
            desktops.end_unpermitted(request_id=request_id)
    for ticket in ConsoleTicket.objects.of_administrators().select_related("user", "vm")[:BATCH]:
        if not access.can(ticket.user, "operate_vm", ticket.vm):
            consoles.revoke(ticket=ticket)
    for ticket_id in ConsoleTicket.objects.to_close().values_list("pk", flat=True)[:BATCH]:
        jobs.send("broker.close_display", ticket_id)
