"""End what has had its time, and warn before."""

import logging
from uuid import UUID

from django.utils import timezone

from broker import jobs
from broker.drivers.hypervisor import HypervisorError
from broker.models import DesktopRequest, Host
from broker.operations import deadlines
from broker.rules.deadlines import UNUSED
from broker.states import Ending

log = logging.getLogger(__name__)

BATCH = 500
SENT_AGAIN_SECONDS = 20


def keep_time() -> None:
    """One task for each desktop that is due, so that a host that hangs delays no other."""
    for request_id in deadlines.due(timezone.now(), most=BATCH):
        jobs.send("broker.deadline", request_id, expires=SENT_AGAIN_SECONDS)


def deadline(request_id: UUID) -> None:
    """A desktop whose time has come: it ends, unless its host says that somebody is there after all."""
    request = DesktopRequest.objects.filter(pk=request_id).first()
    if request is None or request.vm_id is None:
        return
    try:
        if request.ending in (*UNUSED, Ending.DISCONNECTED):
            # The event that somebody came may have been lost: nobody is thrown out for that.
            deadlines.look_at_display_on_host(vm_id=request.vm_id)
        elif request.ending == Ending.IDLE:
            deadlines.look_at_work_on_host(vm_id=request.vm_id)
    except HypervisorError as error:
        log.warning("%s stays until its host can be asked: %s", request, error)
        return
    deadlines.act(request_id=request_id)


def look_at_displays(host_id: UUID) -> None:
    """See who looks at the desktops of a host; what it does not tell now is asked by its monitor again."""
    host = Host.objects.get(pk=host_id)
    try:
        deadlines.look_at_displays_on_host(host=host)
    except HypervisorError as error:
        log.warning("nobody knows who looks at the desktops of %s: %s", host, error)


def look_at_display(vm_id: UUID) -> None:
    """See who looks at a desktop; what a host does not tell now is asked by its monitor again."""
    try:
        deadlines.look_at_display_on_host(vm_id=vm_id)
    except HypervisorError as error:
        log.warning("nobody knows who looks at VM %s: %s", vm_id, error)
