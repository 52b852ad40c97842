"""Nothing is served and no ticket is made with a key that everybody knows."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def require_secret_key() -> None:
    """ImproperlyConfigured unless a key was given."""
    if settings.SECRET_KEY == settings.NO_SECRET_KEY:
        raise ImproperlyConfigured(
            "Set HOTDESK_SECRET_KEY to 50 or more random characters, the same for web and workers, "
            "or HOTDESK_SECRET_KEY_FILE to a file that holds them."
        )
