"""What a query may compare: properties of a kind, typed, so that every value is understood before the database is."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext as _

MOST_STARS = 4
LARGEST = 2**62
TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")
LOOKUPS = {"=": "exact", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
Choices = list[tuple[Any, Any]]


class QueryError(ValueError):
    """What cannot be understood, in a sentence for whoever typed it."""


@dataclass(frozen=True)
class Property:
    """Something that can be asked for: its name in queries, where it is found, and of which type it is."""

    name: str
    path: str
    type: "Type"
    label: str | Promise = ""
    choices: Choices | Callable[[], Choices] = ()  # type: ignore[assignment]

    def options(self) -> Choices:
        """The values it can have, where those are few."""
        return list(self.choices() if callable(self.choices) else self.choices)

    def condition(self, operator: str, text: str) -> Q:
        """For the database; QueryError when the value is none of its type."""
        if operator not in self.type.operators:
            words = {"name": self.name, "operators": " ".join(self.type.operators)}
            raise QueryError(_("%(name)s can be compared with %(operators)s only.") % words)
        if operator == "!=":
            return ~self.type.condition(self, "=", text)
        return self.type.condition(self, operator, text)

    def value(self, row: Any) -> Any:
        """Of one row that was read; null where something on the way is not there."""
        for name in self.path.split("__"):
            row = row.get(name) if isinstance(row, dict) else getattr(row, name, None)
        return row


class Type:
    """How values of a property are read and compared."""

    operators: tuple[str, ...] = ("=", "!=", "<", "<=", ">", ">=")

    def condition(self, asked: Property, operator: str, text: str) -> Q:
        raise NotImplementedError


class Text(Type):
    """Words, whatever their case; `*` stands for anything."""

    operators = ("=", "!=", "~")

    def condition(self, asked: Property, operator: str, text: str) -> Q:
        if operator == "~":
            return Q(**{f"{asked.path}__icontains": text})
        parts = re.sub(r"\*+", "*", text).split("*")
        if len(parts) == 1:
            return Q(**{f"{asked.path}__iexact": text})
        if len(parts) - 1 > MOST_STARS:
            raise QueryError(_("A value may hold at most %(most)s stars.") % {"most": MOST_STARS})
        if len(parts) == 2 and parts[0]:
            found = Q(**{f"{asked.path}__istartswith": parts[0]})
            return found & Q(**{f"{asked.path}__iendswith": parts[1]}) if parts[1] else found
        return Q(**{f"{asked.path}__iregex": self.pattern(text)})

    def holds(self, value: Any, operator: str, text: str) -> bool:
        """The same for one value in memory."""
        if operator == "~":
            return text.casefold() in str(value).casefold()
        return (re.search(self.pattern(text), str(value), re.IGNORECASE) is not None) == (operator == "=")

    def pattern(self, text: str) -> str:
        return "^" + ".*".join(re.escape(part) for part in re.sub(r"\*+", "*", text).split("*")) + "$"


class Number(Type):
    """Whole numbers and fractions."""

    def condition(self, asked: Property, operator: str, text: str) -> Q:
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or abs(number) > LARGEST:
            raise QueryError(_("%(name)s is a number; “%(text)s” is none.") % {"name": asked.name, "text": text})
        exact = number == number.to_integral_value()
        return Q(**{f"{asked.path}__{LOOKUPS[operator]}": int(number) if exact else float(number)})


class Switch(Type):
    """On or off."""

    operators = ("=", "!=")

    def condition(self, asked: Property, operator: str, text: str) -> Q:
        word = text.casefold()
        if word in (*TRUE, _("yes").casefold()):
            return Q(**{asked.path: True})
        if word in (*FALSE, _("no").casefold()):
            return Q(**{asked.path: False})
        raise QueryError(_("%(name)s is true or false; “%(text)s” is neither.") % {"name": asked.name, "text": text})


class Choice(Type):
    """One of few values, by its own name or by the word that is shown."""

    operators = ("=", "!=", "~")

    def condition(self, asked: Property, operator: str, text: str) -> Q:
        word = text.casefold()
        named = [(value, str(value or "").casefold(), str(label).casefold()) for value, label in asked.options()]
        if operator == "~" or "*" in word:
            part = re.compile(Text().pattern(text) if operator == "=" else re.escape(text), re.IGNORECASE)
            found = [value for value, plain, label in named if part.search(plain) or part.search(label)]
        else:
            found = [value for value, plain, label in named if word in (plain, label)]
            if not found:
                words = {
                    "name": asked.name,
                    "text": text,
                    "values": ", ".join(value for _v, value, _l in named if value),
                }
                raise QueryError(_("%(name)s cannot be “%(text)s”. It can be: %(values)s.") % words)
        empty = Q(**{f"{asked.path}__isnull": True}) if None in found else Q(pk__in=())
        return Q(**{f"{asked.path}__in": [value for value in found if value is not None]}) | empty


class Moment(Type):
    """A day, or a minute of it: 2026-11-21, 2026-11-21T07:40, today, yesterday."""

    def condition(self, asked: Property, operator: str, text: str) -> Q:
        start, end = self._span(asked, text)
        path = asked.path
        match operator:
            case "=":
                return Q(**{f"{path}__gte": start, f"{path}__lt": end})
            case "<" | ">=":
                return Q(**{f"{path}__{LOOKUPS[operator]}": start})
            case "<=":
                return Q(**{f"{path}__lt": end})
            case _:
                return Q(**{f"{path}__gte": end})

    def _span(self, asked: Property, text: str) -> tuple[datetime, datetime]:
        today = timezone.localdate()
        days = {"today": today, "yesterday": today - timedelta(days=1)}
        try:
            day = days.get(text.casefold()) or parse_date(text)
            if day is not None:
                start = timezone.make_aware(datetime.combine(day, time()))
                return start, start + timedelta(days=1)
            at = parse_datetime(text)
            if at is not None:
                at = timezone.make_aware(at) if timezone.is_naive(at) else at
                return at, at + timedelta(minutes=1)
        except (ValueError, OverflowError):
            pass  # well formed, but no day of any calendar
        example = {"name": asked.name, "text": text, "example": f"{today:%Y-%m-%d}"}
        raise QueryError(_("%(name)s is a day such as %(example)s; “%(text)s” is none.") % example)


TEXT, NUMBER, SWITCH, CHOICE, MOMENT = Text(), Number(), Switch(), Choice(), Moment()
