"""The report of a shift plan: it agrees with the board, in the plan's own days, for leads and administrators."""

import csv
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.operations import desktops, vms
from broker.rules.shift_reports import Hour, midnight, occupancy, waits
from broker.rules.shifts import Span
from portal import shift_reports
from tests.help_desk import MONDAY, TEN, HelpDesk
from tests.pages.conftest import Reader, error_of, text

FIRST = MONDAY.date()
DAY = "since=2026-03-02&until=2026-03-02"


@pytest.fixture
def lead(desk: HelpDesk) -> Reader:
    return Reader(desk.lead)


def path(desk: HelpDesk, query: str = DAY, rest: str = "report/") -> str:
    return f"/shifts/{desk.plan.pk}/{rest}?{query}"


def found(desk: HelpDesk, since: date = FIRST, until: date = FIRST) -> Any:
    return shift_reports.report(desk.plan, shift_reports.period(desk.plan, since, until))


async def _whole(answer: Any) -> bytes:
    return b"".join([part async for part in answer.streaming_content])


def table(answer: Any) -> list[list[str]]:
    return list(csv.reader(async_to_sync(_whole)(answer).decode("utf-8-sig").splitlines()))


def a_day(desk: HelpDesk) -> None:
    """Three come in time, of whom one stays too long; the lead returns for one who was late; one stays away."""
    desk.at(7)
    desk.all_in(TEN[:3])
    desk.at(7.5)
    late = desk.all_in(["agent04"])[0]
    late.request.refresh_from_db()
    desktops.report_problem(request=late.request, text="It hangs.")
    vms.mark_faulty(vm=late.request.vm, reason="Flickers", by=desk.lead)
    desk.at(12)
    desktops.give_back(request=late.request, by=desk.lead, reason="Fire drill")
    desk.at(15)
    for name in TEN[1:3]:
        desk.check_out(name)
    desk.at(15.5)
    desk.check_out("agent01")
    desk.settle()


# -- what is counted -----------------------------------------------------------------------------------------


def test_the_report_says_who_came_and_how_it_ended(desk: HelpDesk) -> None:
    a_day(desk)
    lead = Reader(desk.lead)  # whose session began by then
    report = found(desk)
    assert [
        (one.user.username, one.record.late, one.record.overtime, one.record.absent, one.outcome)
        for one in report.duties
        if one.occurrence.name == "Morning"
    ] == [
        ("agent01", timedelta(), timedelta(minutes=30), False, "The desktop was returned."),
        ("agent02", timedelta(), timedelta(), False, "The desktop was returned."),
        ("agent03", timedelta(), timedelta(), False, "The desktop was returned."),
        ("agent04", timedelta(minutes=30), timedelta(), False, "lead returned the desktop: Fire drill"),
        ("agent05", timedelta(), timedelta(), True, "Did not come."),
    ]
    morning, afternoon = report.tallies
    assert (morning.name, morning.expected, morning.on_time, morning.late, morning.absent) == ("Morning", 5, 3, 1, 1)
    assert (afternoon.expected, afternoon.absent) == (5, 5)
    assert [one.message.partition(":")[0] for one in report.faults] == ["lead marked helpdesk-4 as faulty"]
    assert len(report.problems) == 1
    page = text(lead.get(path(desk)))
    assert "agent04 Morning 2026-03-02 07:00–15:00 07:30 30 min 0 s 12:00 – 0 s lead returned the desktop" in page
    assert "It hangs." in page
    assert "Flickers" in page


def test_report_and_board_agree_at_every_hour(desk: HelpDesk) -> None:
    def compare() -> None:
        board = desk.board("lead")
        shown = {(row.occurrence.pk, row.user.pk): row.record for row in board.duties}
        told = {(row.occurrence.pk, row.user.pk): row.record for row in found(desk).duties}
        assert {key: told[key] for key in shown} == shown

    desk.at(6.9)
    desk.all_in(["agent01"])
    compare()
    for hour in (7, 7.3, 9):
        desk.at(hour)
        compare()
    desk.check_out("agent01")
    desk.at(10)
    desk.all_in(["agent01", "agent02"])
    compare()
    desk.at(15.2)
    compare()


def test_waits_are_those_from_check_in_to_a_desktop(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(TEN[:5])
    desk.at(14.75)
    desk.all_in(TEN[5:])
    desk.at(15)
    for name in TEN[:4]:
        desk.check_out(name)
        desk.settle()
    report = found(desk)
    assert (report.waits.count, report.waits.unserved) == (9, 1)
    assert (report.waits.median, report.waits.longest) == (timedelta(), timedelta(minutes=15))
    assert report.waits.steps == (5, 0, 4, 0, 0, 0)
    assert report.hours[7] == Hour(7, 5.0, 5)
    assert (report.hours[6], report.seats) == (Hour(6, 0.0, 0), 5)


def test_days_are_those_of_the_plan(desk: HelpDesk) -> None:
    desk.change(time_zone="Asia/Seoul")
    desk.at(6.5)  # 15:30 there
    desk.at(22.5)  # 07:30 of the next day there
    desk.all_in(["agent01"])
    desk.at(23)
    assert [one.occurrence.name for one in found(desk).duties] == ["Afternoon"] * 5
    tuesday = date(2026, 3, 3)
    report = found(desk, tuesday, tuesday)
    assert [one.occurrence.name for one in report.duties] == ["Morning"] * 5
    assert (report.hours[7].most, report.waits.count) == (1, 1)
    page = text(Reader(desk.lead).get(path(desk, "since=2026-03-03&until=2026-03-03")))
    assert "agent01 Morning 2026-03-03 07:00–15:00 07:30" in page


def test_without_a_choice_it_is_the_last_seven_days(desk: HelpDesk, lead: Reader) -> None:
    chosen = shift_reports.period(desk.plan, None, None)
    assert (chosen.since, chosen.until) == (date(2026, 2, 24), date(2026, 3, 2))
    page = lead.get(path(desk, ""))
    assert 'value="2026-02-24"' in page.content.decode()
    assert "No shift took place on these days." in text(page)
    assert "Nobody got a desktop on these days." in text(page)


# -- the page ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field", "said", "typed"),
    [
        ("since=tomorrow", "since", "This is no day", "tomorrow"),
        ("until=1999-12-31", "until", "This is no day", "1999-12-31"),
        ("since=2026-03-02&until=2026-03-01", "until", "comes before the first one", "2026-03-01"),
        ("since=2026-01-01&until=2026-04-03", "until", "at most 92 days", "2026-04-03"),
    ],
)
def test_days_that_make_no_sense_are_told_at_their_field(
    desk: HelpDesk, lead: Reader, query: str, field: str, said: str, typed: str
) -> None:
    answer = lead.get(path(desk, query))
    assert answer.status_code == 200
    assert said in error_of(answer, field)
    assert f'value="{typed}"' in answer.content.decode()
    assert 'id="period"' not in answer.content.decode()
    refused = lead.get(path(desk, query, "report.csv"))
    assert (refused.status_code, said in refused.content.decode()) == (400, True)


def test_every_drawing_has_its_numbers_beside_it(desk: HelpDesk) -> None:
    a_day(desk)
    lead = Reader(desk.lead)  # whose session began by then
    page = lead.get(path(desk)).content.decode()
    assert page.count('class="bar-chart"') == 2
    assert page.count('class="column-chart"') == 2
    assert page.count("<svg") - page.count('class="icon') == 4
    assert page.count("aria-hidden") >= 4
    for section in ("by-shift", "waits", "in-use"):
        part = page.partition(f'id="{section}"')[2].partition("</section>")[0]
        assert "<svg" in part and "<table" in part
    assert " style=" not in page
    assert "<script>" not in page


def test_the_file_holds_what_the_page_shows(desk: HelpDesk) -> None:
    a_day(desk)
    lead = Reader(desk.lead)  # whose session began by then
    answer = lead.get(path(desk, rest="report.csv"))
    assert 'filename="shifts-2026-03-02-2026-03-02.csv"' in answer.headers["Content-Disposition"]
    heading, *lines = table(answer)
    assert len(lines) == 10
    assert all(len(line) == len(heading) for line in lines)
    late = next(line for line in lines if line[2] == "agent04")
    assert late == [
        *("2026-03-02", "Morning", "agent04", "2026-03-02T07:00:00+00:00", "2026-03-02T15:00:00+00:00"),
        *("2026-03-02T07:30:00+00:00", "1800", "2026-03-02T12:00:00+00:00", "0", "0"),
        "lead returned the desktop: Fire drill",
    ]


def test_who_may_read_it(desk: HelpDesk) -> None:
    reader = desk.world.person("reader", desk.pool, role="ReadOnlyAdmin")
    for rest in ("report/", "report.csv"):
        for person, status in (
            (desk.lead, 200),
            (reader, 200),
            (desk.people["agent01"], 403),
            (desk.world.person("stranger"), 404),
            (desk.world.person("taker", desk.pool), 404),
        ):
            assert Reader(person).get(path(desk, rest=rest)).status_code == status, (rest, person)


def test_more_days_and_people_cost_no_more_queries(desk: HelpDesk) -> None:
    def queries() -> int:
        lead = Reader(desk.lead)  # sessions end within these days
        lead.get(path(desk, "since=2026-03-02&until=2026-03-20"))
        with CaptureQueriesContext(connection) as captured:
            assert lead.get(path(desk, "since=2026-03-02&until=2026-03-20")).status_code == 200
        return len(captured)

    desk.at(7)
    desk.all_in(["agent01"])
    few = queries()
    for day in range(3):
        desk.at(7.5, day)
        desk.all_in(TEN[:5])
        desk.at(14.9, day)
        for name in TEN[:5]:
            desk.check_out(name)
        desk.settle()
    assert queries() == few


def test_what_is_too_much_is_said(desk: HelpDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    a_day(desk)
    lead = Reader(desk.lead)  # whose session began by then
    monkeypatch.setattr(shift_reports, "MOST_DUTIES", 3)
    report = found(desk)
    assert (report.complete, len(report.duties)) == (False, 3)
    assert "more than one report holds" in text(lead.get(path(desk)))


# -- the rules -----------------------------------------------------------------------------------------------


def minutes(*lengths: float | None) -> list[timedelta | None]:
    return [None if one is None else timedelta(minutes=one) for one in lengths]


def test_waits_of_nobody_are_no_waits() -> None:
    assert waits([]).median is None
    assert (waits(minutes(None, None)).count, waits(minutes(None, None)).unserved) == (0, 2)


@pytest.mark.parametrize(
    ("lengths", "median", "p95", "longest", "steps"),
    [
        ((1,), 1, 1, 1, (1, 0, 0, 0, 0, 0)),
        ((0, 1, 1.01, 5, 60, 61), 1.01, 61, 61, (2, 2, 0, 0, 1, 1)),
        (range(1, 101), 50, 95, 100, (1, 4, 10, 15, 30, 40)),
        ((-5, 10), 0, 10, 10, (1, 0, 1, 0, 0, 0)),
    ],
)
def test_half_and_95_of_100(lengths: Any, median: float, p95: float, longest: float, steps: tuple[int, ...]) -> None:
    told = waits(minutes(*lengths))
    assert [told.median, told.p95, told.longest] == minutes(median, p95, longest)
    assert told.steps == steps


def at(hour: float, day: int = 2) -> datetime:
    return datetime(2026, 3, day, tzinfo=UTC) + timedelta(hours=hour)


def test_an_hour_counts_the_mean_and_the_most() -> None:
    uses = [Span(at(7), at(9)), Span(at(7.5), at(8)), Span(at(8), at(8.25))]
    hours = occupancy(uses, date(2026, 3, 2), date(2026, 3, 2), "UTC", at(24))
    assert hours[6:10] == [Hour(6, 0.0, 0), Hour(7, 1.5, 2), Hour(8, 1.25, 2), Hour(9, 0.0, 0)]
    two_days = occupancy(uses, date(2026, 3, 2), date(2026, 3, 3), "UTC", at(48))
    assert two_days[7] == Hour(7, 0.75, 2)


def test_what_is_still_to_come_counts_nothing() -> None:
    uses = [Span(at(-5), at(7.5))]
    hours = occupancy(uses, date(2026, 3, 2), date(2026, 3, 3), "UTC", at(7.5))
    assert hours[7:9] == [Hour(7, 1.0, 1), Hour(8, 0.0, 0)]


def test_hours_that_clocks_skip_or_repeat() -> None:
    for day, hour, mean in ((29, 2, 0.0), (29, 3, 1.0)):
        spring = date(2026, 3, day)
        use = [Span(midnight(spring, "Europe/Berlin"), midnight(date(2026, 3, 30), "Europe/Berlin"))]
        hours = occupancy(use, spring, spring, "Europe/Berlin", at(0, 31))
        assert hours[hour].mean == mean
    autumn = date(2026, 10, 25)
    start = midnight(autumn, "Europe/Berlin")
    hours = occupancy(
        [Span(start, start + timedelta(hours=2.5))], autumn, autumn, "Europe/Berlin", start + timedelta(2)
    )
    assert [one.mean for one in hours[:4]] == [1.0, 1.0, 0.25, 0.0]


SPANS = st.lists(
    st.builds(
        lambda start, length: Span(at(start / 7), at((start + length) / 7)), st.integers(-99, 400), st.integers(0, 99)
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(uses=SPANS)
def test_the_mean_of_all_hours_is_all_the_time_in_use(uses: list[Span]) -> None:
    first, last = date(2026, 3, 2), date(2026, 3, 3)
    start, end = at(0), at(48)
    hours = occupancy(uses, first, last, "UTC", at(999))
    inside = [max(min(use.end, end) - max(use.start, start), timedelta()) for use in uses]
    total = sum(inside, timedelta()).total_seconds() / 3600
    assert sum(one.mean * 2 for one in hours) == pytest.approx(total, abs=0.3)
    assert all(one.mean <= one.most + 0.01 for one in hours)
    assert max(one.most for one in hours) <= len(uses)
