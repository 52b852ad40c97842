"""What a password must be."""

from django.contrib.auth.password_validation import MinimumLengthValidator

from broker import config


class LeastLength(MinimumLengthValidator):
    """Django's own, with the length that administrators have set."""

    def __init__(self) -> None:
        """Validators are made once; the length is asked for each time."""

    @property
    def min_length(self) -> int:
        return int(config.get("MinPasswordLength"))
