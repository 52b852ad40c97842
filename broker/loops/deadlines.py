"""End what has had its time, and warn before."""

from uuid import UUID

from django.utils import timezone

from broker import jobs
from broker.models import DesktopRequest
from broker.operations import deadlines
from broker.rules.deadlines import UNUSED
from broker.states import Ending

BATCH = 500
SENT_AGAIN_SECONDS = 20


def keep_time() -> None:
    """One task for each desktop that is due, so that a host that hangs delays no other."""
    for request_id, _ending in deadlines.due(timezone.now(), most=BATCH):
        jobs.send("broker.deadline", request_id, expires=SENT_AGAIN_SECONDS)


def deadline(request_id: UUID) -> None:
    """A desktop whose time has come: it ends, unless its host says that somebody is there after all."""
    request = DesktopRequest.objects.filter(pk=request_id).first()
    if request is None or request.vm_id is None:
        return
    if request.ending in (*UNUSED, Ending.DISCONNECTED):
        # The event that somebody came may have been lost: nobody is thrown out for that.
        deadlines.look_at_display_on_host(vm_id=request.vm_id)
    elif request.ending == Ending.IDLE:
        deadlines.look_at_work_on_host(vm_id=request.vm_id)
    deadlines.act(request_id=request_id)
