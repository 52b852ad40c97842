"""How a value of a row is shown: words for CSV, and words or a drawing for the page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _

from portal.manage.properties import Choices, Property, Type
from portal.templatetags import hotdesk

NOTHING = "–"
Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class Column:
    """A column of a list. Where it has a type, it can be sorted and asked for by its name.

    `source` is the dotted way from the row to the value; `path` the same for the database, where it differs.
    `read` gives the value for CSV and `draw` the cell, where the plain value does not do.
    """

    name: str
    label: str | Promise
    source: str = ""
    type: Type | None = None
    path: str = ""
    choices: Choices | Callable[[], Choices] = ()  # type: ignore[assignment]
    read: Reader | None = None
    draw: Reader | None = None
    number: bool = False
    shown: bool = True

    def property(self) -> Property | None:
        """What queries and sorting know of it."""
        path = self.path or self._source().replace(".", "__")
        return Property(self.name, path, self.type, self.label, self.choices) if self.type else None

    def value(self, row: Any) -> Any:
        """In plain words or numbers."""
        if self.read is not None:
            return self.read(row)
        found = row
        for part in self._source().split("."):
            found = getattr(found, part, None)
        options = Property(self.name, "", self.type, "", self.choices).options() if self.type and self.choices else ()
        return dict(options).get(found, found) if options else found

    def cell(self, row: Any) -> Any:
        """As the page shows it."""
        return shown(self.draw(row) if self.draw is not None else self.value(row))

    def _source(self) -> str:
        return self.source or self.name


def shown(value: Any) -> Any:
    """A value as people read it."""
    if value is None or value == "":
        return NOTHING
    if value is True or value is False:
        return _("Yes") if value else _("No")
    return hotdesk.moment(value) if isinstance(value, datetime) else value


def status(row: Any) -> Any:
    """The state of a row as a badge: an icon and a word."""
    return hotdesk.state(row.status, row.get_status_display())


def state(row: Any) -> Any:
    return hotdesk.state(row.state, row.get_state_display())


def mebibytes(count: int | None) -> str:
    """Memory, in the unit that reads best."""
    if not count:
        return NOTHING
    if count % 1024 == 0 or count > 64 * 1024:
        return _("%(count)s GiB") % {"count": f"{count / 1024:.4g}"}
    return _("%(count)s MiB") % {"count": count}


def size(count: int | None) -> str:
    """Bytes of a disk."""
    if not count:
        return NOTHING
    return mebibytes(max(1, round(count / 2**20)))


def meter(part: float, whole: float, words: str) -> Any:
    """How much of something is used: a bar, and the same in words beside it."""
    percent = min(100, round(100 * part / whole)) if whole else 0
    return format_html(
        '<span class="gauge"><svg class="meter" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" '
        'focusable="false"><rect width="{}" height="1"/></svg><span>{}</span></span>',
        percent,
        words,
    )
