"""What allauth does our way: accounts and second factors."""

import logging
from smtplib import SMTPException
from threading import Thread
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context as allauth_context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import generate_totp_secret
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpRequest
from django.utils.encoding import force_bytes
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from broker import events
from broker.errors import Conflict, TooMany
from broker.models import Event
from broker.operations import users
from portal import failed_sign_ins, secret

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """Passwords, mails and where a sign-in leads."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Administrators make the accounts."""
        return False

    def is_safe_url(self, url: str) -> bool:
        """Only where one is already: another name of this site has other cookies."""
        request = allauth_context.request
        return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """The same count as at the sign-in page, for who is asked for the password once more."""
        try:
            failed_sign_ins.try_sign_in(request, credentials.get("username", ""))
        except TooMany as error:
            raise ValidationError(error.message) from error

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        user = super().authenticate(request, **credentials)
        if user is not None:
            failed_sign_ins.signed_in(request, credentials.get("username", ""))
        return user

    def set_password(self, user: Any, password: str) -> None:
        """As an administrator would: tokens and consoles of the old password end, and the record has it."""
        users.change(user=user, changes={}, password=password, by=user)
        user.refresh_from_db()

    def get_reset_password_from_key_url(self, key: str) -> str:
        """At the address that is known to lead here, where it was given."""
        url = super().get_reset_password_from_key_url(key)
        if not settings.PUBLIC_URL:
            return url
        return settings.PUBLIC_URL + url.removeprefix(self.request.build_absolute_uri("/").rstrip("/"))

    def send_password_reset_mail(self, user: Any, email: str, context: dict[str, Any]) -> None:
        """Not to who has no password here: it would be a second way in, past whoever vouches for the person."""
        if user.has_usable_password():
            events.record("password.reset_sent", actor=user, keys={"subject_id": user.pk})
            super().send_password_reset_mail(user, email, context)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Beside the answer: how long a mail server takes would tell strangers who has an account."""
        message = self.render_mail(template_prefix, email, {"email": email, **context})
        Thread(target=_send, args=(message,), daemon=True).start()


def _send(message: EmailMessage) -> None:
    try:
        message.send()
    except (OSError, SMTPException) as error:
        log.warning("a mail to %s could not be sent: %s", ", ".join(message.to), error)


class FactorAdapter(DefaultMFAAdapter):
    """Second factors; a copy of the database makes no codes."""

    def encrypt(self, text: str) -> str:
        return secret.cipher().encrypt(force_bytes(text)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return secret.cipher().decrypt(force_bytes(encrypted_text)).decode()
        except InvalidToken:
            log.error("A second factor cannot be read: HOTDESK_SECRET_KEY is not the key it was set up with.")
            return generate_totp_secret()  # which nobody knows: whatever code is tried is wrong

    def get_totp_label(self, user: Any) -> str:
        return user.get_username()

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:
        count = Authenticator.objects.filter(user=user, type=type).count()
        return _("Key %(number)s") % {"number": count + 1}


# -- names for the record and for pages --------------------------------------------------------------


def factor_name(factor: Authenticator) -> str:
    """What a second factor is called; a key by its own name."""
    if factor.type == Authenticator.Type.WEBAUTHN:
        return _("key “%(name)s”") % {"name": Truncator(factor.wrap().name).chars(100)}
    return _("authenticator app") if factor.type == Authenticator.Type.TOTP else _("recovery codes")


def has_factor(user: Any) -> bool:
    """Whether a password alone does not open this account; recovery codes alone are no factor."""
    return any(one.type != Authenticator.Type.RECOVERY_CODES for one in user.authenticator_set.all())


@transaction.atomic
def remove_factors(*, user: Any, by: Any) -> None:
    """For somebody who lost them: the password alone opens the account again, until new ones are set up there.

    Conflict where there are none, and for one's own, which are removed where the password is asked for once more;
    Denied for somebody who may do more than whoever removes them.
    """
    users.require_covered(by, user)
    if by.pk == user.pk:
        text = _("Remove your own second factors on the page Account, which asks for the password once more.")
        raise Conflict(text, code="OWN_ACCOUNT")
    removed, _by_kind = Authenticator.objects.filter(user=user).delete()
    if not removed:
        raise Conflict(_("%(name)s has no second factor.") % {"name": user}, code="NO_FACTOR")
    about = {"keys": {"subject_id": user.pk}, "severity": Event.Severity.WARNING}
    events.record("factor.taken", actor=by, owner=user, **about)
