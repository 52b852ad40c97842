"""Sign in for programs."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Router, Schema, Status
from ninja.errors import AuthenticationError
from ninja.security import HttpBearer
from pydantic import Field

from broker import events
from broker.operations import console_sessions
from portal import accounts, logins, second_factors, sign_ins
from portal.api.errors import envelope
from portal.api.values import Body
from portal.models import ApiToken, User

router = Router(tags=["sign-in"])


class Bearer(HttpBearer):
    """`Authorization: Bearer TOKEN`; an unknown, expired or switched-off one is refused alike."""

    def authenticate(self, request: HttpRequest, token: str) -> User:
        row = (
            ApiToken.objects.select_related("user")
            .filter(digest=ApiToken.digest_of(token), expires_at__gt=timezone.now(), user__is_active=True)
            .first()
        )
        if row is None:
            raise AuthenticationError
        second_factors.require(row.user)
        request.user = row.user
        return row.user


class Credentials(Body):
    username: str = Field(min_length=1, max_length=150)
    password: str = Field(min_length=1, max_length=1000)
    code: str = Field("", max_length=100)


class Token(Schema):
    token: str
    expires: datetime


@router.post("/tokens", auth=None, response={201: Token}, summary="Sign in")
def create_token(request: HttpRequest, credentials: Credentials) -> Any:
    """A token for a user name and password. It is shown once; only its hash is kept.

    `code` is needed of whoever has a second factor: one of the authenticator app, or a recovery code.
    """
    sign_ins.try_sign_in(request, credentials.username)
    user = authenticate(request, username=credentials.username, password=credentials.password)
    if user is None:
        return envelope(401, "WRONG_CREDENTIALS", _("The user name or the password is wrong."))
    sign_ins.signed_in(request, credentials.username)
    second_factors.require(user)
    if accounts.has_factor(user) and not (credentials.code and second_factors.check_code(user, credentials.code)):
        text = _("This account has a second factor: send a new code of your app, or a recovery code, as “code”.")
        return envelope(401, "WRONG_CODE" if credentials.code else "CODE_NEEDED", text)
    issued = _issue(user)
    if issued is None:
        return envelope(401, "WRONG_CREDENTIALS", _("The user name or the password is wrong."))
    return Status(201, issued)


@transaction.atomic
def _issue(user: Any) -> dict[str, Any] | None:
    """A new token; null when the password that was just right was changed, or the account disabled, meanwhile."""
    now = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if now.password != user.password or not now.is_active:
        return None
    token, expires = ApiToken.draw(), timezone.now() + timedelta(hours=settings.API_TOKEN_HOURS)
    ApiToken.objects.filter(user=user, expires_at__lte=timezone.now()).delete()
    ApiToken.objects.create(user=user, digest=ApiToken.digest_of(token), expires_at=expires)
    events.record("session.opened", actor=user, keys={"subject_id": user.pk}, way="API")
    return {"token": token, "expires": expires}


@router.delete("/tokens", response={204: None}, summary="Sign out")
def revoke_token(request: HttpRequest) -> Any:
    """The token that this request carries is worthless from now on."""
    token = request.headers["Authorization"].split(" ", 1)[1]
    console_sessions.end_login(login=logins.of_request(request))
    ApiToken.objects.filter(digest=ApiToken.digest_of(token.strip())).delete()
    events.record("session.closed", actor=request.user, keys={"subject_id": request.user.pk}, way="API")
    return Status(204, None)
