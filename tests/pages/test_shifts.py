"""Shifts on pages: come and go, hand over, stay longer, the board, plans, and what leads do for others."""

import re
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from broker import grants
from broker.models import (
    DesktopRequest,
    Event,
    Pool,
    Shift,
    ShiftAttendance,
    ShiftHandover,
    ShiftOccurrence,
    ShiftPlan,
    VirtualMachine,
)
from broker.operations import desktops, shift_plans, shifts, vms
from broker.rules.shifts import DAYS, Pattern, ShiftSpec
from broker.states import AtShiftEnd
from portal.navigation import Shell
from tests.pages.conftest import Reader, error_of, text
from tests.world import World

HALVES = (("First", time(0), time(12)), ("Second", time(12), time(0)))  # of every day: one of them always runs


@dataclass
class Desk:
    """A pool with a plan that always runs, its people, and a lead."""

    world: World
    pool: Pool
    plan: ShiftPlan
    people: dict[str, Reader]

    def __getitem__(self, name: str) -> Reader:
        return self.people[name]

    def path(self, rest: str = "") -> str:
        return f"/shifts/{self.plan.pk}/{rest}"

    def come(self, name: str) -> ShiftAttendance:
        attendance, _new = shifts.check_in(plan=self.plan, user=self[name].person)
        self.world.settle()
        attendance.request.refresh_from_db()
        return attendance

    def board(self, name: str, **query: Any) -> str:
        answer = self[name].get(self.path(), **query)
        assert answer.status_code == 200
        return text(answer)


def roster(plan: ShiftPlan, *names: str) -> None:
    for name, starts, ends in HALVES:
        spec = ShiftSpec(name, Pattern(DAYS, starts, ends), names)
        known = plan.shifts.filter(name=name).first()
        if known is not None:
            shift_plans.change_shift(shift=known, spec=spec)
        else:
            shift_plans.add_shift(plan=plan, spec=spec)


def open_desk(world: World, size: int = 2) -> Desk:
    pool = world.pool(size, name="helpdesk")
    people = {name: Reader(world.person(name, pool)) for name in ("minji", "hana", "alex")}
    people["lead"] = Reader(world.person("lead", pool, "HelpDeskLead"))
    people["viewer"] = Reader(world.person("viewer", pool, "ReadOnlyAdmin"))
    people["stranger"] = Reader(world.person("stranger", pool))
    plan = shift_plans.create(pool=pool, name="Front office", time_zone="Asia/Seoul")
    roster(plan, "minji", "hana", "alex")
    return Desk(world, pool, plan, people)


@pytest.fixture
def desk(world: World) -> Desk:
    return open_desk(world)


def body(answer: Any) -> str:
    return answer.content.decode()


def lead_to(answer: Any, path: str) -> bool:
    return (answer.status_code, answer.headers["Location"]) == (302, path)


# -- come and go ---------------------------------------------------------------------------------------


def test_one_click_checks_in_and_one_checks_out(desk: Desk) -> None:
    board = desk["minji"].get(desk.path())
    assert 'id="check-in"' in body(board) and 'id="check-out"' not in body(board)
    assert lead_to(desk["minji"].post(desk.path("check-in/")), desk.path())
    desk.world.settle()
    shown = desk["minji"].get(desk.path())
    assert "You are checked in to" in text(shown) and "Your desktop helpdesk-1 is ready." in text(shown)
    wish = DesktopRequest.objects.get()
    assert f'href="/desktops/{wish.pk}/"' in body(shown)
    assert 'id="check-out"' in body(shown) and 'id="check-in"' not in body(shown)
    assert lead_to(desk["minji"].post(desk.path("check-out/")), desk.path())
    desk.world.settle()
    assert "You are checked out." in desk.board("minji")
    wish.refresh_from_db()
    assert wish.state == "ended"


def test_the_same_click_twice_is_one(desk: Desk) -> None:
    for _click in range(2):
        assert desk["minji"].post(desk.path("check-in/")).status_code == 302
    assert ShiftAttendance.objects.count() == DesktopRequest.objects.count() == 1
    desk.world.settle()
    for _click in range(2):
        assert desk["minji"].post(desk.path("check-out/")).status_code == 302
    assert Event.objects.filter(kind="shift.checked_out").count() == 1


def test_whoever_must_wait_sees_the_place(desk: Desk) -> None:
    for name in ("minji", "hana", "alex"):
        desk.come(name)
    page = desk["alex"].get(desk.path())
    assert "You are in line at place 1." in text(page)
    assert "<title>(1) Front office – in line" in body(page)
    assert 'data-announce="You are in line at place 1."' in body(page)
    assert "alex (you)" in text(page)
    assert "See my place" in text(page)


def test_who_is_not_on_duty_is_told_when(desk: Desk) -> None:
    desk.plan.shifts.all().delete()
    later = timezone.now() + timedelta(days=2)
    times = Pattern((later.weekday(),), time(9), time(17))
    shift_plans.add_shift(plan=desk.plan, spec=ShiftSpec("Later", times, ("minji",)))
    page = desk["minji"].get(desk.path())
    assert 'id="check-in"' not in body(page)
    assert "You can check in to your next shift from" in text(page) and "08:45 on (Asia/Seoul)." in text(page)
    answer = desk["minji"].client.post(
        desk.path("check-in/"), headers={"Referer": f"http://testserver{desk.path()}"}, follow=True
    )
    assert "None of your shifts of Front office is open now." in text(answer)
    assert not DesktopRequest.objects.exists()


def test_times_of_shifts_are_those_of_the_plan(desk: Desk) -> None:
    desk.come("minji")
    times = r"(First 00:00–12:00|Second 12:00–00:00) · Asia/Seoul · 1 of 2 desktops in use"
    assert re.search(times, desk.board("hana"))


# -- hand over and stay --------------------------------------------------------------------------------


def test_handing_over_checks_out_and_the_next_shift_confirms_and_settles(desk: Desk) -> None:
    desk.come("minji")
    sent = {"note": "The VPN is slow.", "points": "Call Mr. Bae\n\n  Printer on floor 3  "}
    assert lead_to(desk["minji"].post(desk.path("handover/"), sent), desk.path())
    desk.world.settle()
    assert "It is handed over, and you are checked out." in desk.board("minji")
    handover = ShiftHandover.objects.get()
    assert [point.text for point in handover.points.all()] == ["Call Mr. Bae", "Printer on floor 3"]
    assert "/confirm/" not in body(desk["minji"].get(desk.path()))  # one's own is read by somebody else
    assert "/confirm/" in body(desk["hana"].get(desk.path()))
    assert desk["hana"].post(desk.path(f"handovers/{handover.pk}/confirm/")).status_code == 302
    point = handover.points.first()
    for _click in range(2):
        assert desk["hana"].post(desk.path(f"points/{point.pk}/settle/")).status_code == 302
    shown = desk.board("alex")
    assert "Confirmed by hana" in shown and "settled by hana" in shown and "Open: Printer on floor 3" in shown
    assert Event.objects.filter(kind="shift.settled").count() == 1


def test_the_same_handover_sent_twice_is_one(desk: Desk) -> None:
    desk.come("minji")
    for _click in range(2):
        assert desk["minji"].post(desk.path("handover/"), {"note": "Slow", "points": ""}).status_code == 302
    assert ShiftHandover.objects.count() == 1


@pytest.mark.parametrize(
    ("sent", "field", "words"),
    [
        ({"note": "", "points": ""}, "note", "or check out without handing over"),
        ({"note": "x" * 4001, "points": "one"}, "note", "at most 4000 characters"),
        (
            {"note": "kept", "points": "\n".join(f"point {number}" for number in range(21))},
            "points",
            "at most 20 open",
        ),
    ],
)
def test_a_handover_that_is_refused_keeps_what_was_typed(
    desk: Desk, sent: dict[str, str], field: str, words: str
) -> None:
    attendance = desk.come("minji")
    answer = desk["minji"].post(desk.path("handover/"), sent)
    assert answer.status_code == 422
    assert words in error_of(answer, field)
    assert all(value.splitlines()[-1] in body(answer) for value in sent.values() if value)
    attendance.request.refresh_from_db()
    assert attendance.request.state == "ready" and not ShiftHandover.objects.exists()


def test_a_lead_allows_to_stay_longer(desk: Desk) -> None:
    attendance = desk.come("minji")
    bad = desk["minji"].post(desk.path("stay/"), {"minutes": "9999", "reason": "a caller"})
    assert bad.status_code == 422 and "Give minutes from 1 to 720." in error_of(bad, "minutes")
    assert 'value="9999"' in body(bad) and "a caller" in body(bad)
    assert lead_to(desk["minji"].post(desk.path("stay/"), {"minutes": "30", "reason": "a caller"}), desk.path())
    assert "You asked to stay 30 min longer; a lead answers." in desk.board("minji")
    board = desk.board("lead")
    assert "minji 30 min after the shift a caller" in board
    assert "Who asks to stay longer" not in desk.board("hana")
    before = attendance.leaves_at
    for _click in range(2):
        path = desk.path(f"attendances/{attendance.pk}/stay/")
        assert lead_to(desk["lead"].post(path, {"answer": "allow"}), desk.path())
    attendance.refresh_from_db()
    assert attendance.leaves_at == before + timedelta(minutes=30)


def test_a_lead_refuses_to_let_somebody_stay(desk: Desk) -> None:
    attendance = desk.come("minji")
    shifts.ask_to_stay(plan=desk.plan, user=desk["minji"].person, minutes=30)
    path = desk.path(f"attendances/{attendance.pk}/stay/")
    assert desk["lead"].post(path, {"answer": "perhaps"}).status_code == 409
    assert lead_to(desk["lead"].post(path, {"answer": "refuse"}), desk.path())
    assert "You may not stay longer." in desk.board("minji")


@pytest.mark.parametrize("page", ["handover/", "stay/"])
def test_whoever_is_not_there_has_nothing_to_hand_over(desk: Desk, page: str) -> None:
    answer = desk["minji"].get(desk.path(page))
    assert answer.status_code == 409 and "not checked in" in text(answer)


# -- what leads do -------------------------------------------------------------------------------------


def test_a_lead_asks_for_a_desktop_and_its_user_reads_by_whom(desk: Desk) -> None:
    wish = desk.come("minji").request
    assert f"requests/{wish.pk}/ask-back/" in body(desk["lead"].get(desk.path()))
    for _click in range(2):
        assert lead_to(desk["lead"].post(desk.path(f"requests/{wish.pk}/ask-back/")), desk.path())
    asked = "lead asks you to return this desktop. Save your work, then return it."
    page = desk["minji"].get(f"/desktops/{wish.pk}/")
    assert asked in text(page) and f'data-notice="{asked}"' in body(page)
    assert asked in desk.board("minji") and asked in text(desk["minji"].get("/"))
    assert "Asked to return it at" in desk.board("hana")


def test_a_lead_checks_somebody_out_only_with_a_reason(desk: Desk) -> None:
    wish = desk.come("minji").request
    path = desk.path(f"requests/{wish.pk}/force-out/")
    assert "minji reads your name and the reason." in text(desk["lead"].get(path))
    for reason in ("", "   "):
        assert error_of(desk["lead"].post(path, {"reason": reason}), "reason")
    too_long = desk["lead"].post(path, {"reason": "x" * 301})
    assert "at most 300 characters" in error_of(too_long, "reason") and "x" * 301 in body(too_long)
    wish.refresh_from_db()
    assert wish.state == "ready"
    for _click in range(2):
        assert lead_to(desk["lead"].post(path, {"reason": "Gone home"}), desk.path())
    desk.world.settle()
    assert "Returned by lead: Gone home" in text(desk["minji"].get(f"/desktops/{wish.pk}/"))
    event = Event.objects.get(kind="desktop.returned_for")
    assert (event.actor, event.facts["reason"]) == (desk["lead"].person, "Gone home")


def test_a_seat_is_taken_out_with_a_reason_and_offered_again(desk: Desk) -> None:
    vm = VirtualMachine.objects.order_by("number").last()
    path = desk.path(f"vms/{vm.pk}/fault/")
    assert error_of(desk["lead"].post(path, {"reason": ""}), "reason")
    lines = desk["lead"].post(path, {"reason": "x" * 301})
    assert "at most 300 characters" in error_of(lines, "reason")
    for _click in range(2):
        assert lead_to(desk["lead"].post(path, {"reason": "No sound"}), desk.path())
    desk.world.settle()
    board = desk["lead"].get(desk.path())
    assert "Fault No sound Offer again" in text(board)
    assert f"vms/{vm.pk}/fault/" not in body(board) and f"vms/{vm.pk}/sound/" in body(board)
    assert "Offer again" not in desk.board("minji")
    for _click in range(2):
        assert lead_to(desk["lead"].post(desk.path(f"vms/{vm.pk}/sound/")), desk.path())
    assert "No sound" not in desk.board("lead")


def test_leads_read_what_users_reported(desk: Desk) -> None:
    wish = desk.come("minji").request
    desktops.report_problem(request=wish, text="The headset is not found.")
    assert "The headset is not found." in desk.board("lead")
    for name in ("minji", "viewer"):
        assert "The headset" not in desk.board(name)


def test_who_is_late_absent_and_in_overtime(desk: Desk) -> None:
    desk.come("minji")
    desk.come("hana")
    started = timezone.now() - timedelta(minutes=40)
    ShiftOccurrence.objects.update(opens_at=started, starts_at=started)
    for one in ShiftOccurrence.objects.all():
        one.duties.update(expected_at=started)
    ShiftAttendance.objects.filter(user__username="hana").update(until=timezone.now() - timedelta(minutes=12))
    board = desk.board("alex")
    assert re.search(r"minji since \S+ \S+ UTC Here, 40 min late", board)
    assert "alex Absent" in board
    assert re.search(r"Overtime hana shift ended at", board)


# -- who may -------------------------------------------------------------------------------------------


ORDERS = ("check-in/", "check-out/", "handover/", "stay/")


def orders_of_leads(desk: Desk, attendance: ShiftAttendance) -> dict[str, dict[str, str]]:
    return {
        f"requests/{attendance.request_id}/ask-back/": {},
        f"requests/{attendance.request_id}/force-out/": {"reason": "late"},
        f"vms/{attendance.request.vm_id}/fault/": {"reason": "loud"},
        f"vms/{attendance.request.vm_id}/sound/": {},
        f"attendances/{attendance.pk}/stay/": {"answer": "refuse"},
        "plan/": {},
        "remove/": {},
        "shifts/new/": {},
        f"shifts/{desk.plan.shifts.all()[0].pk}/": {},
        f"shifts/{desk.plan.shifts.all()[0].pk}/remove/": {},
    }


def test_what_leads_do_is_theirs_alone(desk: Desk) -> None:
    attendance = desk.come("minji")
    for rest, sent in orders_of_leads(desk, attendance).items():
        for name, expected in (("minji", 403), ("hana", 403), ("viewer", 403), ("stranger", 404)):
            assert desk[name].post(desk.path(rest), sent).status_code == expected, (rest, name)
    board = body(desk["hana"].get(desk.path()))
    assert not re.search(r"ask-back|force-out|/fault/|/sound/|/plan/", board)
    assert ShiftPlan.objects.count() == 1 and Shift.objects.count() == 2


def test_strangers_see_nothing_and_viewers_only_look(desk: Desk) -> None:
    desk.come("minji")
    handover = ShiftHandover.objects.create(plan=desk.plan, author=desk["minji"].person, note="Slow")
    point = handover.points.create(number=1, text="Call")
    for rest in ("", "panel/", "plan/", *ORDERS):
        method = "post" if rest in ORDERS else "get"
        assert getattr(desk["stranger"], method)(desk.path(rest)).status_code == 404, rest
    assert "Front office" not in text(desk["stranger"].get("/shifts/"))
    board = desk["viewer"].get(desk.path())
    assert board.status_code == 200 and "formaction" not in body(board)
    for rest in (f"handovers/{handover.pk}/confirm/", f"points/{point.pk}/settle/"):
        assert desk["viewer"].post(desk.path(rest)).status_code == 403
        assert desk["stranger"].post(desk.path(rest)).status_code == 404
    assert desk["viewer"].post(desk.path("check-in/")).status_code == 403


def test_whatever_belongs_to_another_plan_is_not_there(desk: Desk) -> None:
    attendance = desk.come("minji")
    handover = ShiftHandover.objects.create(plan=desk.plan, author=desk["minji"].person, note="Slow")
    point = handover.points.create(number=1, text="Call")
    lead = desk["lead"]
    elsewhere = desk.world.pool(1, name="elsewhere")
    grants.grant(role="HelpDeskLead", to=lead.person, on=elsewhere)
    other = shift_plans.create(pool=elsewhere, name="Other", time_zone="UTC")
    orders = orders_of_leads(desk, attendance)
    orders |= {f"handovers/{handover.pk}/confirm/": {}, f"points/{point.pk}/settle/": {}}
    for rest, sent in orders.items():
        if rest not in ("plan/", "remove/", "shifts/new/"):
            assert lead.post(f"/shifts/{other.pk}/{rest}", sent).status_code == 404, rest
    handover.refresh_from_db()
    assert handover.confirmed_at is None


def test_whoever_was_taken_off_the_roster_can_still_check_out(desk: Desk) -> None:
    desk.come("minji")
    roster(desk.plan, "hana")
    assert 'id="check-out"' in body(desk["minji"].get(desk.path()))
    assert desk["minji"].post(desk.path("check-out/")).status_code == 302
    desk.world.settle()
    assert desk["minji"].get(desk.path()).status_code == 404


def test_somebody_on_the_roster_who_may_not_use_the_pool_is_not_offered_it(desk: Desk) -> None:
    desk.world.person("guest")
    roster(desk.plan, "guest")
    guest = Reader(desk.world.person("guest"))
    board = guest.get(desk.path())
    assert 'id="check-in"' not in body(board) and "but cannot check in now" in text(board)


# -- the wall ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", ["", "panel/"])
def test_on_a_wall_there_is_nothing_to_press(desk: Desk, rest: str) -> None:
    desk.come("minji")
    desk.come("hana")
    vms.mark_faulty(vm=VirtualMachine.objects.order_by("number")[0], reason="Loud", by=desk["lead"].person)
    for name in ("lead", "minji"):
        page = body(desk[name].get(desk.path(rest), wall="1"))
        assert not re.search(r"<(form|button|input|textarea|select|details|nav|dialog)\b", page)
        assert f"/desktops/{DesktopRequest.objects.first().pk}" not in page
        assert "hana" in page and "minji" in page and "Loud" in page
        links = re.findall(r'<a [^>]*href="([^"]+)"', page)
        assert links == (["#main", desk.path()] if rest == "" else [])


def test_a_wall_says_the_time_and_stays_live(desk: Desk) -> None:
    page = body(desk["minji"].get(desk.path(), wall="1"))
    assert 'data-clock="Asia/Seoul"' in page and "As of" in page
    assert f'data-live="/live/shifts/{desk.plan.pk}/?wall=1"' in page
    assert f'data-panel="{desk.path("panel/")}?wall=1"' in page


# -- my shifts, my desktops, my desktop ----------------------------------------------------------------


def test_my_shifts_show_what_runs_and_where_i_am(desk: Desk) -> None:
    page = desk["minji"].get("/shifts/")
    assert f'action="{desk.path("check-in/")}"' in body(page) and "New shift plan" not in text(page)
    desk.come("minji")
    page = desk["minji"].get("/shifts/")
    assert "You are checked in" in text(page) and f'action="{desk.path("check-out/")}"' in body(page)
    assert f'href="{desk.path("plan/")}"' not in body(page)
    lead = desk["lead"].get("/shifts/")
    assert "New shift plan" in text(lead) and f'href="{desk.path("plan/")}"' in body(lead)
    assert "check-in" not in body(lead)
    assert "You are on no shift plan." in text(desk["stranger"].get("/shifts/"))


def test_the_way_to_shifts_is_offered_to_whoever_works_in_them(desk: Desk) -> None:
    for name, offered in (("minji", True), ("lead", True), ("stranger", False)):
        assert ('href="/shifts/"' in body(desk[name].get("/"))) == offered, name


def test_the_ways_through_the_site_cost_two_queries(desk: Desk) -> None:
    for name, most in (("minji", 2), ("lead", 1), ("stranger", 2)):
        request = RequestFactory().get("/")
        request.user, request.resolver_match = desk[name].person, None
        with CaptureQueriesContext(connection) as queries:
            ways = [way["entry"].name for way in Shell(request).entries]
        assert ("shifts" in ways, len(queries)) == (name != "stranger", most), name


def test_my_desktops_offer_the_shift_that_is_open(desk: Desk) -> None:
    page = desk["minji"].get("/")
    assert f'action="{desk.path("check-in/")}"' in body(page) and "Front office · helpdesk" in text(page)
    assert "shift-banner" not in body(desk["stranger"].get("/"))
    desk.come("minji")
    for path in ("/", "/pools/"):
        assert f'action="{desk.path("check-out/")}"' in body(desk["minji"].get(path))


def test_a_desktop_says_which_shift_it_is_for(desk: Desk) -> None:
    wish = desk.come("minji").request
    page = desk["minji"].get(f"/desktops/{wish.pk}/")
    assert re.search(r"For the shift (First|Second), until", text(page)) and f'href="{desk.path()}"' in body(page)
    plain = desk.world.take(desk["hana"].person, desk.pool)
    assert "For the shift" not in text(desk["hana"].get(f"/desktops/{plain.pk}/"))


@pytest.mark.parametrize(("minutes", "words"), [(15, "Your shift ends in 15 min."), (5, "Your shift ends in 5 min.")])
def test_reminders_are_on_the_page_of_the_desktop_and_on_the_board(desk: Desk, minutes: int, words: str) -> None:
    attendance = desk.come("minji")
    ShiftAttendance.objects.update(
        until=timezone.now() + timedelta(minutes=minutes),
        reminded_minutes=minutes,
        came_at=timezone.now() - timedelta(hours=2),
    )
    for path in (f"/desktops/{attendance.request_id}/", desk.path()):
        page = desk["minji"].get(path)
        assert words in text(page) and f'data-notice="{words}' in body(page), path
    assert "Your shift ends in" not in desk.board("hana")
    ShiftAttendance.objects.update(until=timezone.now() - timedelta(minutes=1))
    assert "Your shift has ended. Hand over and check out." in desk.board("minji")


def test_a_desktop_that_is_taken_back_says_what_can_be_done(desk: Desk) -> None:
    shift_plans.change(plan=desk.plan, changes={"at_end": AtShiftEnd.CHECK_OUT})
    wish = desk.come("minji").request
    soon = timezone.now() + timedelta(minutes=4)
    DesktopRequest.objects.update(ending="shift", ends_at=soon, shift_ends_at=soon)
    page = text(desk["minji"].get(f"/desktops/{wish.pk}/"))
    assert "(taken back at" in page and "Ask a lead" not in page
    DesktopRequest.objects.update(warned_minutes=5)
    ShiftAttendance.objects.update(reminded_minutes=5, until=timezone.now() - timedelta(minutes=1))
    page = text(desk["minji"].get(f"/desktops/{wish.pk}/"))
    assert "Your desktop ends in 4 min with your shift" in page
    assert "Ask a lead on the board if you need to stay longer." in page
    assert "Your shift has ended. Hand over" not in page  # it is said once
    assert "Your desktop ends in 4 min with your shift" in desk.board("minji")


# -- plans ---------------------------------------------------------------------------------------------


def test_a_lead_makes_a_plan_and_its_shifts(desk: Desk) -> None:
    lead = desk["lead"]
    answer = lead.fill("/shifts/new/", name="Night", time_zone="Europe/Berlin", early_minutes="20", pool=desk.pool.pk)
    plan = ShiftPlan.objects.get(name="Night")
    assert lead_to(answer, f"/shifts/{plan.pk}/plan/")
    minutes = (plan.early_minutes, plan.grace_minutes)
    assert (plan.time_zone, *minutes, plan.at_end) == ("Europe/Berlin", 20, 15, "remind")
    path = f"/shifts/{plan.pk}/shifts/new/"
    sent = {"name": "Watch", "weekdays": ["4", "5"], "starts": "22:00", "ends": "06:00", "users": "minji, hana\nalex"}
    assert lead_to(lead.post(path, sent), f"/shifts/{plan.pk}/plan/")
    shift = plan.shifts.get()
    assert (shift.weekdays, shift.starts, shift.ends) == ([4, 5], time(22), time(6))
    assert sorted(str(member.user) for member in shift.members.all()) == ["alex", "hana", "minji"]
    page = text(lead.get(f"/shifts/{plan.pk}/plan/"))
    assert "Watch 22:00–06:00 · Friday, Saturday" in page and "alex, hana, minji" in page


def test_a_plan_is_made_for_pools_that_one_leads(desk: Desk) -> None:
    for name in ("minji", "viewer", "stranger"):
        assert desk[name].get("/shifts/new/").status_code == 404
    elsewhere = desk.world.pool(1, name="elsewhere")
    sent = {"pool": str(elsewhere.pk), "name": "N", "time_zone": "UTC", "early_minutes": "1", "grace_minutes": "1"}
    answer = desk["lead"].post("/shifts/new/", {**sent, "at_end": "remind"})
    assert answer.status_code == 422 and error_of(answer, "pool")
    assert ShiftPlan.objects.count() == 1


def test_everything_that_is_wrong_with_a_plan_is_told_at_once(desk: Desk) -> None:
    answer = desk["lead"].fill(desk.path("plan/"), name=" ", time_zone="Mars/North", early_minutes="500")
    assert answer.status_code == 422
    assert "A name is required." in error_of(answer, "name")
    assert "There is no time zone “Mars/North”." in error_of(answer, "time_zone")
    assert "from 0 to 240" in error_of(answer, "early_minutes")
    assert 'value="Mars/North"' in body(answer) and "Nothing was saved yet." in text(answer)
    assert 'list="zones"' in body(answer) and '<option value="Asia/Seoul">' in body(answer)


def test_names_are_taken_once_in_a_pool(desk: Desk) -> None:
    answer = desk["lead"].fill("/shifts/new/", name="Front office", pool=desk.pool.pk)
    assert answer.status_code == 422 and "named Front office already" in error_of(answer, "name")


def test_two_leads_at_one_plan_do_not_overwrite_each_other(desk: Desk) -> None:
    lead = desk["lead"]
    opened = lead.get(desk.path("plan/"))
    shift_plans.change(plan=desk.plan, changes={"grace_minutes": 30})
    snapshot = re.search(r'name="snapshot" value="([^"]*)"', body(opened))
    assert snapshot is not None
    values = {"name": "Renamed", "time_zone": "Asia/Seoul", "early_minutes": "15", "grace_minutes": "15"}
    answer = lead.post(desk.path("plan/"), {**values, "at_end": "remind", "snapshot": snapshot[1]})
    assert answer.status_code == 422 and "It is now: 30" in error_of(answer, "grace_minutes")
    assert 'value="Renamed"' in body(answer)
    again = re.search(r'name="snapshot" value="([^"]*)"', body(answer))
    assert again is not None
    values |= {"grace_minutes": "30", "at_end": "remind", "snapshot": again[1]}
    assert lead_to(lead.post(desk.path("plan/"), values), desk.path("plan/"))
    desk.plan.refresh_from_db()
    assert (desk.plan.name, desk.plan.grace_minutes) == ("Renamed", 30)


def test_a_shift_is_edited_and_what_is_wrong_stays(desk: Desk) -> None:
    lead, shift = desk["lead"], desk.plan.shifts.get(name="First")
    path = desk.path(f"shifts/{shift.pk}/")
    assert 'value="00:00"' in body(lead.get(path)) and "alex\nhana\nminji" in body(lead.get(path))
    bad = lead.fill(path, name="Second", weekdays=[])
    assert bad.status_code == 422 and "Choose at least one day of the week" in error_of(bad, "weekdays")
    bad = lead.fill(path, users="minji\nnobody, ghost", groups="ghosts")
    assert "There is no user “ghost”, “nobody”." in error_of(bad, "users")
    assert "There is no group “ghosts”." in error_of(bad, "groups")
    assert "nobody, ghost" in body(bad)
    bad = lead.fill(path, ends="00:00")
    assert "must end at another time than it starts" in error_of(bad, "ends")
    bad = lead.fill(path, name="Second")
    assert "This plan has a shift named Second already." in error_of(bad, "name")
    assert lead_to(lead.fill(path, name="Early", weekdays=["0"], users="hana"), desk.path("plan/"))
    shift.refresh_from_db()
    assert (shift.name, shift.weekdays, [str(one.user) for one in shift.members.all()]) == ("Early", [0], ["hana"])


def test_a_group_whose_name_holds_a_comma_is_found(desk: Desk) -> None:
    from django.contrib.auth.models import Group

    Group.objects.create(name="Desk, first floor")
    Group.objects.create(name="night")
    shift = desk.plan.shifts.get(name="First")
    path = desk.path(f"shifts/{shift.pk}/")
    assert desk["lead"].fill(path, groups="Desk, first floor\nnight").status_code == 302
    assert shift.members.filter(group__isnull=False).count() == 2


def test_two_leads_at_one_shift_do_not_overwrite_each_other(desk: Desk) -> None:
    lead, shift = desk["lead"], desk.plan.shifts.get(name="First")
    path = desk.path(f"shifts/{shift.pk}/")
    snapshot = re.search(r'name="snapshot" value="([^"]*)"', body(lead.get(path)))
    assert snapshot is not None
    roster(desk.plan, "hana")
    sent = {"name": "First", "weekdays": ["1"], "starts": "00:00", "ends": "12:00", "users": "minji"}
    answer = lead.post(path, {**sent, "snapshot": snapshot[1]})
    assert answer.status_code == 422 and "It is now: hana" in error_of(answer, "users")
    assert "minji" in body(answer)


def test_shifts_and_plans_are_removed_after_a_question(desk: Desk) -> None:
    lead, shift = desk["lead"], desk.plan.shifts.get(name="First")
    path = desk.path(f"shifts/{shift.pk}/remove/")
    assert "Remove the shift First?" in text(lead.get(path)) and Shift.objects.filter(pk=shift.pk).exists()
    assert lead_to(lead.post(path), desk.path("plan/"))
    roster(desk.plan, "minji")
    desk.come("minji")
    refused = lead.client.post(desk.path("remove/"), headers={"Referer": f"http://testserver{desk.path('remove/')}"})
    assert refused.status_code == 302 and ShiftPlan.objects.exists()
    assert "1 person is checked in" in text(lead.get(desk.path("remove/")))
    shifts.check_out(plan=desk.plan, user=desk["minji"].person)
    assert lead_to(lead.post(desk.path("remove/")), "/shifts/")
    assert not ShiftPlan.objects.exists()


def test_administrators_read_why_a_desktop_is_faulty_and_return_it_to_its_pool(desk: Desk) -> None:
    admin = Reader(desk.world.superuser())
    free = VirtualMachine.objects.order_by("number").last()
    used = desk.come("minji").request.vm
    for vm in (free, used):
        vms.mark_faulty(vm=vm, reason="No sound", by=desk["lead"].person)
        assert "No sound" in text(admin.get(f"/manage/vms/{vm.pk}/"))
    assert "Marked as faulty" in text(admin.get(f"/manage/vms/{free.pk}/"))
    assert admin.post("/manage/vms/act/release/", {"id": [str(free.pk)], "confirmed": "1"}).status_code == 302
    desk.world.settle()
    free.refresh_from_db()
    assert (free.hold, free.fault) == (None, "")
    assert desk.come("hana").request.vm == free


def test_a_plan_is_found_at_its_pool(desk: Desk) -> None:
    page = desk["viewer"].get(f"/manage/pools/{desk.pool.pk}/", tab="shifts")
    assert f'href="{desk.path()}"' in body(page) and "Front office" in text(page)


# -- cost ----------------------------------------------------------------------------------------------


def queries(reader: Reader, path: str) -> int:
    reader.get(path)
    with CaptureQueriesContext(connection) as captured:
        assert reader.get(path).status_code == 200
    return len(captured)


def test_many_people_and_desktops_cost_no_more_queries(world: World) -> None:
    desk = open_desk(world, 3)
    lead = desk["lead"]
    grants.grant(role="UserRole", to=lead.person, on=desk.pool)
    roster(desk.plan, "minji", "hana", "alex", "lead")
    names = ["minji", "hana", "alex", "lead"]

    def fill() -> None:
        for name in names:
            shifts.check_in(plan=desk.plan, user=world.person(name))
        world.settle()
        ready = ShiftAttendance.objects.filter(request__state="ready").exclude(user=lead.person)
        one = ready.select_related("plan", "user").first()
        assert one is not None
        desktops.ask_back(request=one.request, by=lead.person)
        shifts.ask_to_stay(plan=desk.plan, user=one.user, minutes=5)
        handover = ShiftHandover.objects.create(plan=desk.plan, author=one.user, note=f"Note {one.pk}")
        handover.points.create(number=1, text="Call", settled_by=one.user, settled_at=timezone.now())
        shifts.confirm(handover=handover, by=lead.person)

    fill()
    paths = (desk.path(), desk.path("panel/"), desk.path() + "?wall=1", "/shifts/", "/", desk.path("plan/"))
    few = {path: queries(lead, path) for path in paths}
    more = [f"agent{number:02}" for number in range(20)]
    for name in more:
        world.person(name, desk.pool)
    names.extend(more)
    desk.pool.refresh_from_db()
    from broker.operations import pools

    pools.grow(desk.pool, 17, by=None)
    world.settle()
    roster(desk.plan, *names)
    fill()
    for number in range(4):
        other = shift_plans.create(pool=desk.pool, name=f"Other {number}", time_zone="UTC")
        roster(other, "lead")
    # Fewer where nobody waits any more.
    many = {path: queries(lead, path) for path in paths}
    assert {path: (few[path], count) for path, count in many.items() if count > few[path]} == {}
    assert max(many.values()) < 40
