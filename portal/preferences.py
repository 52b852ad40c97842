"""What a person chose once for every browser and program: kept with the account."""

from typing import Any

from django.http import HttpRequest
from django.utils import translation

NAMES = ("language", "theme", "opening", "notifications")


def of(user: Any) -> dict[str, Any]:
    return {name: getattr(user, name) for name in NAMES}


def keep(*, user: Any, changes: dict[str, Any]) -> None:
    """Values were looked at by whoever asked for them; what is not named stays."""
    changed = [name for name in NAMES if name in changes and changes[name] != getattr(user, name)]
    for name in changed:
        setattr(user, name, changes[name])
    if changed:
        user.save(update_fields=changed)


def speak(request: HttpRequest) -> None:
    """Go on in the language of whoever is signed in; cookie and browser count where none was chosen."""
    language = getattr(request.user, "language", "")
    if language:
        translation.activate(language)
        request.LANGUAGE_CODE = translation.get_language()
