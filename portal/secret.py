"""Nothing is served and no ticket is made with a key that everybody knows."""

import base64
import hashlib

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.encoding import force_bytes


def require_secret_key() -> None:
    """ImproperlyConfigured unless a key was given."""
    if settings.SECRET_KEY == settings.NO_SECRET_KEY:
        raise ImproperlyConfigured(
            "Set HOTDESK_SECRET_KEY to 50 or more random characters, the same for web and workers, "
            "or HOTDESK_SECRET_KEY_FILE to a file that holds them."
        )


def cipher() -> MultiFernet:
    """What secrets of second factors are kept under; keys of before (SECRET_KEY_FALLBACKS) still open theirs."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = [hashlib.sha256(b"second factors " + force_bytes(key)).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
