"""Forms of the Administration Portal: tabs, fields that depend on others, and changes that others made meanwhile."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.core import signing
from django.db.models import Model
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from broker.errors import Refused

Words = str | Promise
MOST_TEXT = 10_000


@dataclass(frozen=True)
class Section:
    """A tab of a form: groups of fields, each under a heading that may be empty."""

    name: str
    label: Words
    groups: tuple[tuple[Words, tuple[str, ...]], ...]
    advanced: bool = False


@dataclass(frozen=True)
class Need:
    """On what a field depends: `when` as in `type=automatic other!=0 | third=a,b`. Where that does not hold, the
    field stays visible, cannot be filled in, says `why`, and counts as `otherwise`. An unticked box is blank.

    `name.data` is a data attribute of the chosen option. The page's script reads the same text.
    """

    when: str
    why: Words
    otherwise: Any = None

    def holds(self, values: dict[str, str]) -> bool:
        return any(
            all(self._part(part, values) for part in alternative.split()) for alternative in self.when.split("|")
        )

    def _part(self, part: str, values: dict[str, str]) -> bool:
        name, _equals, wanted = part.partition("=")
        found = values.get(name.rstrip("!"), "")
        return (found in wanted.split(",")) != name.endswith("!")


class ShownField:
    """A field as the page draws it, with the reason why it cannot be filled in."""

    def __init__(self, bound: forms.BoundField, need: Need | None, met: bool, fixed: Words) -> None:
        self.bound = bound
        self.need = need if not fixed else None
        self.met = met and not fixed
        self.why = fixed or (need.why if need is not None else "")
        self.kind = bound.widget_type
        self.is_group = isinstance(bound.field.widget, forms.RadioSelect | forms.CheckboxSelectMultiple)

    def widget(self) -> Any:
        """The input, described by its help, its error and its reason, as far as they are there."""
        attributes: dict[str, Any] = {} if self.met else {"disabled": True}
        described = self.described_by()
        if described and not self.is_group:
            attributes["aria-describedby"] = described
        return self.bound.as_widget(attrs=attributes)

    def described_by(self) -> str:
        own = self.bound.auto_id
        parts = [("helptext", self.bound.help_text), ("error", self.bound.errors), ("why", self.why)]
        return " ".join(f"{own}_{name}" for name, there in parts if there)


class ManageForm(forms.Form):
    """A form about one kind of object. `row` is null for a new one."""

    sections: ClassVar[tuple[Section, ...]] = ()
    needs: ClassVar[dict[str, Need]] = {}
    problems_at: ClassVar[dict[str, str]] = {}  # where a refusal of the operation is shown, if not at its own field
    title: Words = ""
    submit: Words = gettext_lazy("Save")
    note: Words = ""

    def __init__(self, data: Any = None, *, user: Any, row: Any = None, given: Any = None) -> None:
        self.user = user
        self.row = row
        self.given = given or {}
        self.opened = self._opened(data)
        super().__init__(
            data, initial=self.initial_values() if row is None else self.filled(self.thawed(self.opened))
        )
        self.fixed: dict[str, Words] = {}
        self.prepare()
        for name in self.fixed:
            self.fields[name].disabled = True
        self.order_fields([name for section in self.sections for name in self._names(section)])

    # -- what subclasses say -----------------------------------------------------------------------

    def prepare(self) -> None:
        """Choices, help and fixed fields that depend on the user and the row."""

    def initial_values(self) -> dict[str, Any]:
        """The fields of a new object."""
        return {}

    def present(self) -> dict[str, Any]:
        """What the row is now, by the names that the operation knows."""
        return {name: getattr(self.row, name) for name in self.fields_of_row()}

    def fields_of_row(self) -> Iterable[str]:
        return [name for section in self.sections for name in self._names(section) if hasattr(self.row, name)]

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        """The fields for such values of a row."""
        return values

    def values(self) -> dict[str, Any]:
        """What was given, by the names that the operation knows."""
        return {name: value for name, value in self.cleaned_data.items() if name not in self.fixed}

    def save(self) -> str:
        """Call the operation; a sentence that says what was done."""
        raise NotImplementedError

    # -- what somebody else changed meanwhile --------------------------------------------------------

    def _opened(self, data: Any) -> dict[str, Any]:
        """The values as they were when the form was opened: signed, so that nobody makes them up."""
        if self.row is None:
            return {}
        try:
            return dict(signing.loads((data or {}).get("snapshot", ""), salt=self._salt()))
        except signing.BadSignature:
            return _frozen(self.present())

    def snapshot(self) -> str:
        return signing.dumps(self.opened, salt=self._salt()) if self.row is not None else ""

    def expected(self) -> dict[str, Any]:
        return self.thawed(self.opened)

    def thawed(self, frozen: dict[str, Any]) -> dict[str, Any]:
        """Keys of other rows become those rows again."""
        return dict(frozen)

    def _salt(self) -> str:
        return f"as opened {type(self).__name__} {self.row.pk}"

    def take_over(self) -> None:
        """After a refusal because of changes: what was typed stays, everything else is as it is now."""
        touched = set(self.changed_data)
        self.opened = _frozen(self.present())
        now = self.filled(self.thawed(self.opened))
        data = self.data.copy()
        for name in set(self.fields) - touched:
            data.setlist(name, _as_sent(self.fields[name].prepare_value(now.get(name))))
        self.data = data

    # -- checking ----------------------------------------------------------------------------------

    def clean(self) -> dict[str, Any]:
        """Fields whose needs are not met count as not filled in, whatever was sent."""
        for name, need in self.needs.items():
            if name in self.fields and not self.met(name):
                self.cleaned_data[name] = need.otherwise
                self._errors.pop(name, None)
                self.data = self.data.copy()
                self.data.setlist(name, _as_sent(need.otherwise))
        return self.cleaned_data

    def met(self, name: str) -> bool:
        need = self.needs.get(name)
        return need is None or need.holds(self.sent())

    def sent(self) -> dict[str, str]:
        """The values as texts, the way the page's script sees them."""
        found: dict[str, str] = {}
        for bound in self:
            value = bound.value()
            if isinstance(bound.field, forms.BooleanField):
                found[bound.name] = "on" if value not in (None, False, "", "False") else ""
            elif not isinstance(value, list):
                found[bound.name] = "" if value is None else str(value)
            widget = bound.field.widget
            if hasattr(widget, "data_of") and not isinstance(value, list):
                found |= {f"{bound.name}.{key}": str(one) for key, one in widget.data_of(str(value)).items()}
        return found

    def refuse(self, error: Refused) -> None:
        """Show a refusal of the operation at the fields it is about; what was typed stays."""
        if error.code == "CHANGED_MEANWHILE":
            self.take_over()
            self.add_error(None, error.message)
        for detail in error.details:
            field = self.problems_at.get(detail["field"] or "", detail["field"])
            self.add_error(field if field in self.fields else None, detail["message"] or error.message)

    # -- drawing -----------------------------------------------------------------------------------

    def tabs(self) -> list[dict[str, Any]]:
        """The sections with their fields and the number of errors in each."""
        return [
            {
                "section": section,
                "groups": [(heading, list(self._shown(names))) for heading, names in section.groups],
                "errors": sum(name in self.errors for name in self._names(section)) if self.is_bound else 0,
            }
            for section in self.sections
        ]

    def has_advanced(self) -> bool:
        return any(section.advanced for section in self.sections)

    def _shown(self, names: Iterable[str]) -> Iterator[ShownField]:
        for name in names:
            if name in self.fields:
                yield ShownField(self[name], self.needs.get(name), self.met(name), self.fixed.get(name, ""))

    def _names(self, section: Section) -> list[str]:
        return [name for _heading, names in section.groups for name in names]


def _frozen(values: dict[str, Any]) -> dict[str, Any]:
    """Values as JSON knows them: other rows by their keys."""
    return {
        name: [_key(one) for one in value] if isinstance(value, list) else _key(value)
        for name, value in values.items()
    }


def _key(value: Any) -> Any:
    return str(value.pk) if isinstance(value, Model) else value


def _as_sent(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    if value is True:
        return ["on"]
    return [] if value is None or value is False else [str(value)]


def text(label: Words, **options: Any) -> forms.CharField:
    """A line of text that may be blank."""
    return forms.CharField(**{"label": label, "required": False, "max_length": 255, **options})


def words(label: Words, **options: Any) -> forms.CharField:
    """Some lines of text that may be blank."""
    widget = forms.Textarea(attrs={"rows": 2})
    return forms.CharField(
        **{"label": label, "required": False, "max_length": MOST_TEXT, "widget": widget, **options}
    )


def number(label: Words, **options: Any) -> forms.IntegerField:
    """A whole number; its range is the operation's business, what no database can keep is ours."""
    return forms.IntegerField(**{"label": label, "min_value": -(2**31), "max_value": 2**31 - 1, **options})


def switch(label: Words, **options: Any) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, **options)
