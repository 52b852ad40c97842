"""People for whom a provider vouches: which account is whose."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.utils.translation import gettext as _

from broker import events
from broker.models import Event


class ProviderAdapter(DefaultSocialAccountAdapter):
    """An identity is bound to one account at its first sign-in, and stays with it whatever its address becomes.

    Until then it is matched by its e-mail address: verified by the provider, and that of one account alone. Accounts
    are made for strangers only where the configuration says so, for a provider mostly knows more people than are to
    use Hotdesk.
    """

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        if sociallogin.is_existing:
            return
        person = _person_with(_verified(sociallogin))
        if person is not None:
            sociallogin.connect(request, person)

    def can_authenticate_by_email(self, login: Any, email: str) -> bool:
        """Not allauth's way, which takes the first of several accounts."""
        return False

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Where nobody has this address yet, which must be verified as well."""
        address = _verified(sociallogin)
        open_ = _rule(sociallogin, "create_users") and address and not _with(address).exists()
        if not open_:
            refused = {"severity": Event.Severity.WARNING, "outcome": Event.Outcome.REFUSED}
            events.record("session.unknown", **refused)
        return bool(open_)

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Any:
        user = super().save_user(request, sociallogin, form)
        events.record("object.created", subject=user, name=user, what=_("user"))
        return user

    def send_notification_mail(self, *_about: Any, **_more: Any) -> None:
        """The record has it."""


def _rule(sociallogin: Any, name: str) -> bool:
    return bool(sociallogin.account.get_provider().app.settings.get(name))


def _verified(sociallogin: Any) -> str:
    """The address that the provider has verified, or is trusted to have; blank for none."""
    given: list[EmailAddress] = sociallogin.email_addresses
    trusted = _rule(sociallogin, "trust_email")
    return next((one.email for one in given if trusted or one.verified), "")


def _with(address: str) -> Any:
    return get_user_model()._default_manager.filter(email__iexact=address)


def _person_with(address: str) -> Any:
    """Whose address this is; null for nobody, and where several have it, for nobody knows which is meant."""
    found = list(_with(address)[:2]) if address else []
    return found[0] if len(found) == 1 else None
