"""The shifts of a plan as a calendar (RFC 5545): weekly events whose attendees are the roster."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.db.models.functions import Lower
from django.utils.translation import gettext as _
from icalendar import Calendar, Event, Timezone, vCalAddress, vDDDTypes, vDuration, vRecur, vText
from icalendar.parser import Contentline, Contentlines
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from broker.errors import Invalid
from broker.rules.shifts import DAY_CODES, Pattern, ShiftSpec, is_zone
from portal.rosters import GROUP, USER, Member, Problems, Roster, spec_of

MOST_LINES = 20_000
MOST_DEPTH = 4  # a calendar, an event, an alarm; and one more
YEARS_AHEAD = 10  # of a time zone's changes
PRODUCT = "-//Hotdesk//Shifts//EN"
BEGIN = "BEGIN:VCALENDAR"
EVENT = ["VCALENDAR", "VEVENT"]
# What is read of an event. What else programs write there means nothing to a shift.
WANTED = {"SUMMARY", "STATUS", "DTSTART", "DTEND", "DURATION", "RRULE", "ATTENDEE"}
UNFIT = {"RECURRENCE-ID", "EXDATE", "RDATE", "EXRULE"}
NAME = re.compile(r"\s*([A-Za-z-]+)\s*[;:]")
MOMENT = re.compile(r"([0-9]{8})T([0-9]{6})(Z?)")
DATE = re.compile(r"[0-9]{8}")
ESCAPE = re.compile(r"\\(.)")
URN = re.compile(r"urn:hotdesk:(user|group):(.+)", re.IGNORECASE)
MAIL = re.compile(r"mailto:(.+)", re.IGNORECASE)
KINDS = {USER: "INDIVIDUAL", GROUP: "GROUP"}
PLACES = ("ROOM", "RESOURCE")  # what some calendars list among those who come
RULE_PARTS = {"FREQ", "BYDAY", "INTERVAL", "WKST"}
DAY = timedelta(days=1)


def is_calendar(text: str) -> bool:
    """Whether a text wants to be a calendar."""
    return text.lstrip()[: len(BEGIN)].upper() == BEGIN


# -- out -----------------------------------------------------------------------------------------------


class _Text(vText):
    r"""The library takes \N in a name for the end of a line."""

    def to_ical(self) -> bytes:
        return re.sub(r"([\\;,])", r"\\\1", self).encode()


def to_calendar(name: str, zone: str, shifts: Iterable[tuple[Any, ShiftSpec]], *, now: datetime) -> str:
    """The shifts, with what names each of them for ever; each from the next time on that it takes place."""
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", _Text(name), encode=False)
    calendar.add("x-wr-timezone", zone)
    today = now.astimezone(ZoneInfo(zone)).date()
    first, last = date(today.year - 1, 1, 1), date(today.year + YEARS_AHEAD, 1, 1)
    calendar.add_component(Timezone.from_tzid(zone, first_date=first, last_date=last))
    for key, spec in shifts:
        calendar.add_component(_event(key, spec, zone, today, now))
    return calendar.to_ical().decode()


def _event(key: Any, spec: ShiftSpec, zone: str, today: date, now: datetime) -> Event:
    pattern = spec.pattern
    day = next(today + ahead * DAY for ahead in range(7) if (today + ahead * DAY).weekday() in pattern.weekdays)
    last = day if pattern.ends > pattern.starts else day + DAY
    event = Event()
    event.add("uid", f"{key}@hotdesk")
    event.add("dtstamp", now.astimezone(UTC))
    event.add("summary", _Text(spec.name), encode=False)
    for name, on, at in (("dtstart", day, pattern.starts), ("dtend", last, pattern.ends)):
        moment = vDDDTypes(datetime.combine(on, at))
        moment.params["TZID"] = zone
        event.add(name, moment, encode=False)
    event.add("rrule", {"freq": "weekly", "byday": [DAY_CODES[one] for one in pattern.weekdays]})
    for kind, names in ((USER, spec.users), (GROUP, spec.groups)):
        for name in names:
            attendee = vCalAddress(f"urn:hotdesk:{kind}:{quote(name, safe='')}")
            attendee.params["CN"] = "".join(sign if sign.isprintable() else " " for sign in name)
            attendee.params["CUTYPE"] = KINDS[kind]
            event.add("attendee", attendee, encode=False)
    return event


# -- in ------------------------------------------------------------------------------------------------


class _Unfit(Exception):
    """Why an event is no shift."""


@dataclass
class _Event:
    """The properties of an event that matter here, each with its parameters; `broken` cannot be read."""

    number: int
    given: dict[str, list[tuple[Any, str]]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def text(self, name: str) -> str:
        return _unescaped(self.given[name][0][1]).strip() if name in self.given else ""

    def one(self, name: str) -> tuple[Any, str] | None:
        """The only one; null for none, and for several."""
        rows = self.given.get(name, [])
        return rows[0] if len(rows) == 1 else None

    @property
    def place(self) -> str:
        name = self.text("SUMMARY")[:100]
        return _("Event “%(name)s”") % {"name": name} if name else _("Event %(number)s") % {"number": self.number}

    @property
    def attendees(self) -> list[str]:
        """Who comes; rooms and the like do not."""
        rows = self.given.get("ATTENDEE", [])
        return [value.strip() for given, value in rows if str(given.get("CUTYPE", "")).upper() not in PLACES]


def from_calendar(text: str) -> Roster:
    """What a calendar says, ours or another program's; Invalid with every event that is no weekly shift."""
    problems = Problems()
    events = [event for event in _events(text) if event.text("STATUS").upper() != "CANCELLED"]
    if not events:
        raise Invalid(_("The calendar holds no events."), field="file")
    people = _people(events)
    where: dict[Member, str] = {}
    zones: set[str] = set()
    shifts: dict[str, ShiftSpec] = {}
    for event in events:
        members = _members(event, people, problems)
        try:
            pattern, zone = _read(event)
        except _Unfit as reason:
            problems.add(event.place, str(reason))
            continue
        _merge(shifts, spec_of(event.text("SUMMARY"), pattern, members), event.place, problems)
        zones.add(zone)
        for member in members:
            where.setdefault(member, event.place)
    if len(zones) > 1:
        words = {"zones": ", ".join(sorted(zones)[:10])}
        problems.add("", _("The events are in different time zones: %(zones)s. A plan has one.") % words)
    problems.require_none()
    return Roster(list(shifts.values()), zone=zones.pop(), where=where)


def _events(text: str) -> list[_Event]:
    """The events; what else stands in a calendar is passed over, above all its own tables of time zones."""
    if text.count("\n") > MOST_LINES:
        raise Invalid(_("The file has more than %(most)s lines.") % {"most": MOST_LINES}, field="file")
    found: list[_Event] = []
    within: list[str] = []
    for line in Contentlines.from_ical(text):
        match = NAME.match(line)
        name = match[1].upper() if match else ""
        part = line.rpartition(":")[2].strip().upper()
        if name == "BEGIN":
            within.append(part)
            if len(within) > MOST_DEPTH:
                raise Invalid(_("The file is no calendar: its parts stand too deep within each other."), field="file")
            if within == EVENT:
                found.append(_Event(len(found) + 1))
        elif name == "END":
            if not within or within.pop() != part:
                raise Invalid(_("The file is no calendar: it ends something that did not begin."), field="file")
        elif within == EVENT and name in WANTED | UNFIT:
            _keep(found[-1], name, line)
    if within:
        raise Invalid(_("The file is no whole calendar: it ends too early."), field="file")
    return found


def _keep(event: _Event, name: str, line: Contentline) -> None:
    try:
        _name, given, value = line.raw_parts()
    except ValueError:
        event.broken.add(name)
    else:
        event.given.setdefault(name, []).append((given, value))


def _unescaped(text: str) -> str:
    return ESCAPE.sub(lambda found: "\n" if found[1] in "nN" else found[1], text)


def _read(event: _Event) -> tuple[Pattern, str]:
    """On which days it takes place, from when to when, and in which time zone."""
    if event.broken:
        raise _Unfit(_("This cannot be read: %(names)s.") % {"names": ", ".join(sorted(event.broken))})
    if not event.text("SUMMARY"):
        raise _Unfit(_("It has no SUMMARY, which is the name of the shift."))
    if "RECURRENCE-ID" in event.given:
        raise _Unfit(_("It changes one time of a series. Only whole series can be shifts."))
    if UNFIT & set(event.given):
        raise _Unfit(_("Single days are left out or added. A shift takes place every week; remove them."))
    start, zone = _start(event)
    end = _end(event, start, zone)
    if not timedelta() < end - start < DAY:
        raise _Unfit(_("It must end after it starts, and before a whole day has passed."))
    if start.second or end.second:
        raise _Unfit(_("It must start and end at full minutes."))
    return Pattern(_days(event) or (start.weekday(),), start.time(), end.time()), zone


def _start(event: _Event) -> tuple[datetime, str]:
    """By the clock on the wall of a time zone."""
    given = event.one("DTSTART")
    if given is None:
        raise _Unfit(_("It must have one start (DTSTART) and one end (DTEND)."))
    start = _moment(given)
    if start is None:
        raise _Unfit(_("It takes whole days. A shift has a time at which it starts and one at which it ends."))
    zone = _zone(given)
    if zone is None and "TZID" not in given[0]:
        raise _Unfit(_("It has no time zone. Give its start one, such as DTSTART;TZID=Asia/Seoul:20260302T070000."))
    if zone is None:
        text = _("There is no time zone “%(zone)s”. Write region and city, such as Asia/Seoul or Europe/Berlin.")
        raise _Unfit(text % {"zone": str(given[0]["TZID"])[:100]})
    return start, zone


def _end(event: _Event, start: datetime, zone: str) -> datetime:
    given, duration = event.one("DTEND"), event.one("DURATION")
    end = None
    if given is not None and "DURATION" not in event.given:
        end = _moment(given) if _zone(given) == zone else None
    elif duration is not None and "DTEND" not in event.given:
        try:
            end = start + vDuration.from_ical(duration[1])
        except (ValueError, OverflowError) as error:
            raise _Unfit(_("This cannot be read: %(names)s.") % {"names": "DURATION"}) from error
    if end is None:
        raise _Unfit(_("It must have one end, with a time, in the same time zone as its start."))
    return end


def _moment(given: tuple[Any, str]) -> datetime | None:
    """Null for a whole day."""
    text = given[1].strip()
    match = MOMENT.fullmatch(text)
    if match is None and DATE.fullmatch(text):
        return None
    try:
        if match is None:
            raise ValueError(text)
        return datetime.strptime(match[1] + match[2], "%Y%m%d%H%M%S")
    except ValueError as error:
        raise _Unfit(_("There is no such day or time: %(text)s.") % {"text": text[:100]}) from error


def _zone(given: tuple[Any, str]) -> str | None:
    """The name under which we know its time zone; null for none."""
    if given[1].strip().endswith("Z"):
        return "UTC"
    name = str(given[0].get("TZID", "")).strip()
    parts = name.strip("/").split("/")
    # Some programs put themselves in front: /freeassociation.sourceforge.net/Europe/Berlin.
    ways = [name, WINDOWS_TO_OLSON.get(name, ""), *("/".join(parts[at:]) for at in range(1, len(parts) - 1))]
    return next((way for way in ways if is_zone(way)), None)


def _days(event: _Event) -> tuple[int, ...]:
    """The days of the week on which it comes again; none for that of its start alone."""
    allowed = " " + _("Only RRULE:FREQ=WEEKLY with BYDAY and without an end can be a shift.")
    given = event.one("RRULE")
    if given is None:
        raise _Unfit(_("It does not come again every week.") + allowed)
    try:
        rule = vRecur.from_ical(given[1].strip())
    except ValueError as error:
        raise _Unfit(_("This cannot be read: %(names)s.") % {"names": "RRULE"} + allowed) from error
    codes = {str(code).upper() for code in rule.get("BYDAY", [])}
    if [str(one).upper() for one in rule.get("FREQ", [])] != ["WEEKLY"]:
        raise _Unfit(_("It does not come again every week.") + allowed)
    if rule.get("INTERVAL", [1]) != [1]:
        raise _Unfit(_("It does not come in every week.") + allowed)
    if "COUNT" in rule or "UNTIL" in rule:
        raise _Unfit(_("It comes to an end (COUNT or UNTIL).") + allowed)
    if set(rule) - RULE_PARTS or not codes <= set(DAY_CODES):
        raise _Unfit(_("Its rule says more than days of the week.") + allowed)
    return tuple(sorted(DAY_CODES.index(code) for code in codes))


# -- who comes -------------------------------------------------------------------------------------------


def _address(attendee: str) -> str | None:
    match = MAIL.fullmatch(attendee)
    return _decoded(match[1]).strip().lower() if match else None


def _decoded(text: str) -> str:
    # No database looks for a NUL.
    return unquote(text).replace("\0", "\ufffd")


def _people(events: Sequence[_Event]) -> dict[str, list[str]]:
    """Whose e-mail addresses these are, in one query; people may share one."""
    addresses = {_address(one) for event in events for one in event.attendees} - {None, ""}
    rows = get_user_model()._default_manager.filter(is_active=True).annotate(address=Lower("email"))
    found: dict[str, list[str]] = {}
    for address, name in rows.filter(address__in=addresses).values_list("address", "username"):
        found.setdefault(address, []).append(name)
    return found


def _members(event: _Event, people: dict[str, list[str]], problems: Problems) -> list[Member]:
    found: list[Member] = []
    for attendee in event.attendees:
        address, ours = _address(attendee), URN.fullmatch(attendee)
        named = {"name": attendee[:200]}
        if ours is not None:
            found.append((ours[1].lower(), _decoded(ours[2])))
        elif address is None:
            text = _("“%(name)s” is no attendee that is known here. Write mailto: and an e-mail address.")
            problems.add(event.place, text % named)
        elif address not in people:
            problems.add(event.place, _("Nobody has the address of “%(name)s”.") % named)
        elif len(people[address]) > 1:
            problems.add(event.place, _("Several people share the address of “%(name)s”.") % named)
        else:
            found.append((USER, people[address][0]))
    return found


def _merge(shifts: dict[str, ShiftSpec], spec: ShiftSpec, place: str, problems: Problems) -> None:
    """Events of one name and the same times are one shift, on the days of all of them."""
    known = shifts.setdefault(spec.name, spec)
    if (known.pattern.starts, known.pattern.ends) != (spec.pattern.starts, spec.pattern.ends):
        problems.add(place, _("There are several of this name at other times. Give each its own name."))
    elif (set(known.users), set(known.groups)) != (set(spec.users), set(spec.groups)):
        problems.add(place, _("There are several of this name with other people. Give each its own name."))
    else:
        days = tuple(sorted({*known.pattern.weekdays, *spec.pattern.weekdays}))
        pattern = Pattern(days, spec.pattern.starts, spec.pattern.ends)
        shifts[spec.name] = ShiftSpec(spec.name, pattern, known.users, known.groups)
