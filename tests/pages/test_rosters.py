"""Shifts and rosters as files: what goes out comes back the same; what others write is read, or refused in words."""

import re
import time as clock
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import available_timezones

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from icalendar import Calendar

from broker.errors import Invalid
from broker.rules.shifts import Pattern, ShiftSpec, is_zone
from portal import rosters
from portal.roster_calendars import from_calendar, is_calendar, to_calendar
from portal.rosters import Roster, changes, from_csv, require_known, text_of, to_csv

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
HEADER = "shift,weekdays,starts,ends,kind,name"

# Names as operations keep them: without spaces around them, and for shifts nothing that cannot be printed.
PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=30)
SHIFT_NAMES = PRINTABLE.map(str.strip).filter(lambda name: name and name.isprintable())
HARD = ["=1+1", "'=x", "''-x", "@agent", "+x", 'a"b', "a,b;c", "\\N", "\\n", "a\\", "100%", "a:b", "가,나", "'"]
NAMES = st.one_of(st.sampled_from(HARD), SHIFT_NAMES)
ANYTHING = st.text(st.characters(codec="utf-8"), max_size=20).map(str.strip)
MEMBERS = st.one_of(NAMES, ANYTHING.filter(lambda name: name and "\0" not in name))
TIMES = st.times().map(lambda one: one.replace(second=0, microsecond=0))
PATTERNS = st.builds(
    lambda days, starts, ends: Pattern(tuple(sorted(days)), starts, ends),
    st.sets(st.integers(0, 6), min_size=1),
    TIMES,
    TIMES,
).filter(lambda pattern: pattern.starts != pattern.ends)
SPECS = st.lists(
    st.builds(
        lambda name, pattern, users, groups: ShiftSpec(name, pattern, tuple(users), tuple(groups)),
        NAMES,
        PATTERNS,
        st.lists(MEMBERS, unique=True, max_size=4),
        st.lists(MEMBERS, unique=True, max_size=3),
    ),
    unique_by=lambda spec: spec.name,
    min_size=1,
    max_size=6,
)


def bounded(examples: int) -> Any:
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=quiet)


def problems(text: str | bytes, read: Any = None) -> list[str]:
    """Everything that is said against a file."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(Invalid) as refusal:
        known = text_of(data)
        reader = read or (from_calendar if is_calendar(known) else from_csv)
        require_known(reader(known))
    assert {detail["field"] for detail in refusal.value.details} == {"file"}
    return [str(detail["message"]) for detail in refusal.value.details]


def person(name: str, email: str = "", **more: Any) -> None:
    get_user_model().objects.create(username=name, email=email, **more)


# -- there and back ----------------------------------------------------------------------------------------


@bounded(150)
@given(specs=SPECS)
def test_a_table_comes_back_the_same(specs: list[ShiftSpec]) -> None:
    text = text_of(("\ufeff" + to_csv(specs)).encode())
    assert from_csv(text).shifts == specs


@bounded(120)
@given(specs=SPECS, zone=st.sampled_from(["UTC", "Asia/Seoul", "Europe/Berlin", "America/St_Johns", "Etc/GMT+5"]))
def test_a_calendar_comes_back_the_same(db: None, specs: list[ShiftSpec], zone: str) -> None:
    text = text_of(to_calendar("Help; desk", zone, enumerate(specs), now=NOW).encode())
    found = from_calendar(text)
    assert (found.shifts, found.zone) == (specs, zone)


def test_every_time_zone_goes_out_and_comes_back(db: None) -> None:
    spec = ShiftSpec("Morning", Pattern((0,), time(7), time(15)))
    for zone in sorted(filter(is_zone, available_timezones()))[::7]:
        assert from_calendar(to_calendar("x", zone, [(1, spec)], now=NOW)).zone == zone


def test_a_table_holds_no_formula() -> None:
    spec = ShiftSpec("=SUM(A1)", Pattern((0,), time(7), time(15)), ("@agent", "-x"))
    for line in to_csv([spec]).splitlines()[1:]:
        assert re.fullmatch(r"'=SUM\(A1\),mon,07:00,15:00,user,'[@-]\w+", line)


def test_a_calendar_is_what_calendar_programs_expect(db: None) -> None:
    specs = [
        ShiftSpec("Morning", Pattern((0, 3), time(7), time(15)), ("agent 01",), ("night crew",)),
        ShiftSpec("Night", Pattern((2,), time(22), time(6)), ()),
    ]
    text = to_calendar("Help desk", "Europe/Berlin", zip("ab", specs, strict=True), now=NOW)
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    calendar = Calendar.from_ical(text)
    assert [str(zone["TZID"]) for zone in calendar.walk("VTIMEZONE")] == ["Europe/Berlin"]
    first, night = calendar.walk("VEVENT")
    assert (str(first["UID"]), str(first["SUMMARY"])) == ("a@hotdesk", "Morning")
    # From the next day on which it takes place: the 4th of March is a Wednesday.
    assert str(first["DTSTART"].dt) == "2026-03-05 07:00:00+01:00"
    assert str(night["DTSTART"].dt) == "2026-03-04 22:00:00+01:00"
    assert str(night["DTEND"].dt) == "2026-03-05 06:00:00+01:00"
    assert first["RRULE"].to_ical() == b"FREQ=WEEKLY;BYDAY=MO,TH"
    user, group = first["ATTENDEE"]
    assert (str(user), user.params["CN"], user.params["CUTYPE"]) == (
        "urn:hotdesk:user:agent%2001",
        "agent 01",
        "INDIVIDUAL",
    )
    assert (str(group), group.params["CUTYPE"]) == ("urn:hotdesk:group:night%20crew", "GROUP")


# -- tables as others write them -----------------------------------------------------------------------------


MORNING = Pattern((0, 1), time(7), time(15))


@pytest.mark.parametrize(
    "text",
    [
        f'{HEADER}\nMorning,"mon,tue",07:00,15:00,user,agent01\n',
        f'\ufeff{HEADER}\r\nMorning,"MO TU",7:00,15:00:00,User,agent01\r\n',
        "sep=;\r\nShift;Weekdays;Starts;Ends;Kind;Name\r\nMorning;Mon,Tue;07:00;15:00;USER;agent01\r\n",
        "shift;weekdays;starts;ends;kind;name;;\r\n Morning ;monday tuesday;07:00;15:00;user;agent01;;\r\n;;;;;;\r\n",
        "shift\tweekdays\tstarts\tends\tkind\tname\nMorning\tTuesday, Monday\t07:00\t15:00\tuser\tagent01",
        "name,kind,ends,starts,weekdays,shift\nagent01,user,15:00,07:00,mo;tu,Morning\n",
        f"{HEADER}\nMorning,mo tu,07:00,15:00,user,agent01\nMorning,mo tu,07:00,15:00,user,agent01\n",
    ],
)
def test_tables_of_spreadsheet_programs_are_read(text: str) -> None:
    roster = from_csv(text_of(text.encode()))
    assert roster.shifts == [ShiftSpec("Morning", MORNING, ("agent01",))]
    assert roster.zone is None


def test_a_shift_without_members_has_blank_ones() -> None:
    assert from_csv(f"{HEADER}\nNight,fri,22:00,06:00,,\n").shifts == [
        ShiftSpec("Night", Pattern((4,), time(22), time(6)))
    ]


def test_everything_that_is_wrong_is_said_at_its_line() -> None:
    text = "\n".join(
        [
            HEADER,
            "Morning,mon,07:00,15:00,user,agent01",
            "Morning,tue,07:00,15:00,user,agent02",
            "Night,someday,22:00,25:00,user,agent02",
            "",
            ",mon,7,15:00,robot,x",
            "Noon,mon,11:00,13:00,user,",
            '"Two\nlines",mon,07:00,15:00,user,a,more',
            "Late,mon,07:00,15:00,,",
        ]
    )
    found = problems(text, from_csv)
    assert [one.partition(":")[0] for one in found] == [
        "Line 3",
        *["Line 4"] * 2,
        *["Line 6"] * 3,
        "Line 7",
        "Line 8",
    ]
    assert "in line 2" in found[0]
    assert "“25:00”" in found[2]


def test_people_and_groups_that_are_not_known_are_named_with_their_line(db: None) -> None:
    person("agent01")
    person("gone", is_active=False)
    Group.objects.create(name="crew")
    lines = [f"Morning,mon,07:00,15:00,{member}" for member in ("user,agent01", "group,crew", "user,gone")]
    text = "\n".join([HEADER, *lines, "Night,mon,22:00,22:00,group,agent01"])
    found = problems(text)
    assert found == [
        "Shift “Night”: A shift must end at another time than it starts; it may end on the next day.",
        "Line 4: There is no user “gone”.",
        "Line 5: There is no group “agent01”.",
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n", "empty"),
        (b"a,b\n1,2\n", "headings"),
        (HEADER.encode(), "holds no shifts"),
        (b"shift,weekdays,starts,ends,kind,kind,name\n", "headings"),
        ("이름,요일".encode("cp949"), "UTF-8"),
        ("shift".encode("utf-16"), "UTF-8"),
        (b"shift,\0", "NUL"),
        (b"x" * 500_001, "too large"),
        (f"{HEADER}\n".encode() + b"\n" * 5000, "more than 5000 lines"),
        (f"{HEADER}\nx,".encode() + b'"' + b"a" * 200_000, "cannot be read"),
        (f"{HEADER}\n".encode() + b"," * 400_000, "holds no shifts"),
        (f"{HEADER}\n".encode() + b"x\n" * 4000, "more problems are not shown"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(data: bytes, said: str) -> None:
    found = problems(data)
    assert said in " ".join(found)
    assert len(found) <= rosters.MOST_PROBLEMS + 1


def test_more_shifts_than_a_plan_holds_are_refused(db: None) -> None:
    lines = [f"Shift {number},mon,07:00,15:00,," for number in range(51)]
    assert "at most 50 shifts" in problems("\n".join([HEADER, *lines]))[0]


# -- calendars as others write them --------------------------------------------------------------------------


GOOGLE = """BEGIN:VCALENDAR
PRODID:-//Google Inc//Google Calendar 70.9054//EN
VERSION:2.0
CALSCALE:GREGORIAN
METHOD:PUBLISH
X-WR-CALNAME:Help desk
X-WR-TIMEZONE:Asia/Seoul
BEGIN:VTIMEZONE
TZID:Asia/Seoul
X-LIC-LOCATION:Asia/Seoul
BEGIN:STANDARD
TZOFFSETFROM:+0900
TZOFFSETTO:+0900
TZNAME:KST
DTSTART:19700101T000000
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
DTSTART;TZID=Asia/Seoul:20260302T070000
DTEND;TZID=Asia/Seoul:20260302T150000
RRULE:FREQ=WEEKLY;WKST=SU;BYDAY=MO,TU
DTSTAMP:20260301T120000Z
UID:3f2o0l4k@google.com
ATTENDEE;CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;CN=Kim
 ;X-NUM-GUESTS=0:mailto:Agent01@Example.com
ATTENDEE;CUTYPE=RESOURCE;CN="Room 1":mailto:room@resource.calendar.google.com
CREATED:20260301T115000Z
SEQUENCE:0
STATUS:CONFIRMED
SUMMARY:Morning
TRANSP:OPAQUE
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-P0DT0H10M0S
SUMMARY:Another
END:VALARM
END:VEVENT
BEGIN:VEVENT
DTSTART;TZID=Asia/Seoul:20260304T070000
DTEND;TZID=Asia/Seoul:20260304T150000
RRULE:FREQ=WEEKLY
ATTENDEE:mailto:agent01@example.com
SUMMARY:Morning
END:VEVENT
BEGIN:VEVENT
DTSTART;TZID=Asia/Seoul:20260305T070000
STATUS:CANCELLED
SUMMARY:Dropped
END:VEVENT
END:VCALENDAR
"""
OUTLOOK = """BEGIN:VCALENDAR
PRODID:-//Microsoft Corporation//Outlook 16.0 MIMEDIR//EN
VERSION:2.0
BEGIN:VTIMEZONE
TZID:Korea Standard Time
BEGIN:STANDARD
DTSTART:16010101T000000
TZOFFSETFROM:+0900
TZOFFSETTO:+0900
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
ATTENDEE;CN="agent01@example.com";RSVP=TRUE:mailto:agent01@example.com
CLASS:PUBLIC
DTEND;TZID="Korea Standard Time":20260303T060000
DTSTART;TZID="Korea Standard Time":20260302T220000
LOCATION:Desk\\, second floor
ORGANIZER;CN="Lead":mailto:lead@example.com
PRIORITY:5
RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,WE,FR
SUMMARY;LANGUAGE=en-us:Night
X-ALT-DESC;FMTTYPE=text/html:<html><body>x</body></html>
X-MICROSOFT-CDO-BUSYSTATUS:BUSY
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def agent(db: None) -> None:
    person("agent01", "agent01@EXAMPLE.com")
    person("left", "agent01@example.com", is_active=False)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_calendar_of_google_is_read(agent: None, ending: str) -> None:
    roster = from_calendar(text_of(GOOGLE.replace("\n", ending).encode()))
    assert roster.shifts == [ShiftSpec("Morning", Pattern((0, 1, 2), time(7), time(15)), ("agent01",))]
    assert (roster.zone, roster.where) == ("Asia/Seoul", {("user", "agent01"): "Event “Morning”"})


def test_a_calendar_of_outlook_is_read(agent: None) -> None:
    roster = from_calendar(text_of(OUTLOOK.encode()))
    assert roster.shifts == [ShiftSpec("Night", Pattern((0, 2, 4), time(22), time(6)), ("agent01",))]
    assert roster.zone == "Asia/Seoul"


EVENT = {
    "SUMMARY": "Morning",
    "DTSTART;TZID=Asia/Seoul": "20260302T070000",
    "DTEND;TZID=Asia/Seoul": "20260302T150000",
    "RRULE": "FREQ=WEEKLY;BYDAY=MO",
}


def event(**changed: str | None) -> str:
    """One event; a keyword replaces the property of that name, with its parameters, or leaves it out."""
    lines = {name: value for name, value in EVENT.items() if name.partition(";")[0] not in changed}
    more = [value for value in changed.values() if value is not None]
    return "\n".join(["BEGIN:VEVENT", *(f"{name}:{value}" for name, value in lines.items()), *more, "END:VEVENT"])


def calendar(*events: str) -> str:
    return "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *events, "END:VCALENDAR", ""])


@pytest.mark.parametrize(
    "changed",
    [
        {"DTEND": None, "DURATION": "DURATION:PT8H"},
        {"DTSTART": "DTSTART;TZID=/freeassociation.sourceforge.net/Asia/Seoul:20260302T070000"},
        {"RRULE": "RRULE:FREQ=WEEKLY"},
        {"RRULE": "rrule:freq=weekly;byday=mo;wkst=mo"},
        {"ATTENDEE": "ATTENDEE;CUTYPE=ROOM:urn:room:1"},
        {"X": "X-ODD\nJUNK\n :x"},
        {"EXTRA": "BEGIN:VALARM\nRRULE:FREQ=DAILY\nEND:VALARM"},
    ],
)
def test_an_event_may_be_written_in_other_ways(db: None, changed: dict[str, str | None]) -> None:
    assert from_calendar(calendar(event(**changed))).shifts == [
        ShiftSpec("Morning", Pattern((0,), time(7), time(15)))
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"RRULE": None}, "does not come again every week"),
        ({"RRULE": "RRULE:FREQ=WEEKLY;INTERVAL=2"}, "not come in every week"),
        ({"RRULE": "RRULE:FREQ=DAILY"}, "does not come again every week"),
        ({"RRULE": "RRULE:FREQ=WEEKLY;COUNT=5"}, "comes to an end"),
        ({"RRULE": "RRULE:FREQ=WEEKLY;UNTIL=20200101T000000Z"}, "comes to an end"),
        ({"RRULE": "RRULE:FREQ=WEEKLY;BYDAY=1MO"}, "more than days of the week"),
        ({"RRULE": "RRULE:FREQ=WEEKLY;BYMONTH=3"}, "more than days of the week"),
        ({"RRULE": "RRULE:FREQ=WEEKLY;BYDAY=XX"}, "cannot be read: RRULE"),
        ({"RRULE": "RRULE:FREQ=WEEKLY\nRRULE:FREQ=WEEKLY"}, "does not come again every week"),
        ({"RRULE": "RRULE:FREQ=WEEKLY;INTERVAL=" + "9" * 5000}, "RRULE"),
        ({"EXDATE": "EXDATE;TZID=Asia/Seoul:20260309T070000"}, "left out or added"),
        ({"RDATE": "RDATE:20260310T070000Z"}, "left out or added"),
        ({"RECURRENCE-ID": "RECURRENCE-ID:20260310T070000Z"}, "one time of a series"),
        ({"DTSTART": "DTSTART;VALUE=DATE:20260302"}, "whole days"),
        ({"DTSTART": "DTSTART:20260302T070000"}, "no time zone"),
        ({"DTSTART": "DTSTART:20260301T220000Z"}, "same time zone"),
        ({"DTSTART": "DTSTART;TZID=Mars/Base:20260302T070000"}, "no time zone “Mars/Base”"),
        ({"DTSTART": "DTSTART;TZID=Asia/Seoul:20261302T070000"}, "no such day"),
        ({"DTSTART": "DTSTART;TZID=Asia/Seoul:soon"}, "no such day"),
        ({"DTSTART": None}, "one start"),
        ({"DTEND": None}, "one end"),
        ({"DTEND": "DTEND;TZID=Asia/Seoul:20260303T070000"}, "before a whole day"),
        ({"DTEND": "DTEND;TZID=Asia/Seoul:20260302T070000"}, "after it starts"),
        ({"DTEND": "DTEND;TZID=Asia/Seoul:20260302T150030"}, "full minutes"),
        ({"DTEND": None, "DURATION": "DURATION:P9999999999W"}, "DURATION"),
        ({"DTEND": None, "DURATION": "DURATION:soon"}, "DURATION"),
        ({"ATTENDEE": "ATTENDEE:mailto:nobody@example.com"}, "Nobody has the address"),
        ({"ATTENDEE": "ATTENDEE:mailto:twins@example.com"}, "Several people share"),
        ({"ATTENDEE": "ATTENDEE:https://example.com/agent"}, "no attendee that is known"),
        ({"ATTENDEE": "ATTENDEE:urn:hotdesk:user:nobody"}, "There is no user “nobody”"),
        ({"ATTENDEE": "ATTENDEE:urn:hotdesk:group:a%00"}, "There is no group"),
        ({"ATTENDEE": "ATTENDEE:mailto:%00"}, "Nobody has the address"),
    ],
)
def test_an_event_that_is_no_weekly_shift_is_refused_by_its_name(
    db: None, changed: dict[str, str | None], said: str
) -> None:
    person("one", "twins@example.com")
    person("other", "Twins@example.com")
    [found] = problems(calendar(event(SUMMARY="SUMMARY:Early"), event(**changed).replace("Early", "Morning")))
    assert found.startswith("Event “Morning”: ")
    assert said in found


def test_an_event_without_a_name_is_counted(db: None) -> None:
    [found] = problems(calendar(event(), event(SUMMARY=None)))
    assert found.startswith("Event 2: It has no SUMMARY")


def test_events_that_cannot_be_one_plan_are_refused(db: None) -> None:
    person("agent01")
    later = event(DTSTART="DTSTART;TZID=Asia/Seoul:20260303T080000", DTEND="DTEND;TZID=Asia/Seoul:20260303T150000")
    assert "at other times" in problems(calendar(event(), later))[0]
    assert "with other people" in problems(calendar(event(), event(ATTENDEE="ATTENDEE:urn:hotdesk:user:agent01")))[0]
    abroad = event(
        SUMMARY="SUMMARY:Other",
        DTSTART="DTSTART;TZID=Europe/Berlin:20260302T070000",
        DTEND="DTEND;TZID=Europe/Berlin:20260302T150000",
    )
    assert problems(calendar(event(), abroad)) == [
        "The events are in different time zones: Asia/Seoul, Europe/Berlin. A plan has one."
    ]


BOMB = "BEGIN:VTIMEZONE\nTZID:Bomb\nBEGIN:STANDARD\nDTSTART:19700101T000000\nRRULE:FREQ=SECONDLY\nTZOFFSETFROM:+0000"
BOMB += "\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BEGIN:VCALENDAR", "ends too early"),
        (calendar(), "no events"),
        (calendar("BEGIN:VEVENT"), "did not begin"),
        (calendar("END:VCALENDAR"), "did not begin"),
        ("BEGIN:VCALENDAR\n" + "BEGIN:VEVENT\n" * 30_000, "more than 20000 lines"),
        ("BEGIN:VCALENDAR\n" + "BEGIN:VEVENT\n" * 15_000, "too deep"),
        ("BEGIN:VCALENDAR\n" + "BEGIN:VEV\n ENT\n" * 5_000, "too deep"),
        (calendar(event(ATTENDEE="ATTENDEE:mailto:a@b\n" * 19_000)), "Nobody has the address"),
        (calendar(event(ATTENDEE="ATTENDEE:mailto:a@b\n" * 1_000_000)), "too large"),
        (calendar(event(SUMMARY="SUMMARY:" + "x" * 400_000)), "at most 100 characters"),
        (calendar(event(SUMMARY="SUMMARY:" + "\n x" * 19_000)), "at most 100 characters"),
        (calendar(event(SUMMARY="SUMMARY:a\\nb")), "no control characters"),
        (calendar(event(X="\n" * 15_000)), None),
        (calendar(event(X="ATTENDEE;" + "CN=;" * 90_000 + ":mailto:a@b")), "cannot be read"),
        (calendar(event(X="ATTENDEE;" + '"' * 400_000)), "cannot be read"),
        (calendar(BOMB, event(DTSTART="DTSTART;TZID=Bomb:20260302T070000")), "no time zone “Bomb”"),
        (calendar(event(X="\0")), "NUL"),
    ],
)
def test_hostile_calendars_are_refused_at_once(db: None, text: str, said: str | None) -> None:
    started = clock.monotonic()
    if said is None:
        from_calendar(text_of(text.encode()))
    else:
        assert said in " ".join(problems(text))
    assert clock.monotonic() - started < 10


@bounded(150)
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "ignore")))
def test_no_bytes_are_a_fault(db: None, data: bytes) -> None:
    for start in (b"", HEADER.encode() + b"\n", b"BEGIN:VCALENDAR\nBEGIN:VEVENT\n"):
        try:
            text = text_of(start + data)
            require_known(from_calendar(text) if is_calendar(text) else from_csv(text))
        except Invalid:
            pass


LINES = st.sampled_from(
    [
        *("SUMMARY:x", "DTSTART:20260302T070000Z", "DTEND:20260302T150000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY"),
        *("RRULE:;=;", "RRULE:FREQ=", "ATTENDEE:", "ATTENDEE;CUTYPE=:mailto:", "EXDATE:", "DTSTART;TZID=:x"),
        *("SUMMARY;;:", "DTSTART;TZID=a,b:20260302T070000", "DTEND;VALUE=DATE:20260302", "BEGIN:VEVENT", "STATUS:"),
        *("RRULE:FREQ=WEEKLY;BYDAY=", "RRULE:FREQ=WEEKLY;INTERVAL=x", "DURATION:-PT1H", "DURATION:P", " folded"),
    ]
)


@bounded(200)
@given(lines=st.lists(LINES, max_size=12))
def test_no_lines_of_a_calendar_are_a_fault(db: None, lines: list[str]) -> None:
    try:
        require_known(from_calendar(calendar("BEGIN:VEVENT", *lines, "END:VEVENT")))
    except Invalid as refusal:
        assert refusal.details


# -- what would change ---------------------------------------------------------------------------------------


def test_what_a_file_would_change_is_told_shift_by_shift() -> None:
    morning, night = ShiftSpec("Morning", MORNING, ("a", "b"), ("crew",)), ShiftSpec("Night", MORNING)
    wanted = [
        ShiftSpec("Morning", Pattern((0,), time(7), time(15)), ("b", "c")),
        ShiftSpec("New", MORNING, ("a",)),
    ]
    new, changed, removed = changes([morning, night], wanted)
    assert (new.name, new.before, new.added, new.removed) == ("New", None, [("user", "a")], [])
    assert (changed.times_change, changed.added) == (True, [("user", "c")])
    assert changed.removed == [("user", "a"), ("group", "crew")]
    assert (removed.name, removed.after) == ("Night", None)
    assert changes([morning, night], [night, morning]) == []
    assert Roster([]).zone is None
