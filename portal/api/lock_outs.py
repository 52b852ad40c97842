"""Names that must wait after sign-ins that failed, for those who manage users on the system as a whole."""

from datetime import datetime
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status

from broker import access
from broker.errors import NotFound
from broker.operations import lock_outs
from portal.api.lists import Page, Paging, page

router = Router(tags=["users and groups"])


class LockOutOut(Schema):
    id: int
    username: str
    address: str | None
    failures: int
    until: datetime


@router.get("/lock-outs", response=Page[LockOutOut], summary="Lock-outs")
def list_lock_outs(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_lock_outs(request), paging, order=("username", "id"), searched="username", show=_show)


@router.delete("/lock-outs/{int:lock_out_id}", response={204: None}, summary="Unlock")
def unlock(request: HttpRequest, lock_out_id: int) -> Any:
    """This name may try again from this address at once."""
    row = _lock_outs(request).filter(pk=lock_out_id).first() if lock_out_id < 2**31 else None
    if row is None:
        raise NotFound(_("There is no such lock-out."))
    lock_outs.unlock(lock_out=row, by=request.user)
    return Status(204, None)


def _lock_outs(request: HttpRequest) -> QuerySet[AccessAttempt]:
    access.require_everywhere(request.user, "manage_users")
    return lock_outs.in_force()


def _show(row: AccessAttempt) -> dict[str, Any]:
    return {
        "id": row.pk,
        "username": lock_outs.name_of(row),
        "address": row.ip_address,
        "failures": row.failures_since_start,
        "until": row.attempt_time + settings.AXES_COOLOFF_TIME,
    }
