"""Sign in for programs."""

from datetime import datetime
from typing import Any

from django.contrib.auth import authenticate
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from ninja.errors import AuthenticationError
from ninja.security import HttpBearer
from pydantic import Field

from broker import events
from broker.errors import Denied
from broker.models import DesktopRequest
from broker.rules import scopes
from broker.states import Scope
from portal import accounts, failed_sign_ins, preferences, second_factors, tokens
from portal.api.errors import envelope
from portal.api.lists import Page, Paging, page
from portal.api.values import Body, Moment
from portal.models import ApiToken, User

router = Router(tags=["sign-in"])
LOOKS = ("GET", "HEAD")


class Bearer(HttpBearer):
    """`Authorization: Bearer TOKEN`; an unknown, expired or switched-off one is refused alike.

    The one place where the scope of a token is looked at. Each router says for which scopes it is there; everything
    leads to all of them, and read to whatever only looks.
    """

    def __init__(self, *fitting: Scope) -> None:
        super().__init__()
        self.fitting = fitting

    def authenticate(self, request: HttpRequest, token: str) -> User:
        row = tokens.find(token)
        if row is None:
            raise AuthenticationError
        second_factors.require(row.user)
        request.user = row.user
        preferences.speak(request)
        # Whose it is matters to tokens for one's own desktops alone.
        of_others = Scope.DESKTOPS in row.scopes and _is_about_others(request)
        if not scopes.permits(row.scopes, self.fitting, looks=request.method in LOOKS, of_others=of_others):
            text = _("This token was made for less than that. It is for: %(scopes)s.")
            raise Denied(text % {"scopes": ", ".join(row.scopes)}, code="OUT_OF_SCOPE")
        tokens.note_use(row)
        return row.user


def _is_about_others(request: HttpRequest) -> bool:
    """Administrators and leads reach desktops of others at the same addresses as everybody the own ones."""
    named = request.resolver_match.kwargs if request.resolver_match else {}
    if "vm_id" in named or "all" in request.GET:
        return True
    wish = named.get("request_id")
    return wish is not None and not DesktopRequest.objects.filter(pk=wish, user=request.user).exists()


class Credentials(Body):
    username: str = Field(min_length=1, max_length=150)
    password: str = Field(min_length=1, max_length=1000)
    name: str = Field("", max_length=1000, description="what it is for, in your words")
    scopes: list[Scope] = Field([Scope.EVERYTHING], description="what it may be used for")
    expires: Moment = Field(default_factory=lambda: None, description="a day from now, where it is absent")
    code: str = Field("", max_length=100)


class Token(Schema):
    token: str
    expires: datetime


class TokenOut(Schema):
    """All but the secret."""

    id: int
    name: str
    scopes: list[Scope]
    created: datetime
    expires: datetime
    last_used: datetime | None


@router.post("/tokens", auth=None, response={201: Token}, summary="Sign in")
def create_token(request: HttpRequest, credentials: Credentials) -> Any:
    """A token for a user name and password. It is shown once; only its hash is kept.

    No token makes another one: what is to be made needs the password, or the page *Account*.
    `code` is needed of whoever has a second factor: one of the authenticator app, or a recovery code.
    """
    failed_sign_ins.try_sign_in(request, credentials.username)
    user = authenticate(request, username=credentials.username, password=credentials.password)
    if user is None:
        return envelope(401, "WRONG_CREDENTIALS", _("The user name or the password is wrong."))
    failed_sign_ins.signed_in(request, credentials.username)
    second_factors.require(user)
    if accounts.has_factor(user) and not (credentials.code and second_factors.check_code(user, credentials.code)):
        text = _("This account has a second factor: send a new code of your app, or a recovery code, as “code”.")
        return envelope(401, "WRONG_CODE" if credentials.code else "CODE_NEEDED", text)
    issued = _issue(user, credentials)
    if issued is None:
        return envelope(401, "WRONG_CREDENTIALS", _("The user name or the password is wrong."))
    return Status(201, issued)


@transaction.atomic
def _issue(user: Any, wanted: Credentials) -> dict[str, Any] | None:
    """A new token; null when the password that was just right was changed, or the account disabled, meanwhile."""
    now = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if now.password != user.password or not now.is_active:
        return None
    about = wanted.model_dump(include={"name", "scopes", "expires"})
    token, secret = tokens.make(user=now, by=now, **about)
    events.record("session.opened", actor=user, keys={"subject_id": user.pk}, way="API")
    return {"token": secret, "expires": token.expires_at}


@router.get("/tokens", response=Page[TokenOut], summary="My tokens")
def list_tokens(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """Those that are valid, newest first. Nobody can read their secrets again."""
    return page(
        tokens.valid(request.user),
        paging,
        order=("created_at", "id"),
        searched="name",
        show=show_token,
        descending=True,
    )


@router.delete("/tokens", auth=Bearer(*Scope), response={204: None}, summary="Sign out")
def sign_out(request: HttpRequest) -> Any:
    """The token that this request carries is worthless from now on."""
    token = tokens.find(request.headers["Authorization"].split(" ", 1)[1].strip())
    if token is not None:
        tokens.revoke(token=token, by=request.user)
    events.record("session.closed", actor=request.user, keys={"subject_id": request.user.pk}, way="API")
    return Status(204, None)


@router.delete("/tokens/{int:token_id}", response={204: None}, summary="Revoke a token of mine")
def revoke_token(request: HttpRequest, token_id: int) -> Any:
    """It is worthless from now on, and the consoles that were opened with it end."""
    tokens.revoke(token=tokens.of_user(request.user, token_id), by=request.user)
    return Status(204, None)


def show_token(token: ApiToken) -> dict[str, Any]:
    """A token as the contract writes it."""
    times = {"created": token.created_at, "expires": token.expires_at, "last_used": token.last_used_at}
    return {"id": token.pk, "name": token.name, "scopes": token.scopes, **times}
