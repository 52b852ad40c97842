"""Sign in with a user name and a password; allauth asks for a second factor where there is one."""

from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.account.views import LoginView, PasswordChangeView
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from broker.errors import Denied, TooMany
from portal import sign_ins


class SignInForm(AuthenticationForm):
    """Django's own, which looks at no password of a name that failed too often."""

    retry_after = 0  # seconds; for who must wait

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not name or not password:
            return super().clean()
        try:
            sign_ins.try_sign_in(self.request, name)
        except TooMany as error:
            self.retry_after = error.retry_after
            raise ValidationError(error.message) from error
        cleaned = super().clean()
        sign_ins.signed_in(self.request, name)
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
