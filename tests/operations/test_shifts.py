"""Shifts under time travel: who comes when, what the end of a shift does, and nobody jumps the line."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from broker import grants
from broker.errors import Conflict, Denied, Invalid
from broker.models import (
    DesktopRequest,
    Event,
    ShiftAttendance,
    ShiftDuty,
    ShiftOccurrence,
    ShiftPlan,
    VirtualMachine,
)
from broker.operations import desktops, pools, shift_plans, shifts, users, vms
from broker.rules.shifts import Pattern, ShiftSpec
from broker.states import EndReason, RequestState, VmHold
from tests.help_desk import EVERY_DAY, MONDAY, TEN, HelpDesk, agree

# -- in and out ------------------------------------------------------------------------------------------


@pytest.mark.req("R017", "R018")
def test_checking_in_takes_a_desktop_and_checking_out_returns_it(desk: HelpDesk) -> None:
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    assert desk.holders() == ["agent01"]
    vm = DesktopRequest.objects.get(pk=attendance.request_id).vm
    desk.at(15)
    desk.check_out("agent01")
    desk.world.settle()
    attendance.request.refresh_from_db()
    assert attendance.request.end_reason == EndReason.RETURNED
    assert desk.present() == []
    vm.refresh_from_db()
    assert VirtualMachine.objects.offerable().filter(pk=vm.pk).exists()
    agree()


def test_both_can_be_pressed_again_and_change_nothing(desk: HelpDesk) -> None:
    desk.at(7)
    first, again = desk.check_in("agent01"), desk.check_in("agent01")
    desk.world.settle()
    assert first == again
    assert DesktopRequest.objects.count() == 1
    desk.check_out("agent01")
    left, _handover = desk.check_out("agent01")
    assert left == first
    desk.world.settle()
    assert Event.objects.filter(kind="shift.checked_out").count() == 1
    assert Event.objects.filter(kind="shift.checked_in").count() == 1


def test_whoever_left_may_come_again_in_the_same_shift(desk: HelpDesk) -> None:
    desk.at(7)
    first = desk.check_in("agent01")
    desk.world.settle()
    desk.check_out("agent01")
    desk.at(8)
    second = desk.check_in("agent01")
    desk.world.settle()
    assert second != first
    assert desk.present() == ["agent01"]
    agree()


def test_nobody_checks_out_who_never_came(desk: HelpDesk) -> None:
    with pytest.raises(Conflict) as refusal:
        desk.check_out("agent01")
    assert refusal.value.code == "NOT_CHECKED_IN"


def test_a_desktop_taken_by_hand_becomes_that_of_the_shift(desk: HelpDesk) -> None:
    desk.at(6)
    wish = desk.world.take(desk.people["agent01"], desk.pool)
    desk.settle()
    desk.at(7)
    assert desk.check_in("agent01").request == wish
    assert DesktopRequest.objects.count() == 1


def test_the_window_opens_before_the_shift_and_says_when(desk: HelpDesk) -> None:
    desk.at(6.7)
    with pytest.raises(Conflict, match="2026-03-02 06:45 UTC") as refusal:
        desk.check_in("agent01")
    assert refusal.value.code == "NO_SHIFT_NOW"
    assert not ShiftAttendance.objects.exists()
    desk.at(6.75)
    assert desk.check_in("agent01").occurrence.name == "Morning"
    desk.at(15)
    with pytest.raises(Conflict, match="2026-03-03 06:45 UTC"):
        desk.check_in("agent02")


def test_whoever_is_on_no_roster_is_told_so(desk: HelpDesk) -> None:
    desk.at(7)
    with pytest.raises(Conflict, match="on no shift of Help desk"):
        shifts.check_in(plan=desk.plan, user=desk.lead)


def test_a_roster_is_no_permission(desk: HelpDesk) -> None:
    stranger = desk.world.person("stranger")
    desk.shift("Extra", 7, 15, ["stranger"])
    desk.at(7)
    with pytest.raises(Denied):
        shifts.check_in(plan=desk.plan, user=stranger)
    assert not DesktopRequest.objects.exists()


def test_a_maintenance_notice_keeps_people_from_checking_in(desk: HelpDesk) -> None:
    from broker import config
    from broker.errors import Busy

    desk.at(7)
    config.put("MaintenanceNotice", "Back at nine.")
    with pytest.raises(Busy, match="Back at nine"):
        desk.check_in("agent01")
    assert not ShiftAttendance.objects.exists()


# -- the change of shift -----------------------------------------------------------------------------------


@pytest.mark.req("R016", "R017", "R018")
def test_at_the_change_of_shift_people_flow_through_the_pool_in_order(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(TEN[:5])
    assert desk.holders() == TEN[:5]
    desk.at(14.75)
    incoming = desk.all_in(TEN[5:])  # they wait, each at the own ticket
    tickets = [one.request.ticket for one in incoming]
    assert tickets == sorted(tickets)
    assert desk.holders() == TEN[:5]
    desk.at(15)
    for number, name in enumerate(TEN[:5], start=1):
        desk.check_out(name)
        desk.world.settle()
        assert desk.holders() == sorted([*TEN[number:5], *TEN[5 : 5 + number]])
        agree()


def test_whoever_checks_in_stands_behind_whoever_asked_before(desk: HelpDesk) -> None:
    desk.at(6)
    everyday = [desk.world.person(f"other{number}", desk.pool) for number in range(6)]
    wishes = [desk.world.take(person, desk.pool) for person in everyday]
    desk.settle()
    desk.at(6.75)
    attendance = desk.check_in("agent01")
    desk.world.settle()
    desktops.give_back(request=wishes[0])
    desk.world.settle()
    wishes[5].refresh_from_db()
    attendance.request.refresh_from_db()
    assert (wishes[5].state, attendance.request.state) == (RequestState.READY, RequestState.QUEUED)


def test_a_pool_that_shrank_below_its_roster_serves_on_in_order(desk: HelpDesk) -> None:
    desk.at(7)
    desk.world.settle()
    pools.change(pool=desk.pool, changes={"prestarted_vms": 0})
    desk.world.settle()
    for vm in desk.pool.vms.order_by("-number")[:3]:
        vms.release(vm=vm, by=None) if vm.run_mode else None
        desk.world.settle()
        vms.detach(vms=[VirtualMachine.objects.get(pk=vm.pk)], by=None)
    desk.world.settle()
    desk.all_in(TEN[:5])
    assert desk.holders() == TEN[:2]
    board = desk.board()
    assert (len(board.seats), [wish.user.username for wish in board.line]) == (2, TEN[2:5])
    desk.check_out("agent01")
    desk.world.settle()
    assert desk.holders() == TEN[1:3]


def test_whoever_works_on_into_the_next_shift_is_not_told_to_go(desk: HelpDesk) -> None:
    desk.change(at_end="check_out", grace_minutes=15)
    double = desk.shift("Late help", 15, 19, ["agent01"])
    assert double is not None
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desk.at(16)
    assert desk.present() == ["agent01"]
    attendance.refresh_from_db()
    assert attendance.until == MONDAY + timedelta(hours=19)
    assert not Event.objects.filter(kind="shift.reminded").exists()
    desk.at(18.75)
    assert Event.objects.filter(kind="shift.reminded").count() == 1


def test_of_overlapping_shifts_the_one_that_runs_is_meant(desk: HelpDesk) -> None:
    desk.shift("Bridge", 13, 17, ["agent01"])
    desk.at(14)
    attendance = desk.check_in("agent01")
    assert attendance.occurrence.name == "Morning"
    assert attendance.until == MONDAY + timedelta(hours=17)
    desk.check_out("agent01")
    desk.at(15)
    assert desk.check_in("agent01").occurrence.name == "Bridge"


def test_a_night_shift_goes_over_midnight(desk: HelpDesk) -> None:
    desk.people["owl"] = desk.world.person("owl", desk.pool)
    desk.shift("Night", 23, 7, ["owl"])
    desk.at(23.5)
    (attendance,) = desk.all_in(["owl"])
    assert (attendance.occurrence.day.isoformat(), attendance.until) == ("2026-03-02", MONDAY + timedelta(hours=31))
    desk.at(2, day=1)
    assert desk.check_in("owl") == attendance


@pytest.mark.parametrize(
    ("zone", "evening", "ends"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 29, 5, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 24, 21, tzinfo=UTC), datetime(2026, 10, 25, 6, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 8, 4, tzinfo=UTC), datetime(2026, 3, 8, 11, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 3, tzinfo=UTC), datetime(2026, 11, 1, 12, tzinfo=UTC)),
    ],
)
def test_the_night_of_a_change_of_clocks_ends_when_the_wall_says_so(
    desk: HelpDesk, zone: str, evening: datetime, ends: datetime
) -> None:
    plan = desk.make("Nights", time_zone=zone, at_end="check_out", grace_minutes=0)
    desk.shift("Night", 23, 7, ["agent01"], plan)
    desk.clock.move_to(evening)
    attendance, _new = shifts.check_in(plan=plan, user=desk.people["agent01"])
    desk.settle()
    assert attendance.until == ends
    for minute in range(16, 0, -1):
        desk.clock.move_to(ends - timedelta(minutes=minute))
        desk.world.keep_time()
    reminded = Event.objects.filter(kind="shift.reminded").order_by("at")
    assert [event.facts["minutes"] for event in reminded] == ["15", "5"]
    assert ShiftAttendance.objects.present().exists()
    desk.clock.move_to(ends)
    desk.world.keep_time()
    assert not ShiftAttendance.objects.present().exists()


# -- the end of a shift ------------------------------------------------------------------------------------


def test_whoever_is_there_is_reminded_and_told_on_the_desktop(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])
    desk.at(15)
    reminded = Event.objects.filter(kind="shift.reminded").order_by("at")
    assert [event.facts["minutes"] for event in reminded] == ["15", "5"]
    told = [text for _vm, text in desk.world.driver.told]
    assert [text.split(".")[0] for text in told] == ["Your shift ends in 15 min", "Your shift ends in 5 min"]
    assert desk.present() == ["agent01"]  # the plan only reminds
    assert [one.user.username for one in desk.board().overtime] == ["agent01"]


def test_whoever_has_left_is_looked_at_no_more(desk: HelpDesk) -> None:
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desk.check_out("agent01")
    desk.at(15)
    attendance.refresh_from_db()
    assert attendance.look_at is None
    assert not Event.objects.filter(kind="shift.reminded").exists()


def test_whoever_comes_shortly_before_the_end_is_reminded_at_once(desk: HelpDesk) -> None:
    desk.at(14.95)
    desk.all_in(["agent01"])
    desk.world.keep_time()
    desk.world.keep_time()
    assert Event.objects.filter(kind="shift.reminded").count() == 1
    assert [text.split(".")[0] for _vm, text in desk.world.driver.told] == ["Your shift ends in 3 min"]


def test_after_the_grace_the_plan_checks_out_and_never_without_warning(desk: HelpDesk) -> None:
    desk.change(at_end="check_out", grace_minutes=15)
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desk.at(15.24)
    assert desk.present() == ["agent01"]
    warned = Event.objects.filter(kind="desktop.warned").order_by("at")
    assert [event.facts["minutes"] for event in warned] == ["5", "1"]
    assert any("with your shift" in text for _vm, text in desk.world.driver.told)
    desk.at(15.25)
    attendance.request.refresh_from_db()
    assert (attendance.request.end_reason, attendance.request.ending) == (EndReason.EXPIRED, "shift")
    assert desk.present() == []
    agree()


def test_whoever_still_waits_when_the_shift_is_over_leaves_the_line(desk: HelpDesk) -> None:
    desk.change(at_end="check_out", grace_minutes=5)
    desk.at(6)
    everyday = [desk.world.person(f"other{number}", desk.pool) for number in range(5)]
    for person in everyday:
        desk.world.take(person, desk.pool)
    desk.settle()
    desk.at(7)
    attendance = desk.check_in("agent01")
    desk.at(15.15)
    assert desk.present() == ["agent01"]  # told at 15:05 that the place goes
    desk.at(15.17)
    attendance.request.refresh_from_db()
    assert (attendance.request.end_reason, attendance.request.ending) == (EndReason.EXPIRED, "shift")
    agree()


def test_a_place_is_given_up_though_the_plan_says_so_only_after_the_end(desk: HelpDesk) -> None:
    desk.at(6)
    for number in range(5):
        desk.world.take(desk.world.person(f"other{number}", desk.pool), desk.pool)
    desk.settle()
    desk.at(7)
    desk.check_in("agent01")
    desk.at(16)
    assert desk.present() == ["agent01"]
    desk.change(at_end="check_out", grace_minutes=15)
    desk.world.keep_time()
    desk.change(grace_minutes=20)  # an edit takes nothing from the notice
    desk.at(16.05)
    assert desk.present() == ["agent01"]
    desk.at(16.1)
    assert desk.present() == []


def test_a_place_that_is_kept_by_another_shift_is_warned_of_anew(desk: HelpDesk) -> None:
    desk.change(at_end="check_out", grace_minutes=5)
    desk.at(6)
    for number in range(5):
        desk.world.take(desk.world.person(f"other{number}", desk.pool), desk.pool)
    desk.settle()
    desk.at(7)
    desk.check_in("agent01")
    desk.at(15.1)  # told at 15:05 that the place goes
    late = ShiftSpec("Late", Pattern(EVERY_DAY, time(15), time(16)), users=("agent01",))
    shift_plans.add_shift(plan=desk.plan, spec=late)
    desk.at(16.15)
    assert desk.present() == ["agent01"]  # told again at 16:05
    desk.at(16.17)
    assert desk.present() == []


def test_whoever_forgot_to_check_out_is_there_for_the_next_shift_when_they_say_so(desk: HelpDesk) -> None:
    desk.at(7)
    (first,) = desk.all_in(["agent01"])
    desk.at(7, day=1)
    again = desk.check_in("agent01")
    assert again == first
    assert (again.occurrence.day.isoformat(), again.until) == ("2026-03-03", MONDAY + timedelta(days=1, hours=15))
    assert not desk.board().overtime
    desk.at(15, day=1)
    reminded = Event.objects.filter(kind="shift.reminded").order_by("at")
    # On Monday nobody was at work before the end: that was told once, in the night.
    assert [event.facts["minutes"] for event in reminded] == ["0", "15", "5"]


def test_whoever_was_told_nothing_before_the_end_is_told_once_after_it(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])
    for minutes in (2, 3, 4):
        desk.clock.move_to(MONDAY + timedelta(hours=15, minutes=minutes))
        desk.world.keep_time()
    reminded = Event.objects.filter(kind="shift.reminded")
    assert [event.facts["minutes"] for event in reminded] == ["0"]


def test_workers_that_were_away_take_nothing_that_nobody_was_warned_of(desk: HelpDesk) -> None:
    desk.change(at_end="check_out", grace_minutes=0)
    desk.at(7)
    desk.all_in(["agent01", "agent02"])
    everyday = [desk.world.person(f"other{number}", desk.pool) for number in range(3)]
    for person in everyday:
        desk.world.take(person, desk.pool)
    desk.world.settle()
    waiting = desk.check_in("agent03")
    desk.clock.move_to(MONDAY + timedelta(hours=20))
    desk.world.keep_time()
    assert {"agent01", "agent03"} <= set(desk.present())
    desk.clock.move_to(MONDAY + timedelta(hours=20, minutes=4))
    desk.world.keep_time()
    assert "agent01" in desk.present()
    for minute in (5, 6, 7):
        desk.clock.move_to(MONDAY + timedelta(hours=20, minutes=minute))
        desk.world.keep_time()
    assert "agent01" not in desk.present()
    waiting.request.refresh_from_db()
    assert desk.present() == [] or waiting.request.state == RequestState.READY
    agree()


def test_a_lead_lets_somebody_stay(desk: HelpDesk) -> None:
    desk.change(at_end="check_out", grace_minutes=5)
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desk.at(14.8)
    shifts.ask_to_stay(plan=desk.plan, user=desk.people["agent01"], minutes=60, reason="A caller waits")
    assert [one.user.username for one in desk.board().stays] == ["agent01"]
    for _press in range(2):
        shifts.answer_stay(attendance=attendance, by=desk.lead, minutes=60)
    desk.at(16)
    assert desk.present() == ["agent01"]
    assert desk.board().stays == []
    reminded = Event.objects.filter(kind="shift.reminded").order_by("at")
    assert [event.facts["minutes"] for event in reminded] == ["15", "15", "5"]
    desk.at(16.1)
    assert desk.present() == []


def test_a_refused_stay_is_told_and_changes_nothing(desk: HelpDesk) -> None:
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    shifts.ask_to_stay(plan=desk.plan, user=desk.people["agent01"], minutes=60)
    shifts.answer_stay(attendance=attendance, by=desk.lead, minutes=None)
    attendance.refresh_from_db()
    assert attendance.stay_refused_at is not None
    assert attendance.leaves_at == MONDAY + timedelta(hours=15)
    for minutes in (0, 721):
        with pytest.raises(Invalid):
            shifts.ask_to_stay(plan=desk.plan, user=desk.people["agent01"], minutes=minutes)
    with pytest.raises(Conflict):
        shifts.ask_to_stay(plan=desk.plan, user=desk.people["agent02"], minutes=5)
    desk.check_out("agent01")
    with pytest.raises(Conflict):
        shifts.answer_stay(attendance=attendance, by=desk.lead, minutes=5)


# -- a plan that is edited -----------------------------------------------------------------------------------


def test_a_shift_that_is_open_keeps_its_times_when_the_plan_is_edited(desk: HelpDesk) -> None:
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desk.at(8)
    spec = ShiftSpec("Morning", Pattern(EVERY_DAY, time(7), time(12)), users=tuple(TEN[:5]))
    shift_plans.change_shift(shift=desk.morning, spec=spec)
    attendance.refresh_from_db()
    assert attendance.until == MONDAY + timedelta(hours=15)
    assert ShiftOccurrence.objects.get(name="Morning").ends_at == MONDAY + timedelta(hours=15)
    desk.check_out("agent01")
    desk.at(7, day=1)
    assert desk.check_in("agent01").until == MONDAY + timedelta(days=1, hours=12)


def test_the_roster_acts_at_once(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01", "agent02"])
    spec = ShiftSpec("Morning", Pattern(EVERY_DAY, time(7), time(15)), users=("agent02", "agent06"))
    desk.at(9)
    shift_plans.change_shift(shift=desk.morning, spec=spec)
    expected = ShiftDuty.objects.filter(occurrence__name="Morning").values_list("user__username", flat=True)
    assert sorted(expected) == ["agent01", "agent02", "agent06"]  # agent01 came, that stays true
    assert not desk.board().absent  # agent06 is expected since this moment only
    desk.at(9.25)
    assert [row.user.username for row in desk.board().absent] == ["agent06"]
    assert desk.check_in("agent06").occurrence.name == "Morning"


def test_a_shift_that_is_moved_to_later_the_same_day_takes_place_again(desk: HelpDesk) -> None:
    desk.change(at_end="check_out")
    desk.at(15)
    spec = ShiftSpec("Morning", Pattern(EVERY_DAY, time(17), time(20)), users=tuple(TEN[:5]))
    shift_plans.change_shift(shift=desk.morning, spec=spec)
    desk.at(17)
    (attendance,) = desk.all_in(["agent01"])
    assert attendance.until == MONDAY + timedelta(hours=20)
    desk.at(19)
    assert desk.present() == ["agent01"]


def test_a_shift_that_is_renamed_while_it_runs_is_not_begun_again(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])
    specs = [
        ShiftSpec("Early", Pattern(EVERY_DAY, time(7), time(15)), users=tuple(TEN[:5])),
        ShiftSpec("Afternoon", Pattern(EVERY_DAY, time(15), time(23)), users=tuple(TEN[5:])),
    ]
    shift_plans.put_shifts(plan=desk.plan, specs=specs)
    desk.at(8)
    assert len(desk.board().duties) == 5
    assert desk.plan.shifts.get(name="Early").pk == desk.morning.pk


def test_whoever_works_a_duty_keeps_it_when_the_roster_changes(desk: HelpDesk) -> None:
    afternoon = ShiftSpec("Afternoon", Pattern(EVERY_DAY, time(15), time(23)), users=("agent01", *TEN[5:]))
    shift_plans.change_shift(shift=desk.afternoon, spec=afternoon)
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desk.at(18)
    shift_plans.change_shift(shift=desk.afternoon, spec=replace(afternoon, users=tuple(TEN[5:])))
    attendance.refresh_from_db()
    assert attendance.until == MONDAY + timedelta(hours=23)


def test_an_account_that_was_expected_somewhere_is_not_removed(desk: HelpDesk) -> None:
    desk.people["new"] = desk.world.person("new", desk.pool)
    desk.shift("Extra", 9, 12, ["new"])
    desk.at(10)
    with pytest.raises(Conflict) as refusal:
        users.remove(user=desk.people["new"], by=None)
    assert refusal.value.code == "IN_USE"


def test_the_trouble_of_one_plan_is_not_that_of_others(desk: HelpDesk) -> None:
    other = desk.make("Another")
    ShiftPlan.objects.filter(pk=other.pk).update(time_zone="Gone/Away")
    desk.shift("Lost", 7, 15, ["agent01"], other)
    desk.at(7)
    assert ShiftOccurrence.objects.get().name == "Morning"


def test_grace_and_what_is_done_at_the_end_act_at_once(desk: HelpDesk) -> None:
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desk.at(14)
    desk.change(at_end="check_out", grace_minutes=10)
    attendance.request.refresh_from_db()
    assert attendance.request.shift_ends_at == MONDAY + timedelta(hours=15, minutes=10)
    desk.change(at_end="remind")
    attendance.request.refresh_from_db()
    assert attendance.request.shift_ends_at is None
    desk.at(16)
    assert desk.present() == ["agent01"]


def test_who_was_late_stays_so_when_the_grace_is_changed(desk: HelpDesk) -> None:
    desk.at(7.5)
    desk.all_in(["agent01"])
    assert [row.user.username for row in desk.board().late] == ["agent01"]
    desk.change(grace_minutes=60)
    assert [row.user.username for row in desk.board().late] == ["agent01"]


def test_somebody_who_was_disabled_may_stay_on_a_roster_and_comes_to_none(desk: HelpDesk) -> None:
    gone = desk.people["agent01"]
    gone.is_active = False
    gone.save(update_fields=["is_active"])
    spec = ShiftSpec("Morning", Pattern(EVERY_DAY, time(7), time(15)), users=("agent01", "agent02"))
    shift_plans.change_shift(shift=desk.morning, spec=spec)
    assert desk.morning.members.count() == 2
    with pytest.raises(Invalid, match="“agent01”"):
        desk.shift("Extra", 9, 10, ["agent01"])
    desk.at(7)
    assert "agent01" not in [row.user.username for row in desk.board().duties]


def test_a_shift_that_is_removed_while_it_runs_goes_on_to_its_end(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])
    shift_plans.remove_shift(shift=desk.morning)
    assert desk.check_in("agent02").until == MONDAY + timedelta(hours=15)
    assert [row.user.username for row in desk.board().duties] == TEN[:5]
    desk.at(7, day=1)
    with pytest.raises(Conflict):
        desk.check_in("agent03")


def test_a_plan_is_not_removed_under_those_who_are_there(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])
    with pytest.raises(Conflict, match="1 person is checked in"):
        shift_plans.remove(plan=desk.plan)
    desk.check_out("agent01")
    shift_plans.remove(plan=desk.plan)
    assert not ShiftPlan.objects.exists()
    assert DesktopRequest.objects.exists()


def test_the_record_names_what_was_changed_of_a_shift(desk: HelpDesk) -> None:
    spec = ShiftSpec("Morning", Pattern(EVERY_DAY, time(7), time(15)), users=tuple(TEN[:5]))
    for given in (spec, replace(spec, users=tuple(TEN[:4])), replace(spec, name="Early", users=tuple(TEN[:4]))):
        shift_plans.change_shift(shift=desk.morning, spec=given)
        desk.clock.shift(1)
    changed = Event.objects.filter(kind="object.changed").order_by("at")
    assert [event.facts["fields"] for event in changed] == ["roster", "name"]


def test_groups_are_rosters_too_and_grow_while_a_shift_runs(desk: HelpDesk) -> None:
    from django.contrib.auth.models import Group

    group = Group.objects.create(name="night crew")
    spec = ShiftSpec("Night", Pattern(EVERY_DAY, time(23), time(7)), groups=("night crew",))
    shift_plans.add_shift(plan=desk.plan, spec=spec)
    desk.at(23)
    group.user_set.add(desk.people["agent09"])
    assert desk.check_in("agent09").occurrence.name == "Night"
    assert ShiftPlan.objects.with_member(desk.people["agent09"]).get() == desk.plan


# -- bad plans -----------------------------------------------------------------------------------------------


def test_a_plan_that_makes_no_sense_says_everything_at_once(desk: HelpDesk) -> None:
    with pytest.raises(Invalid) as refusal:
        desk.make("", time_zone="Nowhere", early_minutes=-1, at_end="explode")
    assert {detail["field"] for detail in refusal.value.details} == {"name", "time_zone", "early_minutes", "at_end"}
    with pytest.raises(Conflict):
        desk.make("Help desk")


def test_in_a_manual_pool_nobody_is_checked_out_by_the_plan(desk: HelpDesk) -> None:
    manual = desk.world.pool(1, name="workbenches", type="manual")
    with pytest.raises(Invalid, match="an administrator returns the desktops"):
        desk.make("Benches", pool=manual, at_end="check_out")
    plan = desk.make("Benches", pool=manual)
    grants.grant(role="UserRole", to=desk.people["agent01"], on=manual)
    desk.shift("Bench", 7, 15, ["agent01"], plan)
    desk.at(7)
    attendance, _new = shifts.check_in(plan=plan, user=desk.people["agent01"])
    desk.settle()
    shifts.check_out(plan=plan, user=desk.people["agent01"])
    attendance.request.refresh_from_db()
    assert attendance.request.state == RequestState.READY  # until an administrator returns it
    assert attendance.request.return_asked_at is not None
    assert not ShiftAttendance.objects.present().exists()


def test_a_plan_has_so_many_shifts_and_no_more(desk: HelpDesk) -> None:
    spec = Pattern(EVERY_DAY, time(1), time(2))
    many = [ShiftSpec(f"Shift {number}", spec) for number in range(51)]
    with pytest.raises(Invalid, match="at most 50 shifts"):
        shift_plans.put_shifts(plan=desk.plan, specs=many)
    shift_plans.put_shifts(plan=desk.plan, specs=many[:50])
    with pytest.raises(Invalid, match="at most 50 shifts"):
        shift_plans.add_shift(plan=desk.plan, spec=many[50])


def test_a_file_of_shifts_is_taken_whole_or_not_at_all(desk: HelpDesk) -> None:
    good = ShiftSpec("Morning", Pattern((0,), time(6), time(14)), users=("agent01",))
    bad = ShiftSpec("Evening", Pattern((), time(6), time(6)), users=("nobody",), groups=("nothing",))
    with pytest.raises(Invalid) as refusal:
        shift_plans.put_shifts(plan=desk.plan, specs=[good, good, bad])
    text = refusal.value.message
    assert "two shifts named Morning" in text
    assert "Evening: Choose at least one day" in text
    assert list(desk.plan.shifts.values_list("name", "starts")) == [("Morning", time(7)), ("Afternoon", time(15))]
    with pytest.raises(Invalid, match="“nobody”"):
        wrong = ShiftSpec("Evening", Pattern((1,), time(6), time(7)), users=("nobody",))
        shift_plans.put_shifts(plan=desk.plan, specs=[good, wrong])
    shift_plans.put_shifts(plan=desk.plan, specs=[good], time_zone="Asia/Seoul")
    desk.plan.refresh_from_db()
    assert desk.plan.time_zone == "Asia/Seoul"
    kept = desk.plan.shifts.get()
    assert (kept.pk, kept.starts) == (desk.morning.pk, time(6))  # the same shift, changed


# -- handing over --------------------------------------------------------------------------------------------


def test_what_is_handed_over_is_seen_and_confirmed_by_the_next_shift(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])
    _left, handover = desk.check_out("agent01", note="Printer 3 is down", points=["Call back room 12", " "])
    again = desk.check_out("agent01", note="Printer 3 is down", points=["Call back room 12"])[1]
    assert again == handover
    (seen,) = desk.board("agent06").handovers
    assert (seen.note, [point.text for point in seen.points.all()]) == ("Printer 3 is down", ["Call back room 12"])
    with pytest.raises(Conflict) as refusal:
        shifts.confirm(handover=handover, by=desk.people["agent01"])
    assert refusal.value.code == "OWN_HANDOVER"
    for _press in range(2):
        shifts.confirm(handover=handover, by=desk.people["agent06"])
        shifts.settle(point=handover.points.get(), by=desk.people["agent06"])
    handover.refresh_from_db()
    assert handover.confirmed_by == desk.people["agent06"]
    assert Event.objects.filter(kind__in=("shift.confirmed", "shift.settled")).count() == 2


def test_what_cannot_be_handed_over_leaves_the_desktop_where_it_is(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])
    with pytest.raises(Invalid) as refusal:
        desk.check_out("agent01", note="x" * 5000, points=["y" * 400])
    assert [detail["field"] for detail in refusal.value.details] == ["note", "points"]
    assert desk.present() == ["agent01"]


# -- leads -----------------------------------------------------------------------------------------------------


def test_a_lead_asks_for_a_desktop_and_takes_it_back_with_a_reason(desk: HelpDesk) -> None:
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desktops.ask_back(request=attendance.request, by=desk.lead)
    desk.world.settle()
    assert [text for _vm, text in desk.world.driver.told][-1].startswith("lead asks you to return")
    desktops.give_back(request=attendance.request, by=desk.lead, reason="You are needed elsewhere")
    desk.world.settle()
    attendance.request.refresh_from_db()
    assert attendance.request.returned_by == desk.lead
    assert attendance.request.return_reason == "You are needed elsewhere"
    assert Event.objects.get(kind="desktop.returned_for").facts["reason"] == "You are needed elsewhere"
    assert desk.present() == []


def test_nobody_is_put_out_of_the_line(desk: HelpDesk) -> None:
    desk.at(6)
    for number in range(5):
        desk.world.take(desk.world.person(f"other{number}", desk.pool), desk.pool)
    desk.settle()
    desk.at(7)
    attendance = desk.check_in("agent01")
    desk.world.settle()
    with pytest.raises(Conflict) as refusal:
        desktops.give_back(request=attendance.request, by=desk.lead, reason="no")
    assert refusal.value.code == "IN_LINE"


@pytest.mark.parametrize("used", [False, True])
def test_a_faulty_seat_is_offered_to_nobody_until_it_is_cleared(desk: HelpDesk, used: bool) -> None:
    desk.at(7)
    desk.world.settle()
    if used:
        (attendance,) = desk.all_in(["agent01"])
        attendance.request.refresh_from_db()
        vm = attendance.request.vm
    else:
        vm = VirtualMachine.objects.prestarted().first()
    vms.mark_faulty(vm=vm, reason="The screen flickers", by=desk.lead)
    desk.world.settle()
    if used:  # it stays with its user until they leave
        assert desk.holders() == ["agent01"]
        desk.check_out("agent01")
        desk.world.settle()
    vm.refresh_from_db()
    assert (vm.hold, vm.hold_reason, vm.run_mode) == (VmHold.FAULTY, "The screen flickers", None)
    assert [seat.state for seat in desk.board().seats].count("fault") == 1
    desk.all_in(TEN[:5])
    assert len(desk.holders()) == 4
    vms.clear_fault(vm=vm, by=desk.lead)
    desk.world.settle()
    assert desk.holders() == TEN[:5]


def test_a_fault_that_is_cleared_while_the_seat_is_used_leaves_it_to_its_user(desk: HelpDesk) -> None:
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    attendance.request.refresh_from_db()
    vm = attendance.request.vm
    vms.mark_faulty(vm=vm, reason="odd", by=desk.lead)
    vms.clear_fault(vm=vm, by=desk.lead)
    desk.world.settle()
    assert desk.holders() == ["agent01"]
    desk.check_out("agent01")
    desk.world.settle()
    assert VirtualMachine.objects.get(pk=vm.pk).hold is None


def test_a_fault_that_is_cleared_offers_no_changes_of_an_administrator(desk: HelpDesk) -> None:
    desk.world.settle()
    pools.change(pool=desk.pool, changes={"prestarted_vms": 0})
    vm = desk.pool.vms.order_by("number").last()
    vms.release(vm=vm, by=desk.lead)
    desk.world.settle()
    vms.start(vm=vm, by=desk.lead)
    desk.world.settle()
    vms.mark_faulty(vm=vm, reason="odd", by=desk.lead)
    vms.stop(vm=VirtualMachine.objects.get(pk=vm.pk), by=desk.lead, at_once=True)
    desk.world.settle()
    assert VirtualMachine.objects.get(pk=vm.pk).hold == VmHold.FAULTY
    vms.clear_fault(vm=vm, by=desk.lead)
    assert VirtualMachine.objects.get(pk=vm.pk).hold == VmHold.ADMINISTRATOR


def test_a_faulty_seat_can_be_looked_into_rebuilt_and_taken_out(desk: HelpDesk) -> None:
    desk.world.settle()
    first, second = VirtualMachine.objects.prestarted()[:2]
    for vm in (first, second):
        vms.mark_faulty(vm=vm, reason="odd", by=desk.lead)
    desk.world.settle()
    vms.rebuild(vm=VirtualMachine.objects.get(pk=first.pk), by=desk.lead)
    desk.world.settle()
    assert VirtualMachine.objects.get(pk=first.pk).hold == VmHold.FAULTY  # until somebody says that it is sound
    vms.start(vm=VirtualMachine.objects.get(pk=first.pk), by=desk.lead)
    vms.detach(vms=[VirtualMachine.objects.get(pk=second.pk)], by=desk.lead)
    second.refresh_from_db()
    assert (second.fault, second.hold) == ("", None)


def test_a_fault_needs_a_reason(desk: HelpDesk) -> None:
    with pytest.raises(Invalid):
        vms.mark_faulty(vm=desk.pool.vms.first(), reason=" ", by=desk.lead)


# -- what else ends a desktop ----------------------------------------------------------------------------------


def test_whoever_loses_the_desktop_otherwise_is_not_there_any_more_and_may_come_again(desk: HelpDesk) -> None:
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    attendance.request.refresh_from_db()
    desk.world.driver.guest_shuts_down(attendance.request.vm_id, crash=True)
    desk.world.run("broker.converge", attendance.request.vm_id)
    desk.world.settle()
    assert desk.present() == []
    agree()
    desk.all_in(["agent01"])
    assert desk.present() == ["agent01"]
    assert len(desk.board().duties) == 5


def test_whoever_loses_the_permission_is_checked_out_with_the_desktop(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])
    grants.revoke(role="UserRole", to=desk.people["agent01"], on=desk.pool)
    desk.world.settle()
    assert desk.present() == []
    agree()


def test_who_did_not_come_is_written_down_while_nobody_looked(desk: HelpDesk) -> None:
    desk.at(7.5)
    assert ShiftOccurrence.objects.get().name == "Morning"
    assert [row.user.username for row in desk.board().absent] == TEN[:5]
