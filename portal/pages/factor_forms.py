"""Forms of keys, with words of ours."""

from allauth.mfa.webauthn.forms import AddWebAuthnForm, EditWebAuthnForm
from django import forms
from django.utils.translation import gettext_lazy as _

NAME = {"label": _("Name of the key"), "help_text": _("So that you know it among others."), "max_length": 100}


class AddKeyForm(AddWebAuthnForm):
    """A key that is new, and whether it is enough by itself."""

    name = forms.CharField(required=False, **NAME)
    passwordless = forms.BooleanField(
        label=_("Sign in with this key alone"),
        required=False,
        help_text=_("Without a password. The key then asks for a PIN, a finger or a face each time."),
    )


class EditKeyForm(EditWebAuthnForm):
    """Another name for a key."""

    name = forms.CharField(**NAME)
