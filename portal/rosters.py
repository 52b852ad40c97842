"""The shifts and rosters of a plan as a table and as a calendar, both ways: files that people keep elsewhere."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Prefetch
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from broker.errors import Invalid
from broker.models import ShiftMember, ShiftPlan
from broker.rules import shifts as rules
from broker.rules.shifts import Pattern, ShiftSpec
from portal.spreadsheets import FORMULA

MOST_BYTES = 500_000
MOST_LINES = 5000
MOST_PROBLEMS = 50
COLUMNS = ("shift", "weekdays", "starts", "ends", "kind", "name")
DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
USER, GROUP = "user", "group"
SEPARATORS = ",;\t"
TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::00)?")

Member = tuple[str, str]  # user or group, and the name


@dataclass
class Roster:
    """What a file says. `zone` is null where it says nothing of it, `where` is where it names somebody first."""

    shifts: list[ShiftSpec]
    zone: str | None = None
    where: dict[Member, str] = field(default_factory=dict)


class Problems:
    """What is wrong with a file, each with its place, in the order of the file."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, place: str, text: str) -> None:
        self.found.append(f"{place}: {text}" if place else text)

    def require_none(self) -> None:
        """Invalid with all of them, or as many as anybody will read."""
        more = len(self.found) - MOST_PROBLEMS
        if more > 0:
            text = ngettext("%(count)s more problem is not shown.", "%(count)s more problems are not shown.", more)
            self.found[MOST_PROBLEMS:] = [text % {"count": more}]
        if self.found:
            raise Invalid.fields([("file", text) for text in self.found])


def specs_of(plan: ShiftPlan) -> list[ShiftSpec]:
    """The shifts of a plan as people write them down: a few queries. Who cannot sign in is on no roster."""
    active = ShiftMember.objects.exclude(user__is_active=False).select_related("user", "group")
    shifts = plan.shifts.prefetch_related(Prefetch("members", active.order_by("user__username", "group__name", "pk")))
    return [
        ShiftSpec(
            name=shift.name,
            pattern=rules.pattern_of(shift),
            users=tuple(member.user.username for member in shift.members.all() if member.user),
            groups=tuple(member.group.name for member in shift.members.all() if member.group),
        )
        for shift in shifts
    ]


def text_of(data: bytes) -> str:
    """The text in a file; Invalid for what is none, or is too much."""
    if len(data) > MOST_BYTES:
        text = _("The file is too large: it may have at most %(most)s bytes.")
        raise Invalid(text % {"most": MOST_BYTES}, field="file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = _("The file is no text in UTF-8. In a spreadsheet program choose “CSV UTF-8” when you save it.")
        raise Invalid(text, field="file") from error
    if "\0" in text:
        raise Invalid(_("The file holds NUL characters: it is no text."), field="file")
    if not text.strip():
        raise Invalid(_("The file is empty."), field="file")
    return text


def require_known(roster: Roster) -> None:
    """Invalid with every shift that cannot be, and everybody on a roster whom nobody knows: two queries."""
    problems = Problems()
    if len(roster.shifts) > rules.MOST_SHIFTS:
        problems.add("", _("A plan has at most %(most)s shifts.") % {"most": rules.MOST_SHIFTS})
    for spec in roster.shifts:
        for _field, text in rules.shift_problems(spec.name, spec.pattern):
            problems.add(_("Shift “%(name)s”") % {"name": spec.name}, text)
    users = get_user_model()._default_manager.filter(is_active=True)
    known = {USER: _known(users, "username", roster, USER), GROUP: _known(Group.objects.all(), "name", roster, GROUP)}
    sentences = {USER: _("There is no user “%(name)s”."), GROUP: _("There is no group “%(name)s”.")}
    for (kind, name), place in roster.where.items():
        if name not in known[kind]:
            problems.add(place, sentences[kind] % {"name": name})
    problems.require_none()


def _known(rows: Any, column: str, roster: Roster, kind: str) -> set[str]:
    names = [name for one, name in roster.where if one == kind]
    return set(rows.filter(**{f"{column}__in": names}).values_list(column, flat=True))


# -- tables --------------------------------------------------------------------------------------------


def to_csv(specs: Iterable[ShiftSpec]) -> str:
    """One line for each member of each shift, and one for a shift without any."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for spec in specs:
        members = [(USER, name) for name in spec.users] + [(GROUP, name) for name in spec.groups]
        for kind, name in members or [("", "")]:
            writer.writerow([_guarded(spec.name), *_times(spec.pattern), kind, _guarded(name)])
    return file.getvalue()


def _times(pattern: Pattern) -> tuple[str, str, str]:
    days = ",".join(DAY_NAMES[day][:3] for day in pattern.weekdays)
    return days, f"{pattern.starts:%H:%M}", f"{pattern.ends:%H:%M}"


def _guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula, and from which `_unguarded` makes the same text again."""
    return f"'{text}" if text.lstrip("'").startswith(FORMULA) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA) else text


def from_csv(text: str) -> Roster:
    """What a table says, written by us or by a spreadsheet program; Invalid with every line that is wrong."""
    problems = Problems()
    lines = _lines(text, problems)
    order = _columns(next(lines, (1, []))[1])
    found: dict[str, tuple[int, Pattern, list[Member]]] = {}
    where: dict[Member, str] = {}
    for number, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        place = _("Line %(number)s") % {"number": number}
        if len(cells) > len(order) and any(cell.strip() for cell in cells[len(order) :]):
            problems.add(place, _("It has more columns than the first line."))
            continue
        values = {name: cells[at].strip() if at < len(cells) else "" for name, at in order.items()}
        shift, pattern, member = _read_line(values, place, problems)
        if pattern is None:
            continue
        first, known, members = found.setdefault(shift, (number, pattern, []))
        if known != pattern:
            words = {"shift": shift, "number": first}
            problems.add(place, _("“%(shift)s” has other days or times than in line %(number)s.") % words)
        if member is not None:
            members.append(member)
            where.setdefault(member, place)
    problems.require_none()
    if not found:
        raise Invalid(_("The file holds no shifts."), field="file")
    return Roster([spec_of(name, pattern, members) for name, (_at, pattern, members) in found.items()], where=where)


def _lines(text: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """The lines with their numbers, those of the file: a cell may go over several."""
    first, _newline, rest = text.partition("\n")
    # Spreadsheet programs leave a note of their separator.
    noted = re.fullmatch(r'"?sep=([,;\t])"?\s*', first)
    separator = noted[1] if noted else max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(rest if noted else text, newline=""), delimiter=separator)
    before = 1 if noted else 0
    number = before + 1
    try:
        for cells in reader:
            if number > MOST_LINES:
                problems.add("", _("The file has more than %(most)s lines.") % {"most": MOST_LINES})
                return
            yield number, cells
            number = before + reader.line_num + 1
    except csv.Error as error:
        problems.add(_("Line %(number)s") % {"number": number}, _("It cannot be read: %(error)s.") % {"error": error})


def _columns(heading: Sequence[str]) -> dict[str, int]:
    """Where each column stands; Invalid where the first line does not say that."""
    names = [cell.strip().lower() for cell in heading]
    while names and not names[-1]:
        names.pop()
    if sorted(names) != sorted(COLUMNS):
        text = _("Line 1: the headings must be these: %(columns)s.")
        raise Invalid(text % {"columns": ", ".join(COLUMNS)}, field="file")
    return {name: names.index(name) for name in COLUMNS}


def _read_line(values: dict[str, str], place: str, problems: Problems) -> tuple[str, Pattern | None, Member | None]:
    before = len(problems.found)
    shift, name = _unguarded(values["shift"]).strip(), _unguarded(values["name"]).strip()
    if not shift:
        problems.add(place, _("The name of the shift is missing."))
    days = _days(values["weekdays"])
    if days is None:
        text = _("“%(text)s” is no list of weekdays. Write them like this: mon,tue,wed.")
        problems.add(place, text % {"text": values["weekdays"][:100]})
    starts, ends = _time(values["starts"]), _time(values["ends"])
    for column, at in (("starts", starts), ("ends", ends)):
        if at is None:
            text = _("“%(text)s” in the column “%(column)s” is no time. Write it like this: 07:30.")
            problems.add(place, text % {"text": values[column][:100], "column": column})
    kind = values["kind"].lower()
    if kind not in (USER, GROUP, "") or bool(kind) != bool(name):
        text = _("In the columns “kind” and “name” write user or group, and whose name; or leave both blank.")
        problems.add(place, text)
    if len(problems.found) > before or days is None or starts is None or ends is None:
        return shift, None, None
    return shift, Pattern(days, starts, ends), (kind, name) if kind else None


def _days(text: str) -> tuple[int, ...] | None:
    found = set()
    for word in re.split(r"[\s,;]+", text.strip().lower()):
        matching = [day for day, name in enumerate(DAY_NAMES) if word in (name[:2], name[:3], name)]
        if not matching:
            return None
        found.add(matching[0])
    return tuple(sorted(found))


def _time(text: str) -> time | None:
    match = TIME.fullmatch(text)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        return None
    return time(int(match[1]), int(match[2]))


def spec_of(name: str, pattern: Pattern, members: list[Member]) -> ShiftSpec:
    """A shift with its roster; whoever is named twice is on it once."""
    users, groups = (tuple(dict.fromkeys(who for one, who in members if one == kind)) for kind in (USER, GROUP))
    return ShiftSpec(name, pattern, users, groups)


# -- what a file would change ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What becomes of one shift. `before` is null for a new one, `after` for one that is removed."""

    name: str
    before: ShiftSpec | None
    after: ShiftSpec | None

    @property
    def times_change(self) -> bool:
        return self.before is not None and self.after is not None and self.before.pattern != self.after.pattern

    @property
    def added(self) -> list[Member]:
        return _difference(self.after, self.before)

    @property
    def removed(self) -> list[Member]:
        return _difference(self.before, self.after)


def _difference(one: ShiftSpec | None, other: ShiftSpec | None) -> list[Member]:
    gone = set(_members(other))
    return [member for member in _members(one) if member not in gone]


def _members(spec: ShiftSpec | None) -> list[Member]:
    if spec is None:
        return []
    return [(USER, name) for name in spec.users] + [(GROUP, name) for name in spec.groups]


def changes(present: Sequence[ShiftSpec], wanted: Sequence[ShiftSpec]) -> list[Change]:
    """Every shift that would not stay as it is: new ones, changed ones, then those that are removed."""
    before, after = {spec.name: spec for spec in present}, {spec.name: spec for spec in wanted}
    found = [Change(name, before.get(name), spec) for name, spec in after.items()]
    found += [Change(name, spec, None) for name, spec in before.items() if name not in after]
    differing = [
        one
        for one in found
        if one.before is None or one.after is None or one.times_change or one.added or one.removed
    ]
    return sorted(differing, key=lambda one: (one.after is None, one.before is not None))
