"""Record what happened, in the transaction in which it happens.

Field by field, django-auditlog keeps what changed (broker.audit); `order_id` leads from one to the other.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from broker import orders
from broker.models import DesktopRequest, Event, Host, Pool, VirtualMachine
from broker.models.base import Row
from broker.states import RequestState

log = logging.getLogger(__name__)

# What could make one line of the log look like two.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


# One sentence per kind; the facts of the event fill it in, in the reader's language.
KINDS = {
    "desktop.asked": gettext_noop("%(user)s asked for a desktop of %(pool)s (ticket %(ticket)s)."),
    "desktop.assigned": gettext_noop("%(vm)s of %(pool)s was assigned to %(user)s."),
    "desktop.ready": gettext_noop("%(vm)s is ready for %(user)s."),
    "desktop.connected": gettext_noop("%(user)s connected to %(vm)s."),
    "desktop.cancelled": gettext_noop("%(user)s left the line of %(pool)s."),
    "desktop.returning": gettext_noop("%(user)s gives %(vm)s back (%(reason)s)."),
    "desktop.ended": gettext_noop("%(vm)s was returned by %(user)s and is clean again (%(reason)s)."),
    "desktop.restarted": gettext_noop("%(user)s restarted %(vm)s."),
    "desktop.viewer_left": gettext_noop("%(user)s closed the viewer of %(vm)s; the desktop stays."),
    "desktop.viewer_back": gettext_noop("%(user)s connected to %(vm)s again."),
    "desktop.warned": gettext_noop("%(user)s was warned: %(vm)s ends in %(minutes)s min."),
    "desktop.extended": gettext_noop("%(user)s put the end of %(vm)s off."),
    "desktop.mailed": gettext_noop("%(user)s was told by mail that %(vm)s is ready."),
    "desktop.problem": gettext_noop("%(user)s reports a problem with a desktop of %(pool)s (%(vm_name)s): %(text)s"),
    "console.rdp": gettext_noop("%(user)s got an RDP file for %(vm)s."),
    "console.ticket": gettext_noop("%(user)s got a connection file for %(vm)s."),
    "vm.created": gettext_noop("%(vm)s was created."),
    "vm.create_failed": gettext_noop("%(vm)s could not be created: %(reason)s"),
    "vm.prestarting": gettext_noop("%(vm)s of %(pool)s is being prestarted."),
    "vm.started": gettext_noop("%(vm)s was started by %(user)s; what it writes is kept."),
    "vm.stopping": gettext_noop("%(vm)s is being stopped by %(user)s."),
    "vm.suspended": gettext_noop("%(vm)s was suspended by %(user)s."),
    "vm.resumed": gettext_noop("%(vm)s was resumed by %(user)s."),
    "vm.start_failed": gettext_noop("%(vm)s could not be started: %(reason)s"),
    "vm.held": gettext_noop("%(vm)s was put on hold: %(reason)s"),
    "vm.released": gettext_noop("%(vm)s was released by %(user)s."),
    "vm.released_changed": gettext_noop(
        "%(vm)s was released by %(user)s with the changes that %(changed_by)s made to its disk."
    ),
    "vm.faulty": gettext_noop("%(user)s marked %(vm)s as faulty: %(reason)s"),
    "vm.sound": gettext_noop("%(user)s offers %(vm)s again, which was marked as faulty."),
    "vm.cleaned": gettext_noop("The layer of %(vm)s was destroyed."),
    "vm.changed": gettext_noop("%(vm)s was changed by %(user)s: %(fields)s."),
    "vm.rebuilding": gettext_noop("%(vm)s gets a new disk from %(version)s, asked for by %(user)s."),
    "vm.detached": gettext_noop("%(vm)s was removed from pool %(pool)s by %(user)s and is independent now."),
    "vm.removing": gettext_noop("%(vm)s is being removed by %(user)s."),
    "vm.removed": gettext_noop("%(vm)s was removed."),
    "pool.created": gettext_noop("Pool %(pool)s with %(size)s VMs was created by %(user)s."),
    "pool.changed": gettext_noop("Pool %(pool)s was changed by %(user)s: %(fields)s."),
    "pool.grown": gettext_noop("Pool %(pool)s was updated by %(user)s, %(size)s VMs were added."),
    "pool.short": gettext_noop(
        "Pool %(pool)s has %(have)s of %(wanted)s prestarted VMs. Hotdesk will continue trying."
    ),
    "pool.removing": gettext_noop("Removal of pool %(pool)s and its VMs was initiated by %(user)s."),
    "pool.removed": gettext_noop("Pool %(pool)s was removed by %(user)s."),
    "template.importing": gettext_noop("%(user)s imports %(source)s as %(version)s."),
    "template.publishing": gettext_noop("%(user)s publishes %(vm)s as %(version)s."),
    "template.ready": gettext_noop("%(version)s can be used."),
    "template.failed": gettext_noop("%(version)s could not be made: %(reason)s"),
    "template.version_removed": gettext_noop("%(version)s was removed by %(user)s."),
    "object.created": gettext_noop("%(user)s created %(name)s (%(what)s)."),
    "object.changed": gettext_noop("%(user)s changed %(name)s (%(what)s): %(fields)s."),
    "object.removed": gettext_noop("%(user)s removed %(name)s (%(what)s)."),
    "job.retried": gettext_noop("%(user)s tried the failed parts of a job again: %(about)s."),
    "job.stopped": gettext_noop("%(user)s stopped a job: %(about)s."),
    "setting.changed": gettext_noop("%(user)s changed the setting %(key)s from '%(before)s' to '%(after)s'."),
    "desktop.return_asked": gettext_noop("%(user)s asks an administrator to return %(vm)s to %(pool)s."),
    "desktop.halted": gettext_noop("%(vm)s was shut down; it stays with %(user)s until an administrator returns it."),
    "desktop.switched_on": gettext_noop("%(user)s started %(vm)s again."),
    "host.activating": gettext_noop("Host %(host)s is being activated by %(user)s."),
    "host.preparing": gettext_noop("Host %(host)s is being prepared for maintenance by %(user)s."),
    "host.maintenance": gettext_noop("Host %(host)s is in maintenance."),
    "host.up": gettext_noop("Host %(host)s is up. %(reason)s"),
    "host.lost": gettext_noop("Host %(host)s does not answer: %(reason)s"),
    "host.failed": gettext_noop("Host %(host)s cannot be used: %(reason)s"),
    "orphan.domain": gettext_noop("A domain nobody wants was removed from %(host)s: %(name)s."),
    "orphan.layer": gettext_noop("A layer nobody wants was removed from %(host)s: %(name)s."),
    "desktop.revoked": gettext_noop("%(user)s lost the permission on %(pool)s and left the line."),
    "desktop.kept": gettext_noop(
        "%(user)s lost the permission on %(pool)s; %(vm)s is kept until an administrator returns it."
    ),
    "console.opened": gettext_noop("%(user)s opened %(vm)s in the browser."),
    "console.text_opened": gettext_noop("%(user)s opened the text console of %(vm)s."),
    "console.watched": gettext_noop("%(user)s looks at %(vm)s, the desktop of %(holder)s, who is shown it."),
    "console.taken_over": gettext_noop("%(user)s took the console of %(vm)s over from %(holder)s."),
    "console.closed": gettext_noop("The console of %(vm)s that %(user)s had in the browser ended (%(reason)s)."),
    "console.revoked": gettext_noop("The display of %(vm)s is closed: %(user)s has no permission for it any more."),
    "session.opened": gettext_noop("%(user)s signed in."),
    "session.refused": gettext_noop("Somebody could not sign in as %(name)s."),
    "session.unknown": gettext_noop("Somebody could not sign in: there is no account of that name."),
    "session.ended": gettext_noop("%(user)s signed %(owner)s out there: %(name)s"),
    "session.closed": gettext_noop("%(user)s signed out."),
    "token.made": gettext_noop(
        "%(user)s made the API token %(name)s of %(owner)s (%(scopes)s), valid until %(until)s."
    ),
    "token.revoked": gettext_noop("%(user)s revoked the API token %(name)s of %(owner)s."),
    "lock_out.undone": gettext_noop("%(user)s unlocked sign-ins as %(name)s from %(address)s."),
    "password.reset_sent": gettext_noop("%(user)s was sent a mail with which to choose a new password."),
    "factor.added": gettext_noop("%(user)s set up a second factor: %(factor)s."),
    "factor.removed": gettext_noop("%(user)s removed a second factor: %(factor)s."),
    "factor.taken": gettext_noop("%(user)s removed all second factors of %(owner)s, who had lost them."),
    "factor.renewed": gettext_noop("%(user)s replaced a second factor: %(factor)s."),
    "factor.refused": gettext_noop("Somebody who knew the password could not sign in as %(name)s: wrong %(factor)s."),
    "access.refused_stranger": gettext_noop(
        "Somebody who is not signed in was refused: %(method)s %(path)s (%(status)s)."
    ),
    "access.refused": gettext_noop("%(user)s was refused: %(method)s %(path)s (%(status)s)."),
    "access.refused_often": gettext_noop(
        "%(user)s was refused many times; more of it is not recorded for a minute: %(method)s %(path)s (%(status)s)."
    ),
    "backup.restored": gettext_noop("All of Hotdesk was restored from a backup of %(made_at)s (%(rows)s rows)."),
    "record.expired": gettext_noop("%(count)s events older than %(days)s days were deleted."),
    "desktop.asked_back": gettext_noop("%(user)s asks %(holder)s to return %(vm)s."),
    "desktop.returned_for": gettext_noop("%(user)s returned %(vm)s for %(holder)s: %(reason)s"),
    "desktop.left_by_shift": gettext_noop("%(user)s left the line of %(pool)s: the shift had ended."),
    "shift.checked_in": gettext_noop("%(user)s checked in (%(plan)s, %(shift)s)."),
    "shift.checked_out": gettext_noop("%(user)s checked out (%(plan)s, %(shift)s)."),
    "shift.handed_over": gettext_noop("%(user)s handed over to the next shift (%(plan)s, %(shift)s)."),
    "shift.confirmed": gettext_noop("%(user)s confirmed what %(author)s handed over (%(plan)s)."),
    "shift.settled": gettext_noop("%(user)s settled an open point (%(plan)s): %(text)s"),
    "shift.reminded": gettext_noop("%(user)s was reminded of the end of the shift in %(minutes)s min (%(plan)s)."),
    "shift.stay_asked": gettext_noop("%(user)s asks to stay %(minutes)s min longer (%(plan)s)."),
    "shift.stay_allowed": gettext_noop("%(user)s allowed %(person)s to stay %(minutes)s min longer (%(plan)s)."),
    "shift.stay_refused": gettext_noop("%(user)s did not allow %(person)s to stay longer (%(plan)s)."),
    "directory.lost": gettext_noop("%(name)s is gone from the directory, or disabled there: disabled here, too."),
    "role.granted": gettext_noop("%(user)s gave %(principal)s the role %(role)s on %(object)s."),
    "role.revoked": gettext_noop("%(user)s took the role %(role)s on %(object)s from %(principal)s."),
}


def record(kind: str, **about: Any) -> Event:
    """Write one event; `about` is as for `compose`."""
    event = compose(kind, **about)
    event.save(force_insert=True)
    return event


def compose(
    kind: str,
    *,
    actor: Any = None,
    request: DesktopRequest | None = None,
    pool: Pool | None = None,
    vm: VirtualMachine | None = None,
    host: Host | None = None,
    subject: Row | None = None,
    severity: str = Event.Severity.INFO,
    outcome: str | None = None,
    keys: dict[str, UUID] | None = None,
    **facts: Any,
) -> Event:
    """An event that is not written yet, for those who write many at once.

    Names are kept with it, because rows may be renamed or removed later. `keys` are columns of rows that are known by
    their keys alone.
    """
    now = orders.origin.get()
    if actor is not None and not actor.pk:
        actor = None
    for name, thing in (("pool", pool), ("vm", vm), ("host", host), ("user", actor)):
        if thing is not None:
            facts.setdefault(name, str(thing))
    facts.setdefault("user", "Hotdesk")
    event = Event(
        kind=kind,
        severity=severity,
        outcome=outcome or (Event.Outcome.FAILED if kind.endswith("failed") else Event.Outcome.DONE),
        address=now.address if now else None,
        order_id=now.order_id if now else None,
        actor=actor,
        pool_id=pool.pk if pool else None,
        vm_id=vm.pk if vm else None,
        host_id=host.pk if host else None,
        request_id=request.pk if request else None,
        subject_kind=subject._meta.model_name or "" if subject else "",
        subject_id=subject.pk if subject else None,
        facts={name: str(value) for name, value in facts.items()},
    )
    for column, key in (keys or {}).items():
        setattr(event, column, key)
    said = UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", KINDS[kind] % event.facts)
    log.info("%s", said, extra={"vm": event.vm_id, "request": event.request_id})
    return event


def orders_of(wishes: Iterable[UUID]) -> dict[UUID, UUID]:
    """Which order each of these wishes came with, as far as the record still has it: one query."""
    asked = Event.objects.filter(request_id__in=list(wishes), kind="desktop.asked").order_by()
    found = asked.values_list("request_id", "order_id")
    return {wish: order for wish, order in found if wish is not None and order is not None}


def order_behind(vm_id: UUID) -> UUID | None:
    """The order of whoever waits for this VM to start; null when it starts for nobody."""
    wishes = DesktopRequest.objects.filter(vm=vm_id, state=RequestState.STARTING).values("pk")
    asked = Event.objects.filter(request_id__in=wishes, kind="desktop.asked")
    return asked.order_by("pk").values_list("order_id", flat=True).first()


def about(row: Row) -> dict[str, Any]:
    """Where an event names a row, whatever its kind: to be given to `record`."""
    for name, model in (("pool", Pool), ("vm", VirtualMachine), ("host", Host)):
        if isinstance(row, model):
            return {name: row}
    return {"subject": row}


def sentence(event: Event) -> str:
    """The event in words, in the language of whoever reads it."""
    return _(KINDS[event.kind]) % event.facts
