"""The only exceptions a surface must know: each is a full sentence its reader can act on."""

from collections.abc import Sequence


class Refused(Exception):
    """An operation said no. `code` is for programs, `message` for people, `details` names fields."""

    code = "REFUSED"

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.details = [{"field": field, "message": message}]


class NotFound(Refused):
    """Absent, or invisible to whoever asks: the two look the same (I6)."""

    code = "NOT_FOUND"


class Invalid(Refused):
    """A value is not allowed; `field` says which."""

    code = "INVALID"

    @classmethod
    def fields(cls, problems: list[tuple[str, str]]) -> "Invalid":
        """All problems of one input at once, so that nobody mends them one by one."""
        refusal = cls(" ".join(str(text) for _, text in problems))
        refusal.details = [{"field": field, "message": str(text)} for field, text in problems]
        return refusal


class Conflict(Refused):
    """A rule or the present state stands against it."""

    code = "CONFLICT"


class Denied(Refused):
    """Visible, but this action is not granted; `advice` says in sentences what is missing and who can give it."""

    code = "FORBIDDEN"

    def __init__(self, message: str, *, code: str | None = None, advice: Sequence[str] = ()) -> None:
        super().__init__(message, code=code)
        self.advice = advice
        self.details += [{"field": None, "message": sentence} for sentence in advice]


class Busy(Refused):
    """Nothing is wrong, but it cannot be done this moment; `retry_after` is in seconds."""

    code = "BUSY"

    def __init__(self, message: str, *, code: str | None = None, retry_after: int = 2) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class TooMany(Refused):
    """Asked for more often than is let through; `retry_after` is in seconds."""

    code = "TOO_MANY_REQUESTS"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
