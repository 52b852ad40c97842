"""Account: what somebody chose for all pages, the ways to sign in, and the tokens of programs."""

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.validators import MaxValueValidator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST
from django.views.i18n import set_language

from broker import config
from broker.errors import Invalid
from broker.states import Scope
from portal import logins, preferences, signed_in, tokens
from portal.manage.views import PART
from portal.models import Opening, Theme

MOST = 500
# How one signs in.
SAFETY = (
    ("account_change_password", gettext_lazy("Change the password"), "key-round"),
    ("mfa_index", gettext_lazy("Second factor and passkeys"), "shield-check"),
    ("devices", gettext_lazy("Signed-in devices"), "monitor-smartphone"),
)


class PreferencesForm(forms.Form):
    """What is not sent stays as it is: a button of the header sends its own choice alone."""

    language = forms.ChoiceField(
        label=gettext_lazy("Language"),
        required=False,
        choices=[("", gettext_lazy("As the browser asks")), *settings.LANGUAGES],
    )
    theme = forms.ChoiceField(
        label=gettext_lazy("Theme"),
        required=False,
        choices=[("", gettext_lazy("As chosen in each browser")), *Theme.choices],
    )
    opening = forms.ChoiceField(
        label=gettext_lazy("Open desktops"),
        choices=Opening.choices,
        help_text=gettext_lazy("What the main button of a ready desktop does. The other way stays beside it."),
    )
    notifications = forms.TypedChoiceField(
        label=gettext_lazy("Notifications"),
        choices=[("no", gettext_lazy("Off")), ("yes", gettext_lazy("On"))],
        coerce=lambda value: value == "yes",
        help_text=gettext_lazy(
            "Tell me when a desktop is mine while I look at something else. "
            "Each browser asks once whether it may; the bell above the page does."
        ),
    )

    def __init__(self, data: Any, *, user: Any) -> None:
        shown = preferences.of(user)
        shown["notifications"] = "yes" if user.notifications else "no"
        super().__init__(data if data is None else {**shown, **data.dict()}, initial=shown, auto_id="choose-%s")


class TokenForm(forms.Form):
    """A new token."""

    name = forms.CharField(
        label=gettext_lazy("What it is for"),
        max_length=tokens.MAX_NAME,
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("What it may be used for"), choices=Scope.choices, widget=forms.CheckboxSelectMultiple
    )
    days = forms.IntegerField(label=gettext_lazy("Days that it is valid"), min_value=1)

    def __init__(self, data: Any = None) -> None:
        most = config.get("ApiTokenDays")
        super().__init__(data, initial={"days": min(30, most), "scopes": [Scope.READ.value]}, auto_id="token-%s")
        days: Any = self.fields["days"]
        days.max_value = days.widget.attrs["max"] = most
        days.validators.append(MaxValueValidator(most))
        days.help_text = _("At most %(days)s.") % {"days": most}

    def make(self, user: Any) -> str:
        """The secret, which is shown once."""
        wanted = self.cleaned_data
        expires = timezone.now() + timedelta(days=wanted["days"])
        about = {"name": wanted["name"], "scopes": wanted["scopes"], "expires": expires}
        return tokens.make(user=user, by=user, **about)[1]


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Look at it, and keep what was chosen."""
    form = PreferencesForm(request.POST if request.method == "POST" else None, user=request.user)
    if request.method != "POST":
        return _page(request, form=form)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    preferences.keep(user=request.user, changes=form.cleaned_data)
    if PART in request.headers:
        return HttpResponse(status=204)
    preferences.speak(request)
    messages.success(request, _("Your choices were saved."))
    return redirect("account")


@never_cache
@login_required
@require_POST
def make_token(request: HttpRequest) -> HttpResponse:
    """Answered with the page itself: the secret is kept nowhere from where another page could fetch it."""
    form = TokenForm(request.POST)
    if form.is_valid():
        try:
            secret = form.make(request.user)
        except Invalid as error:
            for problem in error.details:
                form.add_error(problem["field"] if problem["field"] in form.fields else None, problem["message"])
        else:
            return _page(request, secret=secret, made=form.cleaned_data["name"])
    return _page(request, token_form=form, status=422)


@login_required
@require_POST
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """One of one's own."""
    token = tokens.of_user(request.user, token_id)
    tokens.revoke(token=token, by=request.user)
    messages.success(request, _("The token %(name)s was revoked.") % {"name": token.name or "–"})
    return redirect("account")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def devices(request: HttpRequest) -> HttpResponse:
    """Browsers in which somebody is signed in; sent, all but this one are signed out."""
    here = logins.of_request(request)
    if request.method != "POST":
        return render(request, "devices.html", {"browsers": list(signed_in.browsers(request.user)), "here": here})
    count = signed_in.end_others(user=request.user, but=here)
    text = ngettext("Signed out in %(count)s other browser.", "Signed out in %(count)s other browsers.", count)
    messages.success(request, text % {"count": count})
    return redirect("devices")


@login_required
@require_POST
def end_device(request: HttpRequest, sign_in: str) -> HttpResponse:
    """One of one's own; this very browser is signed out as everywhere else."""
    signed_in.end(user=request.user, sign_in=sign_in, by=request.user)
    messages.success(request, _("That browser is signed out."))
    return redirect("devices")


def choose_language(request: HttpRequest) -> HttpResponse:
    """Django's own answer; whoever is signed in is spoken to in this language everywhere from now on."""
    chosen = request.POST.get("language", "")
    if request.method == "POST" and chosen in dict(settings.LANGUAGES) and request.user.is_authenticated:
        preferences.keep(user=request.user, changes={"language": chosen})
    return set_language(request)


def _page(
    request: HttpRequest, *, form: Any = None, token_form: Any = None, status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        "form": form or PreferencesForm(None, user=request.user),
        "token_form": token_form or TokenForm(),
        "tokens": list(tokens.valid(request.user).order_by("-created_at", "-pk")[:MOST]),
        "safety": [{"url": reverse(name), "label": label, "icon": icon} for name, label, icon in SAFETY],
    }
    return render(request, "account.html", {**context, **more}, status=status)
