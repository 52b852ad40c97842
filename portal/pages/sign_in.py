"""Sign in with a user name and a password."""

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse

from broker.errors import TooMany
from portal import limits


class SignInForm(AuthenticationForm):
    """Django's own, which looks at no password of a name that failed too often."""

    retry_after = 0  # seconds; for who must wait

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not name or not password:
            return super().clean()
        try:
            limits.try_sign_in(self.request, name)
        except TooMany as error:
            self.retry_after = error.retry_after
            raise ValidationError(error.message) from error
        cleaned = super().clean()
        limits.signed_in(self.request, name)
        return cleaned


class SignIn(LoginView):
    """Back to the page one came from; what was typed as the name stays after a mistake."""

    template_name = "registration/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().dispatch(request, *args, **kwargs)
        response.headers["Cache-Control"] = "no-store"
        return response

    def form_invalid(self, form: SignInForm) -> HttpResponse:
        response = super().form_invalid(form)
        if form.retry_after:
            response.status_code = 429
            response.headers["Retry-After"] = str(form.retry_after)
        return response
