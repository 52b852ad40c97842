"""The query language: `name = help* and type = automatic and size > 10 sortby size desc`.

`query := [Title ":"] [either] ["sortby" property ["asc" | "desc"]]`, `either := both ("or" both)*`,
`both := one (["and"] one)*`, `one := "not" one | "(" either ")" | property operator value | word`.
A word alone is looked for in the name. What cannot be understood is a QueryError, a sentence for its writer.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from django.db.models import Q
from django.utils.translation import gettext as _

from portal.manage.properties import CHOICE, MOMENT, SWITCH, TEXT, TRUE, Property, QueryError

LONGEST = 1000
MOST_WORDS = 100
DEEPEST = 20
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~")
KEYWORDS = ("and", "or", "not", "sortby", "asc", "desc")
TOKEN = re.compile(r'\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<sign>!=|<=|>=|[=<>~()])|(?P<word>[^\s()=!<>~"]+))')


@dataclass(frozen=True)
class Token:
    """A word, a quoted text or a sign, and where it begins."""

    text: str
    kind: str
    start: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.casefold() in words


class Condition(Protocol):
    """A part of a query: for the database, and for one row in memory."""

    def q(self) -> Q: ...

    def holds(self, row: Any) -> bool: ...


@dataclass(frozen=True)
class Is:
    """A property compared with a value."""

    property: Property
    operator: str
    text: str

    def q(self) -> Q:
        return self.property.condition(self.operator, self.text)

    def holds(self, row: Any) -> bool:
        self.q()  # the same refusals
        return TEXT.holds(self.property.value(row), self.operator, self.text)


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Condition

    def q(self) -> Q:
        return ~self.part.q()

    def holds(self, row: Any) -> bool:
        return not self.part.holds(row)


@dataclass(frozen=True)
class All:
    """Every one of the parts; true for none."""

    parts: tuple[Condition, ...]

    def q(self) -> Q:
        found = Q()
        for part in self.parts:
            found &= part.q()
        return found

    def holds(self, row: Any) -> bool:
        return all(part.holds(row) for part in self.parts)


@dataclass(frozen=True)
class Either:
    """At least one of the parts."""

    parts: tuple[Condition, ...]

    def q(self) -> Q:
        found = self.parts[0].q()
        for part in self.parts[1:]:
            found |= part.q()
        return found

    def holds(self, row: Any) -> bool:
        return any(part.holds(row) for part in self.parts)


@dataclass(frozen=True)
class Query:
    """What was asked for, and in which order; `sort` is null where the order was left open."""

    condition: Condition
    sort: Property | None = None
    descending: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """The words that queries about one kind of object know."""

    titles: tuple[str, ...]
    properties: dict[str, Property]
    name: Property

    def names(self) -> list[str]:
        """Every property once, under its own name."""
        return list(dict.fromkeys(one.name for one in self.properties.values()))

    def property(self, word: str) -> Property:
        known = self.properties.get(word.casefold())
        if known is None:
            words = {"word": word, "names": ", ".join(self.names())}
            raise QueryError(_("There is no property “%(word)s”. Known are: %(names)s.") % words)
        return known


def tokens(text: str) -> list[Token]:
    """The words of a query; QueryError for a quotation mark that is never closed."""
    found, at = [], 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if match is None:
            raise QueryError(_("This is not understood: %(rest)s") % {"rest": text[at:].strip()[:40]})
        kind = str(match.lastgroup)
        plain = match[kind]
        plain = re.sub(r"\\(.)", r"\1", plain) if kind == "quoted" else plain
        found.append(Token(plain, kind, match.start(kind) - (kind == "quoted")))
        at = match.end()
    return found


def without_title(text: str, vocabulary: Vocabulary) -> str:
    """The query after an optional `Pools:` in front."""
    title, colon, rest = text.partition(":")
    return rest if colon and title.strip().casefold() in vocabulary.titles else text


def parse(text: str, vocabulary: Vocabulary) -> Query:
    """Understand a query; QueryError says what is wrong with it. Nothing is asked of the database."""
    if len(text) > LONGEST:
        raise QueryError(_("A query may have at most %(most)s characters.") % {"most": LONGEST})
    query = _Parser(without_title(text, vocabulary), vocabulary).query()
    query.condition.q()  # values that are none are refused here
    return query


class _Parser:
    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self.tokens = tokens(text)
        self.vocabulary = vocabulary
        self.at = 0
        if len(self.tokens) > MOST_WORDS:
            raise QueryError(_("A query may have at most %(most)s words.") % {"most": MOST_WORDS})

    def query(self) -> Query:
        condition: Condition = All(())
        if self.peek() and not self.next_is("sortby"):
            condition = self.either(0)
        sort, descending = None, False
        if self.take("sortby"):
            sort = self.vocabulary.property(self.word(_("After “sortby” the property to sort by is missing.")))
            descending = bool(self.take("desc")) or (self.take("asc") and False)
        if self.peek():
            raise QueryError(_("This is not expected here: %(word)s") % {"word": self.tokens[self.at].text})
        return Query(condition, sort, descending)

    def either(self, depth: int) -> Condition:
        parts = [self.both(depth)]
        while self.take("or"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def both(self, depth: int) -> Condition:
        parts = [self.one(depth)]
        while self.take("and") or self.begins_another():
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def one(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise QueryError(_("Parentheses may be at most %(most)s deep.") % {"most": DEEPEST})
        if self.take("not"):
            return Not(self.one(depth + 1))
        if self.sign("("):
            inside = self.either(depth + 1)
            if not self.sign(")"):
                raise QueryError(_("A closing parenthesis is missing."))
            return inside
        token = self.peek()
        if token is None or token.kind == "sign" or token.is_word(*KEYWORDS):
            raise QueryError(_("A property or a word is missing at the end or before “and”, “or” and “)”."))
        self.at += 1
        operator = self.peek()
        if operator and operator.kind == "sign" and operator.text in OPERATORS and token.kind == "word":
            self.at += 1
            return Is(
                self.vocabulary.property(token.text),
                operator.text,
                self.word(_("After an operator a value is missing.")),
            )
        return Is(self.vocabulary.name, "~" if "*" not in token.text else "=", token.text)

    def begins_another(self) -> bool:
        token = self.peek()
        if token is None or token.is_word("or", "sortby", "asc", "desc"):
            return False
        return token.kind != "sign" or token.text == "("

    def peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next_is(self, word: str) -> bool:
        token = self.peek()
        return token is not None and token.is_word(word)

    def take(self, word: str) -> bool:
        found = self.next_is(word)
        self.at += found
        return found

    def sign(self, text: str) -> bool:
        token = self.peek()
        found = token is not None and token.kind == "sign" and token.text == text
        self.at += found
        return found

    def word(self, refusal: str) -> str:
        token = self.peek()
        if token is None or token.kind == "sign":
            raise QueryError(refusal)
        self.at += 1
        return token.text


def quoted(text: str) -> str:
    """A value as it stands in a query."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class Suggestion:
    """What could come next: the text to put in, and what it means."""

    text: str
    label: str


def complete(text: str, vocabulary: Vocabulary) -> tuple[int, list[Suggestion]]:
    """What may stand at the end of this beginning of a query, and from which character on it would be replaced."""
    whole = text[:LONGEST]
    text = without_title(whole, vocabulary)
    shift = len(whole) - len(text)
    try:
        found = tokens(text)
    except QueryError:
        return len(whole), []
    typed = found.pop() if found and found[-1].kind == "word" and not text[-1:].isspace() else None
    begun = typed.text.casefold() if typed else ""
    start = shift + (typed.start if typed else len(text))
    offers = [one for one in _next(found, vocabulary) if _fits(one, begun)]
    return start, offers


def _fits(offer: Suggestion, begun: str) -> bool:
    return offer.text.strip('"').casefold().startswith(begun) or offer.label.casefold().startswith(begun)


def _next(before: list[Token], vocabulary: Vocabulary) -> Iterable[Suggestion]:
    """By what stands before: a property, an operator, a value, or what joins two conditions."""
    properties = [Suggestion(name, str(vocabulary.properties[name].label)) for name in vocabulary.names()]
    last = before[-1] if before else None
    if last is None or last.is_word("and", "or", "not", "sortby") or last.text == "(":
        return properties
    if last.kind == "sign" and last.text in OPERATORS:
        owner = vocabulary.properties.get(before[-2].text.casefold()) if len(before) > 1 else None
        return _values(owner) if owner else []
    if len(before) > 1 and before[-2].is_word("sortby"):
        return [Suggestion("asc", _("smallest first")), Suggestion("desc", _("largest first"))]
    follows_operator = len(before) > 1 and before[-2].kind == "sign" and before[-2].text in OPERATORS
    if not follows_operator and last.kind == "word" and last.text.casefold() in vocabulary.properties:
        meanings = {"=": _("is"), "!=": _("is not"), "~": _("contains"), "<": _("less than"), "<=": _("at most")}
        meanings |= {">": _("more than"), ">=": _("at least")}
        operators = vocabulary.properties[last.text.casefold()].type.operators
        return [Suggestion(operator, meanings[operator]) for operator in operators]
    return [
        Suggestion("and", _("both")),
        Suggestion("or", _("either")),
        Suggestion("sortby", _("in the order of")),
    ]


def _values(owner: Property) -> list[Suggestion]:
    if owner.type is SWITCH:
        return [Suggestion(TRUE[0], _("yes")), Suggestion("false", _("no"))]
    if owner.type is CHOICE:
        return [Suggestion(_spoken(str(value)), str(label)) for value, label in owner.options() if value is not None]
    if owner.type is MOMENT:
        return [Suggestion("today", _("today")), Suggestion("yesterday", _("yesterday"))]
    return []


def _spoken(value: str) -> str:
    return value if re.fullmatch(r"[\w.*-]+", value) else quoted(value)
