"""Tell people by mail what they asked to be told of."""

import logging
from smtplib import SMTPRecipientsRefused, SMTPResponseException
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from broker import events, jobs, leases, live
from broker.errors import Conflict
from broker.models import DesktopRequest
from broker.states import LIVE

log = logging.getLogger(__name__)

AWAY = "mail server is away"
AWAY_SECONDS = 60  # in which no worker waits for it in vain


@transaction.atomic
def ask(*, request: DesktopRequest, wanted: bool) -> None:
    """Whether its user is sent a mail when the desktop is ready; Conflict without an address, or when it is over."""
    if wanted and not request.user.email:
        text = _("Your account has no e-mail address. Ask your administrator to add one.")
        raise Conflict(text, code="NO_ADDRESS")
    rows = DesktopRequest.objects.filter(pk=request.pk, state__in=LIVE)
    if not rows.update(mail_asked=wanted):
        raise Conflict(_("This desktop was given back already."), code="ENDED")
    live.request_changed(request.pk)
    if DesktopRequest.objects.to_mail().filter(pk=request.pk).exists():
        jobs.later("broker.mail_ready", request.pk)


def send_ready(*, request_id: UUID) -> None:
    """Send it once; what could not be sent is tried again by the sweep while the desktop is there."""
    request = DesktopRequest.objects.to_mail().select_related("user", "pool", "vm").filter(pk=request_id).first()
    if request is None or leases.is_held(AWAY) or not _claim(request):
        return
    try:
        _send(request)
    except OSError as error:  # what smtplib raises are such, too
        log.warning("a mail to %s could not be sent: %s", request.user, error)
        DesktopRequest.objects.filter(pk=request.pk).update(mailed_at=None)
        if not isinstance(error, SMTPRecipientsRefused | SMTPResponseException):
            leases.hold(AWAY, seconds=AWAY_SECONDS)
        return
    events.record("desktop.mailed", actor=request.user, request=request, pool=request.pool, vm=request.vm)


def _claim(request: DesktopRequest) -> bool:
    """Written first: a worker that dies over it sends no second mail to somebody who got the first."""
    return bool(DesktopRequest.objects.to_mail().filter(pk=request.pk).update(mailed_at=timezone.now()))


def _send(request: Any) -> None:
    with translation.override(request.language or None):
        words = {"pool": request.pool_name, "vm": request.vm_name}
        lines = [_("Your desktop %(vm)s of the pool %(pool)s is ready.") % words]
        if request.ends_at is not None and request.connected_at is None:
            until = timezone.localtime(request.ends_at)
            lines.append(
                _("It is held for you until %(time)s. Connect to it by then.") % {"time": f"{until:%H:%M %Z}"}
            )
        if settings.PUBLIC_URL:
            lines.append(f"{settings.PUBLIC_URL}/desktops/{request.pk}/")
        lines.append(_("You asked Hotdesk for this mail when you stood in line."))
        subject = _("Your desktop of %(pool)s is ready") % words
    send_mail(subject, "\n\n".join(lines), None, [request.user.email])


def unsent() -> list[UUID]:
    """Mails whose wake-up was lost, or that could not be sent."""
    return list(DesktopRequest.objects.to_mail().values_list("pk", flat=True)[:100])
