"""Sign in with a user name and a password; allauth asks for a second factor where there is one."""

import logging
from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.account.views import LoginView, PasswordChangeView
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.openid_connect import views as oidc
from allauth.socialaccount.providers.saml import views as saml
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from onelogin.saml2.errors import OneLogin_Saml2_Error

from broker.errors import Denied, TooMany
from portal import failed_sign_ins

log = logging.getLogger(__name__)


class SignInForm(AuthenticationForm):
    """Django's own, which looks at no password of a name that failed too often."""

    retry_after = 0  # seconds; for who must wait

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not name or not password:
            return super().clean()
        try:
            failed_sign_ins.try_sign_in(self.request, name)
        except TooMany as error:
            self.retry_after = error.retry_after
            raise ValidationError(error.message) from error
        cleaned = super().clean()
        failed_sign_ins.signed_in(self.request, name)
        return cleaned

    def login(self, request: HttpRequest, redirect_url: str | None = None) -> HttpResponse:
        """On to the second factor, or to where one wanted to go."""
        login = Login(user=self.get_user(), redirect_url=redirect_url)
        return perform_password_login(request, {"username": login.user.get_username()}, login)


class SignIn(LoginView):
    """Back to the page one came from; what was typed as the name stays after a mistake."""

    template_name = "account/login.html"

    def get_form_class(self) -> type[SignInForm]:
        return SignInForm

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        """With a button for each provider that vouches for people."""
        onward = {"next": self.get_next_url()} if self.get_next_url() else {}
        providers = [
            {"name": one.name, "url": one.get_login_url(self.request, **onward)}
            for one in get_adapter().list_providers(self.request)
        ]
        return super().get_context_data(providers=providers, **more)

    def form_invalid(self, form: SignInForm) -> HttpResponse:
        response = super().form_invalid(form)
        if form.retry_after:
            response.status_code = 429
            response.headers["Retry-After"] = str(form.retry_after)
        return response


class ChangePassword(PasswordChangeView):
    """For who has a password here; whom others vouch for has none."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated and not request.user.has_usable_password():
            raise Denied(_("Your account has no password here: you sign in another way."))
        return super().dispatch(request, *args, **kwargs)


def to_oidc_provider(request: HttpRequest, provider_id: str) -> HttpResponse:
    """To where somebody vouches for people; a provider that does not answer is told as any other failure."""
    return _away(request, oidc.login, provider_id=provider_id)


def to_saml_provider(request: HttpRequest, organization_slug: str) -> HttpResponse:
    return _away(request, saml.login, organization_slug=organization_slug)


def _away(request: HttpRequest, login: Callable[..., HttpResponse], **which: str) -> HttpResponse:
    try:
        return login(request, **which)
    except (OSError, ValueError, OneLogin_Saml2_Error) as error:  # what requests and urllib raise are such
        log.warning("the sign-in provider %s cannot be used: %s", *which.values(), error)
        return render(request, "socialaccount/authentication_error.html", status=503)


def no_single_sign_out(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Its address stands in what SAML providers are told; a message there, which need not be signed, does nothing."""
    raise Http404
