"""Rosters brought as files: nothing changes before somebody has seen what would, and leads alone bring them."""

import re
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from broker.models import Event, Shift, ShiftPlan
from broker.operations import shift_plans
from portal import rosters
from tests.help_desk import TEN, HelpDesk
from tests.pages.conftest import Reader, error_of, text

HEADER = "shift,weekdays,starts,ends,kind,name"
WEEK = "mon,tue,wed,thu,fri,sat,sun"
SMALL = f"{HEADER}\nMorning,mon,08:00,15:00,user,agent01\nNew,fri,22:00,06:00,user,agent02\n"


@pytest.fixture
def lead(desk: HelpDesk) -> Reader:
    return Reader(desk.lead)


def path(desk: HelpDesk, rest: str = "import/") -> str:
    return f"/shifts/{desk.plan.pk}/{rest}"


def bring(lead: Reader, desk: HelpDesk, content: str | bytes, name: str = "roster.csv") -> Any:
    data = content.encode() if isinstance(content, str) else content
    return lead.client.post(path(desk), {"file": SimpleUploadedFile(name, data)})


def confirm(lead: Reader, desk: HelpDesk, shown: Any, **changed: str) -> Any:
    body = shown.content.decode()
    found = re.findall(r'<input type="hidden" name="(text|seen)" value="([^"]*)"', body)
    assert len(found) == 2
    return lead.client.post(path(desk), {**{name: unescape(value) for name, value in found}, **changed})


def state(desk: HelpDesk) -> Any:
    plan = ShiftPlan.objects.get(pk=desk.plan.pk)
    return plan.time_zone, rosters.specs_of(plan)


def test_a_roster_goes_out_as_a_table_and_comes_back_unchanged(desk: HelpDesk, lead: Reader) -> None:
    answer = Reader(desk.people["agent01"]).get(path(desk, "roster.csv"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Help desk.csv"'
    assert answer.content.decode().splitlines()[:2] == [
        "\ufeff" + HEADER,
        f'Morning,"{WEEK}",07:00,15:00,user,agent01',
    ]
    shown = bring(lead, desk, answer.content)
    assert "those of the file already" in text(shown)
    assert 'id="import"' not in shown.content.decode()


def test_a_roster_goes_out_as_a_calendar_and_comes_back_unchanged(desk: HelpDesk, lead: Reader) -> None:
    answer = Reader(desk.people["agent01"]).get(path(desk, "shifts.ics"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    assert answer.content.decode().count("ATTENDEE") == 10
    assert f"UID:{desk.morning.pk}@hotdesk" in answer.content.decode()
    assert "those of the file already" in text(bring(lead, desk, answer.content, "x.ics"))


def test_first_it_is_shown_what_would_change_then_it_changes(desk: HelpDesk, lead: Reader) -> None:
    before = state(desk)
    page = text(lead.get(path(desk)))
    assert "You see what would change before anything does." in page
    shown = bring(lead, desk, SMALL)
    assert shown.status_code == 200
    assert state(desk) == before
    table = text(shown)
    assert "New New Friday 22:00–06:00 agent02 –" in table
    assert "Morning Changed Every day 07:00–15:00 Monday 08:00–15:00 – agent02, agent03, agent04, agent05" in table
    assert f"Afternoon Removed Every day 15:00–23:00 – {', '.join(TEN[5:])}" in table

    events = Event.objects.count()
    answer = confirm(lead, desk, shown)
    assert (answer.status_code, answer.headers["Location"]) == (302, path(desk, "plan/"))
    assert [spec.name for spec in state(desk)[1]] == ["Morning", "New"]
    assert Shift.objects.get(name="Morning").pk == desk.morning.pk
    assert Event.objects.count() > events


def test_a_calendar_brings_its_time_zone(desk: HelpDesk, lead: Reader) -> None:
    desk.change(time_zone="Europe/Berlin")
    answer = lead.get(path(desk, "shifts.ics"))
    foreign = answer.content.decode().replace("TZID=Europe/Berlin", "TZID=Asia/Seoul")
    shown = bring(lead, desk, foreign, "x.ics")
    assert "The time zone of the plan becomes Asia/Seoul; it is Europe/Berlin now." in text(shown)
    before = state(desk)
    confirm(lead, desk, shown)
    assert state(desk) == ("Asia/Seoul", before[1])


def test_what_is_wrong_with_a_file_is_said_line_by_line_and_nothing_changes(desk: HelpDesk, lead: Reader) -> None:
    before = state(desk)
    answer = bring(lead, desk, f"{HEADER}\nMorning,mon,08:00,15:00,user,ghost\nNew,never,22:00,06:00,,\n")
    assert answer.status_code == 422
    assert "Line 3: “never” is no list of weekdays." in error_of(answer, "file")
    answer = bring(lead, desk, f"{HEADER}\nMorning,mon,08:00,15:00,user,ghost\nNew,fri,22:00,22:00,,\n")
    assert "Line 2: There is no user “ghost”." in error_of(answer, "file")
    assert "Shift “New”: A shift must end at another time" in error_of(answer, "file")
    assert 'aria-invalid="true"' in answer.content.decode()
    for data in (b"", b"\xff\xfe", b"<html>"):
        assert error_of(bring(lead, desk, data), "file")
    assert error_of(lead.client.post(path(desk), {}), "file")
    assert state(desk) == before


def test_what_somebody_else_changed_meanwhile_is_shown_again(desk: HelpDesk, lead: Reader) -> None:
    shown = bring(lead, desk, SMALL)
    shift_plans.remove_shift(shift=desk.afternoon)
    before = state(desk)
    again = confirm(lead, desk, shown)
    assert (again.status_code, state(desk)) == (409, before)
    assert "Somebody changed the plan meanwhile." in text(again)
    assert "Afternoon" not in text(again)
    assert confirm(lead, desk, again).status_code == 302
    assert [spec.name for spec in state(desk)[1]] == ["Morning", "New"]


def test_what_is_confirmed_is_checked_like_a_file(desk: HelpDesk, lead: Reader) -> None:
    shown, before = bring(lead, desk, SMALL), state(desk)
    gone = desk.people["agent02"]
    gone.is_active = False
    gone.save()
    for changed in (
        {},
        {"text": ""},
        {"text": "x"},
        {"text": SMALL.replace("mon", "never")},
        {"text": "BEGIN:VCALENDAR"},
    ):
        answer = confirm(lead, desk, shown, **changed)
        assert (answer.status_code, bool(error_of(answer, "file"))) == (422, True), changed
    assert [spec.name for spec in state(desk)[1]] == [spec.name for spec in before[1]]
    assert confirm(lead, desk, shown, text="\0").status_code == 400


def test_a_name_that_is_html_is_text(desk: HelpDesk, lead: Reader) -> None:
    html = "<script>alert(1)</script>"
    shown = bring(lead, desk, f'{HEADER}\n"{html}",mon,08:00,15:00,,\n')
    assert html not in shown.content.decode()
    assert confirm(lead, desk, shown).status_code == 302
    assert Shift.objects.get().name == html


def test_members_take_files_and_bring_none(desk: HelpDesk) -> None:
    agent = Reader(desk.people["agent01"])
    assert agent.get(path(desk)).status_code == 403
    assert bring(agent, desk, SMALL).status_code == 403
    stranger = Reader(desk.world.person("stranger"))
    for rest in ("roster.csv", "shifts.ics", "import/"):
        assert stranger.get(path(desk, rest)).status_code == 404


def test_a_plan_without_shifts_goes_out_empty(desk: HelpDesk, lead: Reader) -> None:
    for shift in (desk.morning, desk.afternoon):
        shift_plans.remove_shift(shift=shift)
    assert lead.get(path(desk, "roster.csv")).content.decode() == f"\ufeff{HEADER}\r\n"
    assert "VEVENT" not in lead.get(path(desk, "shifts.ics")).content.decode()


def test_a_name_of_another_script_names_the_file(desk: HelpDesk, lead: Reader) -> None:
    ShiftPlan.objects.update(name="상담 / 1")
    assert "filename*=utf-8''" in lead.get(path(desk, "roster.csv")).headers["Content-Disposition"]
