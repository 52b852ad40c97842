"""Shifts by program: check in and out, hand over, lead; plans and their shifts; the report."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from broker.models import (
    DesktopRequest,
    Event,
    HandoverPoint,
    Shift,
    ShiftAttendance,
    ShiftHandover,
    ShiftPlan,
    VirtualMachine,
)
from broker.operations import shift_plans
from portal.models import ApiToken
from tests.api.conftest import Api, fields, refused
from tests.help_desk import TEN, HelpDesk

ATTENDANCE = {
    *("id", "plan", "user", "shift", "came", "left", "present", "until", "stay_until", "stay_asked_minutes"),
    *("stay_refused", "request"),
}
CARD = {"id", "name", "pool", "time_zone", "leads", "running", "mine", "may_check_in", "opens"}
BOARD = CARD | {"now", "seats", "line", "duties", "present", "next", "handovers", "problems"}
MORNING = {"name": "Morning", "weekdays": ["mon", "tue"], "starts": "07:00", "ends": "15:00"}


def program(desk: HelpDesk, name: str) -> Api:
    """The API as somebody of the help desk, or as somebody new, whatever the time."""
    person = desk.people.get(name) or desk.world.person(name)
    token = ApiToken.draw()
    digest = ApiToken.digest_of(token)
    ApiToken.objects.create(user=person, digest=digest, expires_at=datetime.now(UTC) + timedelta(days=365))
    return Api(token)


def path(desk: HelpDesk, rest: str = "") -> str:
    return f"/shifts/{desk.plan.pk}{rest}"


def answered(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, (answer.status_code, answer.content[:500])
    return answer.json() if answer.content else None


# -- for oneself -------------------------------------------------------------------------------------------


@pytest.mark.req("R017", "R018")
def test_one_call_checks_in_and_one_checks_out(desk: HelpDesk) -> None:
    agent = program(desk, "agent01")
    desk.at(7)
    first = answered(agent.post(path(desk, "/check-in")), 201)
    assert set(first) == ATTENDANCE
    assert (first["user"], first["shift"], first["present"], first["left"]) == ("agent01", "Morning", True, None)
    again = answered(agent.post(path(desk, "/check-in")), 200)
    assert again["id"] == first["id"]
    desk.settle()
    assert answered(agent.get(f"/requests/{first['request']['id']}"))["state"] == "ready"
    left = answered(agent.post(path(desk, "/check-out")))
    assert set(left) == ATTENDANCE | {"handover"}
    assert (left["present"], left["handover"], left["request"]["state"]) == (False, None, "returning")
    assert answered(agent.post(path(desk, "/check-out")))["left"] == left["left"]
    assert Event.objects.filter(kind="shift.checked_out").count() == 1


def test_outside_of_ones_shifts_the_answer_says_when(desk: HelpDesk) -> None:
    agent = program(desk, "agent01")
    desk.at(6)
    refusal = refused(agent.post(path(desk, "/check-in")), 409, "NO_SHIFT_NOW")
    assert "06:45 UTC" in refusal["message"]
    refused(agent.post(path(desk, "/check-out")), 409, "NOT_CHECKED_IN")
    refused(agent.post(path(desk, "/stay"), {"minutes": 5}), 409, "NOT_CHECKED_IN")


def test_a_handover_needs_words_and_checks_out(desk: HelpDesk) -> None:
    agent, next_one = program(desk, "agent01"), program(desk, "agent06")
    desk.at(7)
    agent.post(path(desk, "/check-in"))
    for said in ({}, {"note": " "}, {"points": []}, {"points": ["  "]}):
        assert fields(refused(agent.post(path(desk, "/handover"), said), 400, "INVALID")) == {"note"}
    refused(agent.post(path(desk, "/handover")), 422)
    refused(agent.post(path(desk, "/handover"), {"note": "x" * 4001}), 400, "INVALID")
    assert ShiftAttendance.objects.present().count() == 1
    left = answered(agent.post(path(desk, "/handover"), {"note": "Printer.", "points": ["Paper", "Toner"]}))
    handed = left["handover"]
    assert (left["present"], handed["note"], handed["author"]) == (False, "Printer.", "agent01")
    assert [point["text"] for point in handed["points"]] == ["Paper", "Toner"]

    refused(agent.post(path(desk, f"/handovers/{handed['id']}/confirm")), 409, "OWN_HANDOVER")
    assert answered(next_one.get(path(desk)))["handovers"] == [handed]
    confirmed = answered(next_one.post(path(desk, f"/handovers/{handed['id']}/confirm")))
    assert (confirmed["confirmed_by"], confirmed["confirmed_at"] is not None) == ("agent06", True)
    again = answered(next_one.post(path(desk, f"/handovers/{handed['id']}/confirm")))
    assert again == confirmed
    settled = answered(next_one.post(path(desk, f"/points/{handed['points'][1]['id']}/settle")))
    assert [point["settled_by"] for point in settled["points"]] == [None, "agent06"]


def test_a_check_out_may_hand_over_as_well(desk: HelpDesk) -> None:
    agent = program(desk, "agent01")
    desk.at(7)
    agent.post(path(desk, "/check-in"))
    left = answered(agent.post(path(desk, "/check-out"), {"note": "All quiet."}))
    assert left["handover"]["note"] == "All quiet."


# -- look --------------------------------------------------------------------------------------------------


def test_the_list_tells_what_each_plan_is_to_me(desk: HelpDesk) -> None:
    agent, lead = program(desk, "agent01"), program(desk, "lead")
    desk.at(6)
    [card] = answered(agent.get("/shifts"))["items"]
    assert set(card) == CARD
    assert (card["leads"], card["running"], card["mine"], card["may_check_in"]) == (False, [], None, False)
    assert card["opens"] == "2026-03-02T06:45:00Z"
    desk.at(7)
    [card] = answered(agent.get("/shifts"))["items"]
    assert (card["may_check_in"], [one["name"] for one in card["running"]]) == (True, ["Morning"])
    mine = answered(agent.post(path(desk, "/check-in")), 201)
    [card] = answered(agent.get("/shifts"))["items"]
    assert (card["mine"], card["may_check_in"]) == (mine, False)
    [card] = answered(lead.get("/shifts"))["items"]
    assert (card["leads"], card["mine"], card["may_check_in"], card["opens"]) == (True, None, False, None)
    assert answered(program(desk, "stranger").get("/shifts"))["items"] == []


def test_many_plans_cost_as_many_queries_as_one(desk: HelpDesk) -> None:
    agent = program(desk, "agent01")
    desk.at(7)
    agent.post(path(desk, "/check-in"))
    desk.settle()

    def queries() -> int:
        agent.get("/shifts")
        with CaptureQueriesContext(connection) as captured:
            assert len(answered(agent.get("/shifts"))["items"]) == ShiftPlan.objects.count()
        return len(captured)

    with_one = queries()
    for number in range(6):
        plan = desk.make(f"Another {number}")
        desk.shift("Morning", 7, 15, ["agent01"], plan)
        desk.shift("Night", 22, 6, ["agent01"], plan)
    desk.at(7.1)
    assert queries() == with_one


def test_the_board_shows_seats_line_duties_and_who_is_there(desk: HelpDesk) -> None:
    lead = program(desk, "lead")
    desk.at(7)
    desk.all_in(TEN[:4])
    desk.at(7.5)
    found = answered(lead.get(path(desk)))
    assert set(found) == BOARD
    assert sorted(seat["state"] for seat in found["seats"]) == ["in_use"] * 4 + ["ready"]
    assert {seat["user"] for seat in found["seats"]} == {*TEN[:4], None}
    assert [one["user"] for one in found["duties"] if one["absent"]] == ["agent05"]
    assert sorted(one["user"] for one in found["present"]) == TEN[:4]
    assert (found["next"]["name"], found["next"]["users"]) == ("Afternoon", TEN[5:])
    assert found["leads"]


def test_what_somebody_asks_of_the_leads_is_for_the_leads(desk: HelpDesk) -> None:
    agent, lead, other = (program(desk, name) for name in ("agent01", "lead", "agent02"))
    desk.at(7)
    desk.all_in(TEN[:2])
    asked = answered(agent.post(path(desk, "/stay"), {"minutes": 30, "reason": "A call."}), 202)
    assert asked["stay_asked_minutes"] == 30

    def present(somebody: Api, name: str) -> dict[str, Any]:
        return next(one for one in answered(somebody.get(path(desk)))["present"] if one["user"] == name)

    seen = present(lead, "agent01")
    assert (seen["stay_asked_minutes"], seen["stay_reason"]) == (30, "A call.")
    seen = present(other, "agent01")
    assert (seen["stay_asked_minutes"], seen["stay_reason"]) == (None, "")
    for minutes in (0, -1, 721, "5", 1.5, None, True):
        answer = agent.post(path(desk, "/stay"), {"minutes": minutes})
        assert answer.status_code in (400, 422), minutes
        assert fields(answer.json()) == {"minutes"}


# -- for others --------------------------------------------------------------------------------------------


def test_a_lead_answers_who_asks_to_stay(desk: HelpDesk) -> None:
    agent, lead = program(desk, "agent01"), program(desk, "lead")
    desk.at(7)
    [attendance] = desk.all_in(["agent01"])
    agent.post(path(desk, "/stay"), {"minutes": 30})
    answer = path(desk, f"/attendances/{attendance.pk}/stay")
    refused(agent.post(answer, {"minutes": 30}), 403, "FORBIDDEN")
    refused(lead.post(answer, {}), 422)
    allowed = answered(lead.post(answer, {"minutes": 20}))
    assert (allowed["stay_until"], allowed["stay_asked_minutes"]) == ("2026-03-02T15:20:00Z", None)
    agent.post(path(desk, "/stay"), {"minutes": 30})
    assert answered(lead.post(answer, {"minutes": None}))["stay_refused"] is not None


def test_a_lead_asks_somebody_to_return_and_may_return_for_them_with_a_reason(desk: HelpDesk) -> None:
    agent, lead = program(desk, "agent01"), program(desk, "lead")
    desk.at(7)
    [attendance] = desk.all_in(["agent01"])
    wish = path(desk, f"/requests/{attendance.request_id}")
    for act, body in (("/ask-back", None), ("/force-out", {"reason": "Fire drill."})):
        refused(agent.post(wish + act, body), 403, "FORBIDDEN")
    answered(lead.post(wish + "/ask-back"), 202)
    attendance.request.refresh_from_db()
    assert attendance.request.asked_back_by == desk.lead
    for said in ({}, {"reason": ""}, {"reason": "  "}):
        assert fields(refused(lead.post(wish + "/force-out", said), 400, "INVALID")) == {"reason"}
    refused(lead.post(wish + "/force-out", {"reason": "x" * 301}), 400, "INVALID")
    assert answered(lead.post(wish + "/force-out", {"reason": "Fire drill."}), 202)["state"] == "returning"
    attendance.request.refresh_from_db()
    assert (attendance.request.returned_by, attendance.request.return_reason) == (desk.lead, "Fire drill.")
    assert desk.present() == []


def test_whoever_returns_the_desktop_of_another_by_its_own_address_may_say_why(desk: HelpDesk) -> None:
    lead = program(desk, "lead")
    desk.at(7)
    first, second = desk.all_in(TEN[:2])
    answered(lead.post(f"/requests/{first.request_id}/return", {"reason": "Gone home."}), 202)
    answered(lead.post(f"/requests/{second.request_id}/return"), 202)
    reasons = DesktopRequest.objects.order_by("ticket").values_list("return_reason", flat=True)
    assert list(reasons) == ["Gone home.", ""]
    third = desk.check_in("agent03")
    desk.settle()
    refused(lead.post(f"/requests/{third.request_id}/return", {"why": "x"}), 422)
    refused(lead.post(f"/requests/{third.request_id}/return", {"reason": "x" * 301}), 400, "INVALID")


def test_a_faulty_seat_is_offered_to_nobody(desk: HelpDesk) -> None:
    agent, lead = program(desk, "agent01"), program(desk, "lead")
    desk.at(7)
    vm = desk.pool.vms.order_by("number").first()
    fault = path(desk, f"/vms/{vm.pk}/fault")
    refused(agent.post(fault, {"reason": "Flickers."}), 403)
    assert fields(refused(lead.post(fault, {"reason": ""}), 400)) == {"reason"}
    answered(lead.post(fault, {"reason": "Flickers."}), 204)
    desk.settle()
    seat = next(one for one in answered(lead.get(path(desk)))["seats"] if one["vm"]["id"] == str(vm.pk))
    assert (seat["state"], seat["fault"]) == ("fault", "Flickers.")
    refused(agent.call("DELETE", fault), 403)
    answered(lead.call("DELETE", fault), 204)
    answered(lead.call("DELETE", fault), 204)
    assert VirtualMachine.objects.get(pk=vm.pk).fault == ""


def test_what_belongs_to_another_plan_is_not_there(desk: HelpDesk) -> None:
    lead = program(desk, "lead")
    desk.at(7)
    [attendance] = desk.all_in(["agent01"])
    desk.check_out("agent01", note="Note.", points=["Point"])
    other_pool = desk.world.pool(1, name="other")
    other = desk.make("Other", pool=other_pool)
    person = desk.world.person("lead", other_pool, role="HelpDeskLead")
    assert person == desk.lead
    handover, point, vm = ShiftHandover.objects.get(), HandoverPoint.objects.get(), desk.pool.vms.first()
    base = f"/shifts/{other.pk}"
    assert lead.get(base).status_code == 200
    for rest, body in {
        f"/attendances/{attendance.pk}/stay": {"minutes": 5},
        f"/requests/{attendance.request_id}/ask-back": None,
        f"/requests/{attendance.request_id}/force-out": {"reason": "x"},
        f"/handovers/{handover.pk}/confirm": None,
        f"/points/{point.pk}/settle": None,
        f"/vms/{vm.pk}/fault": {"reason": "x"},
    }.items():
        refused(lead.post(base + rest, body), 404, "NOT_FOUND")


# -- who may -----------------------------------------------------------------------------------------------


LEAD_ACTS = [
    ("PATCH", "", {}),
    ("DELETE", "", None),
    ("PUT", "/shifts", []),
    ("GET", "/report", None),
    ("POST", f"/attendances/{uuid4()}/stay", {"minutes": 5}),
    ("POST", f"/requests/{uuid4()}/ask-back", None),
    ("POST", f"/requests/{uuid4()}/force-out", {"reason": "x"}),
    ("POST", f"/vms/{uuid4()}/fault", {"reason": "x"}),
    ("DELETE", f"/vms/{uuid4()}/fault", None),
]
EVERYBODYS = [
    ("GET", "", None),
    ("GET", "/shifts", None),
    ("POST", "/check-in", None),
    ("POST", "/check-out", None),
    ("POST", "/handover", {"note": "x"}),
    ("POST", "/stay", {"minutes": 5}),
    ("POST", f"/handovers/{uuid4()}/confirm", None),
    ("POST", f"/points/{uuid4()}/settle", None),
]


@pytest.mark.req("R002")
@pytest.mark.parametrize(("method", "rest", "body"), [*LEAD_ACTS, *EVERYBODYS])
def test_strangers_are_told_of_nothing(desk: HelpDesk, method: str, rest: str, body: Any) -> None:
    for name in ("stranger", "taker"):
        if name == "taker":  # may use the pool, and is on no roster
            desk.world.person(name, desk.pool)
        refused(program(desk, name).call(method, path(desk, rest), body), 404, "NOT_FOUND")


@pytest.mark.parametrize(("method", "rest", "body"), LEAD_ACTS)
def test_members_do_not_lead(desk: HelpDesk, method: str, rest: str, body: Any) -> None:
    refused(program(desk, "agent01").call(method, path(desk, rest), body), 403, "FORBIDDEN")


def test_who_only_looks_on_changes_nothing_and_reads_the_report(desk: HelpDesk) -> None:
    desk.world.person("reader", desk.pool, role="ReadOnlyAdmin")
    reader = program(desk, "reader")
    desk.at(7)
    desk.all_in(["agent01"])
    _left, handover = desk.check_out("agent01", note="x", points=["y"])
    assert reader.get(path(desk)).status_code == 200
    assert reader.get(path(desk, "/report")).status_code == 200
    refused(reader.post(path(desk, f"/handovers/{handover.pk}/confirm")), 403)
    refused(reader.post(path(desk, f"/points/{handover.points.get().pk}/settle")), 403)
    refused(reader.post(path(desk, "/check-in")), 403)
    refused(reader.call("DELETE", path(desk)), 403)


# -- plans -------------------------------------------------------------------------------------------------


def test_a_lead_makes_a_plan_with_its_shifts_at_once(desk: HelpDesk) -> None:
    Group.objects.create(name="night crew")
    lead = program(desk, "lead")
    night = {"name": "Night", "weekdays": ["sat", "fri", "sat"], "starts": "23:30", "ends": "07:00"}
    body = {
        "pool": str(desk.pool.pk),
        "name": "Second",
        "time_zone": "Asia/Seoul",
        "grace_minutes": 5,
        "at_end": "check_out",
        "shifts": [{**MORNING, "users": ["agent01"]}, {**night, "groups": ["night crew"]}],
    }
    events = Event.objects.count()
    made = answered(lead.post("/shifts", body), 201)
    assert Event.objects.count() == events + 1
    assert made == {
        "id": made["id"],
        "name": "Second",
        "pool": {"id": str(desk.pool.pk), "name": "helpdesk"},
        "time_zone": "Asia/Seoul",
        "early_minutes": 15,
        "grace_minutes": 5,
        "at_end": "check_out",
        "leads": True,
    }
    assert answered(lead.get(f"/shifts/{made['id']}/shifts")) == [
        {**MORNING, "users": ["agent01"], "groups": []},
        {**night, "weekdays": ["fri", "sat"], "users": [], "groups": ["night crew"]},
    ]


def test_what_is_wrong_with_a_new_plan_is_said_and_nothing_is_made(desk: HelpDesk) -> None:
    lead = program(desk, "lead")
    good = {"pool": str(desk.pool.pk), "name": "Second", "time_zone": "UTC", "shifts": [MORNING]}
    for changed, status, wrong in (
        ({"name": ""}, 400, {"name"}),
        ({"name": "Help desk"}, 409, {"name"}),
        ({"time_zone": "Mars/Base"}, 400, {"time_zone"}),
        ({"time_zone": None}, 422, {"time_zone"}),
        ({"grace_minutes": 241}, 400, {"grace_minutes"}),
        ({"grace_minutes": "5"}, 422, {"grace_minutes"}),
        ({"at_end": "shout"}, 422, {"at_end"}),
        ({"shifts": [{**MORNING, "users": ["nobody"]}]}, 400, {"shifts"}),
        ({"shifts": [{**MORNING, "groups": ["none"]}]}, 400, {"shifts"}),
        ({"shifts": [{**MORNING, "weekdays": []}]}, 400, {"shifts"}),
        ({"shifts": [{**MORNING, "weekdays": ["MO"]}]}, 422, {"shifts"}),
        ({"shifts": [{**MORNING, "starts": "7:00"}]}, 422, {"shifts"}),
        ({"shifts": [{**MORNING, "users": ["a\0"]}]}, 422, {"shifts"}),
        ({"shifts": [MORNING, MORNING]}, 400, {"shifts"}),
        ({"shifts": [{**MORNING, "name": f"S{number}"} for number in range(51)]}, 400, {"shifts"}),
        ({"colour": "red"}, 422, {"colour"}),
    ):
        assert fields(refused(lead.post("/shifts", {**good, **changed}), status)) == wrong, changed
    assert ShiftPlan.objects.count() == 1
    assert Shift.objects.count() == 2
    answered(lead.post("/shifts", good), 201)


def test_only_who_leads_a_pool_makes_plans_for_it(desk: HelpDesk) -> None:
    body = {"pool": str(desk.pool.pk), "name": "Second", "time_zone": "UTC"}
    refused(program(desk, "agent01").post("/shifts", body), 403, "FORBIDDEN")
    desk.world.person("reader", desk.pool, role="ReadOnlyAdmin")
    refused(program(desk, "reader").post("/shifts", body), 403, "FORBIDDEN")
    refused(program(desk, "stranger").post("/shifts", body), 404, "NOT_FOUND")
    refused(program(desk, "lead").post("/shifts", {**body, "pool": str(uuid4())}), 404, "NOT_FOUND")


def test_a_plan_is_changed_and_removed(desk: HelpDesk) -> None:
    lead = program(desk, "lead")
    changed = answered(lead.patch(path(desk), {"name": "Front desk", "early_minutes": 0}))
    assert (changed["name"], changed["early_minutes"], changed["time_zone"]) == ("Front desk", 0, "UTC")
    refused(lead.patch(path(desk), {"name": None}), 400)
    refused(lead.patch(path(desk), {"time_zone": "x"}), 400)
    desk.at(7)
    desk.all_in(["agent01"])
    refused(lead.call("DELETE", path(desk)), 409, "IN_USE")
    desk.check_out("agent01")
    answered(lead.call("DELETE", path(desk)), 204)
    refused(lead.get(path(desk)), 404)


def test_all_shifts_of_a_plan_are_put_at_once_or_none(desk: HelpDesk) -> None:
    lead = program(desk, "lead")
    before = answered(lead.get(path(desk, "/shifts")))
    assert [one["name"] for one in before] == ["Morning", "Afternoon"]
    assert answered(lead.put(path(desk, "/shifts"), before)) == before
    refused(lead.put(path(desk, "/shifts"), [before[0], {**before[1], "users": ["nobody"]}]), 400)
    assert answered(lead.get(path(desk, "/shifts"))) == before
    kept = Shift.objects.get(name="Morning").pk
    put = [{**before[0], "users": ["agent10"], "ends": "14:00"}]
    assert answered(lead.put(path(desk, "/shifts"), put)) == put
    assert [shift.pk for shift in Shift.objects.all()] == [kept]
    refused(lead.put(path(desk, "/shifts"), {"shifts": []}), 422)


def test_a_shift_whose_member_was_disabled_can_be_put_as_it_is_shown(desk: HelpDesk) -> None:
    lead, gone = program(desk, "lead"), desk.people["agent01"]
    gone.is_active = False
    gone.save()
    shown = answered(lead.get(path(desk, "/shifts")))
    assert "agent01" not in shown[0]["users"]
    answered(lead.put(path(desk, "/shifts"), shown))


def test_a_plan_that_is_made_with_shifts_opens_them(desk: HelpDesk) -> None:
    desk.at(7)
    spec = desk.morning
    plan = shift_plans.create(pool=desk.pool, name="Late", time_zone="UTC", specs=[])
    assert plan.shifts.count() == 0
    assert spec.plan == desk.plan


# -- the report --------------------------------------------------------------------------------------------


def test_the_report_counts_what_the_board_showed(desk: HelpDesk) -> None:
    lead = program(desk, "lead")
    desk.at(7)
    desk.all_in(TEN[:3])
    desk.at(7.5)
    desk.all_in(["agent04"])
    desk.at(8)
    board = answered(lead.get(path(desk)))
    found = answered(lead.get(path(desk, "/report?since=2026-03-02&until=2026-03-02")))
    assert (found["expected"], found["came"], found["late"], found["absent"]) == (5, 4, 1, 1)
    same = ("shift", "user", "expected", "ends", "came", "left", "present", "absent", "late_seconds")
    assert [{name: one[name] for name in same} for one in found["duties"]] == [
        {name: one[name] for name in same} for one in board["duties"]
    ]
    assert found["duties"][3]["late_seconds"] == 1800
    assert (found["waits"]["count"], found["seats"], len(found["hours"]), found["complete"]) == (4, 5, 24, True)
    assert found["hours"][7] == {"hour": 7, "mean": 3.5, "most": 4}


@pytest.mark.parametrize(
    ("query", "status", "wrong"),
    [
        ("since=2026-03-02&until=2026-03-01", 400, {"until"}),
        ("since=2026-01-01&until=2026-04-03", 400, {"until"}),
        ("since=1999-12-31", 400, {"since"}),
        ("until=3000-01-01", 400, {"until"}),
        ("since=yesterday", 422, {"since"}),
        ("since=2026-02-30", 422, {"since"}),
        ("since=0001-01-01&until=9999-12-31", 400, {"since", "until"}),
    ],
)
def test_days_that_no_report_covers_are_refused(desk: HelpDesk, query: str, status: int, wrong: set[str]) -> None:
    lead = program(desk, "lead")
    assert fields(refused(lead.get(path(desk, f"/report?{query}")), status)) == wrong


def test_a_report_of_many_days_costs_as_many_queries_as_one_of_a_day(desk: HelpDesk) -> None:
    lead = program(desk, "lead")

    def queries(until: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            answered(lead.get(path(desk, f"/report?since=2026-03-02&until={until}")))
        return len(captured)

    desk.at(7)
    desk.all_in(["agent01"])
    few = queries("2026-03-02")
    for day in range(3):
        desk.at(7.5, day)
        desk.all_in(TEN[:5])
        desk.at(14.9, day)
        for name in TEN[:5]:
            desk.check_out(name)
    assert queries("2026-03-05") == few
