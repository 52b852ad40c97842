"""What a kind of object is to the Administration Portal: one declaration; list, details and forms follow from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from broker import access
from broker.errors import Denied, NotFound, Refused
from portal.manage.cells import Column
from portal.manage.properties import Property
from portal.manage.query import Vocabulary

SEE = "view_inventory"
MOST_COUNTED = 1000
MOST_CHOSEN = 1000
Words = str | Promise


@dataclass(frozen=True)
class Outcome:
    """What an action did, in sentences: what went well, and what each refusal was."""

    done: str = ""
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Action:
    """Something that can be done with the rows that are selected.

    `possible` answers with the reason why it cannot be done with a row now, or with nothing. What has a `question`
    or a `form` is asked about first, in a dialog that names the rows. `typed` is a text that must be typed for it.
    """

    name: str
    label: Words
    run: Callable[[list[Any], Any, dict[str, Any]], Any]
    permission: str
    icon: str = ""
    one: bool = False
    possible: Callable[[Any], str | None] = lambda row: None
    question: Callable[[list[Any]], str] | None = None
    consequence: Words = ""
    danger: bool = False
    form: type[forms.Form] | None = None
    typed: Callable[[list[Any]], str] = lambda rows: ""
    download: bool = False
    leaves: bool = False  # the rows are gone afterwards
    folded: bool = False  # stands in the menu “More”

    @property
    def asks(self) -> bool:
        return self.question is not None


@dataclass(frozen=True)
class Tab:
    """A part of the details: a template and what it shows, or the list of another kind that belongs to the row."""

    name: str
    label: Words
    template: str = ""
    context: Callable[[Any, Any], dict[str, Any]] = lambda row, user: {}
    kind: str = ""
    narrow: Callable[[Any, Any], Any] = lambda rows, row: rows
    query: Callable[[Any], str] = lambda row: ""
    actions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


class Resource:
    """A kind of object. Subclasses say what differs; `registry` makes one of each."""

    kind: ClassVar[str]
    title: ClassVar[Words]
    icon: ClassVar[str]
    model: ClassVar[Any] = None
    see: ClassVar[str] = SEE
    columns: ClassVar[tuple[Column, ...]] = ()
    properties: ClassVar[tuple[Property, ...]] = ()
    tabs: ClassVar[tuple[Tab, ...]] = ()
    actions: ClassVar[tuple[Action, ...]] = ()
    order: ClassVar[str] = "name"
    descending: ClassVar[bool] = False
    named: ClassVar[str] = "name"
    example: ClassVar[str] = "name = a*"
    refresh_seconds: ClassVar[int] = 5
    in_navigation: ClassVar[bool] = True
    everywhere: ClassVar[str] = ""  # what one must be allowed on the whole system; blank is for all administrators
    live_tail: ClassVar[bool] = False  # the refreshing can be switched off
    select_one: ClassVar[Words] = gettext_lazy("Select one row.")
    select_some: ClassVar[Words] = gettext_lazy("Select at least one row.")
    nothing: ClassVar[Words] = gettext_lazy("There is nothing here yet.")
    new_form: ClassVar[Any] = None
    new_label: ClassVar[Words] = ""
    edit_form: ClassVar[Any] = None
    edit_permission: ClassVar[str] = ""

    # -- who sees what -----------------------------------------------------------------------------

    def offered(self, user: Any) -> bool:
        """Whether this kind exists for the user at all."""
        return access.everywhere(user, self.everywhere) if self.everywhere else access.administers(user)

    def visible(self, user: Any) -> Any:
        """The bare rows that the user may see."""
        return access.visible(user, self.model, self.see)

    def detailed(self, rows: Any) -> Any:
        """The same rows with everything that columns and details read."""
        return rows

    def prepare(self, rows: list[Any]) -> None:
        """A page of rows, before it is shown: for what is read for all of them at once."""

    def get(self, user: Any, key: str) -> Any:
        """One row; NotFound, as if it were not there, when the user may not see it."""
        return self.chosen(user, [key])[0]

    def chosen(self, user: Any, keys: Sequence[str]) -> list[Any]:
        """The rows of these keys in the order of the list; NotFound unless the user sees every one of them."""
        found = self.among(user, keys)
        if len(found) != len(set(keys)) or not found:
            raise NotFound(_("There is nothing here, or you may not see it."))
        return found

    def among(self, user: Any, keys: Sequence[str]) -> list[Any]:
        """Those of the keys that the user sees."""
        ids = [key for key in map(self.key, keys[:MOST_CHOSEN]) if key is not None]
        rows = list(self.detailed(self.visible(user)).filter(pk__in=ids).order_by(self.order, "pk")) if ids else []
        self.prepare(rows)
        return rows

    def key(self, text: str) -> Any:
        """The key that stands in an address; null when it can be none."""
        try:
            return UUID(text)
        except ValueError:
            return None

    def may(self, user: Any, permission: str, rows: list[Any]) -> bool:
        """Whether the user may do this to all of the rows."""
        ids = [row.pk for row in rows]
        return access.visible(user, self.model, permission).filter(pk__in=ids).count() == len(ids)

    def why_not_edited(self, row: Any) -> Words:
        """The reason why nobody can edit this row; none for most."""
        return ""

    def may_create(self, user: Any) -> bool:
        """Whether to offer New."""
        return False

    def count(self, user: Any) -> int:
        """How many rows there are, up to one more than are counted."""
        return self.visible(user).order_by()[: MOST_COUNTED + 1].count()

    # -- words and addresses -----------------------------------------------------------------------

    def label(self, row: Any) -> str:
        """What a row is called."""
        return str(row)

    def row_key(self, row: Any) -> str:
        return str(row.pk)

    def row_url(self, row: Any) -> str:
        return reverse("manage-details", args=(self.kind, self.row_key(row)))

    @property
    def url(self) -> str:
        return reverse("manage-list", args=(self.kind,))

    def action(self, name: str) -> Action:
        for action in self.actions:
            if action.name == name:
                return action
        raise NotFound(_("There is no such action."))

    def tab(self, name: str) -> Tab:
        """The tab of this name; the first one for none and for names that nothing has."""
        return next((tab for tab in self.tabs if tab.name == name), self.tabs[0])

    @cached_property
    def known(self) -> dict[str, Property]:
        """Every property by its name, and by the dotted way to it."""
        own = [(one.property(), one.source) for one in self.columns]
        found = {prop.name: prop for prop, _source in own if prop}
        found |= {one.name: one for one in self.properties}
        for prop, source in own:
            if prop and source:
                found.setdefault(source, prop)
        return found

    def vocabulary(self) -> Vocabulary:
        """What queries about this kind may say, in the reader's language."""
        named = self.known.get(self.named) or next(iter(self.known.values()))
        titles = (str(self.title).casefold(), self.kind.replace("-", " "), self.kind)
        return Vocabulary(titles, self.known, named)


def each(
    operation: Callable[..., Any], subject: str, done: Callable[[int], str], **fixed: Any
) -> Callable[..., Outcome]:
    """Run an operation on every row by itself: what one refuses does not keep the others from it."""

    def run(rows: list[Any], user: Any, values: dict[str, Any]) -> Outcome:
        refusals, denied = [], None
        for row in rows:
            try:
                operation(**{subject: row}, by=user, **fixed)
            except Denied as refusal:
                denied = refusal
            except Refused as refusal:
                refusals.append(refusal.message)
        if denied is not None:  # the others are done; this one is told, and written down, as what it is
            raise denied
        succeeded = len(rows) - len(refusals)
        return Outcome(done(succeeded) if succeeded else "", tuple(refusals))

    return run


def counted(question: Any) -> Callable[[list[Any]], str]:
    """The question of an action, as ngettext_lazy(…, …, "count") has it, about the rows that were chosen."""
    return lambda rows: question % {"count": len(rows)}


def removed(count: int) -> str:
    return ngettext("%(count)s was removed.", "%(count)s were removed.", count) % {"count": count}
