"""People, and the tokens their programs sign in with."""

import hashlib
import secrets
from uuid import uuid4

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from broker.states import Scope


def everything() -> list[str]:
    """What a token may do that was made without a word about it."""
    return [Scope.EVERYTHING.value]


class Theme(models.TextChoices):
    """How pages look."""

    AUTO = "auto", _("As the system")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")


class Opening(models.TextChoices):
    """What the main button of a desktop that is ready does."""

    VIEWER = "viewer", _("In Remote Viewer")
    BROWSER = "browser", _("In the browser")


class User(AbstractUser):
    """A person who signs in. Of what the person chose, blank is left to the browser at hand."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    language = models.CharField(max_length=10, blank=True)
    theme = models.CharField(max_length=10, blank=True, choices=Theme.choices)
    opening = models.CharField(max_length=10, default=Opening.VIEWER, choices=Opening.choices)
    notifications = models.BooleanField(default=False)

    class Meta(AbstractUser.Meta):
        default_permissions = ()

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username


class ApiToken(models.Model):
    """A bearer token. Only its hash is kept, so that a copy of the database opens nothing."""

    user = models.ForeignKey(User, models.CASCADE, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=100, blank=True)
    scopes = models.JSONField(default=everything)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    @property
    def scope_labels(self) -> list[str]:
        return [str(Scope(scope).label) for scope in self.scopes]

    @staticmethod
    def digest_of(token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()

    @staticmethod
    def draw() -> str:
        """A new secret; long enough that a plain hash of it cannot be guessed."""
        return "hd_" + secrets.token_urlsafe(32)
