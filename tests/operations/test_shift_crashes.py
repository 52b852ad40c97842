"""Whatever step of checking in, checking out or handing over is cut off: attendance and desktop tell the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from broker.models import DesktopRequest, ShiftAttendance, ShiftHandover
from broker.operations import shifts
from broker.states import LIVE
from tests.help_desk import MONDAY, HelpDesk, agree

MOST_STATEMENTS = 200


class Cut(Exception):
    """The process dies here."""


@contextmanager
def cut_off_at(statement: int) -> Iterator[list[int]]:
    """Nothing is executed from this statement on; what was before is rolled back, as when a process dies."""
    seen = [0]

    def count(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        seen[0] += 1
        if seen[0] >= statement:
            raise Cut
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        yield seen


def cut_everywhere(work: Callable[[], Any], check: Callable[[], None]) -> int:
    """Do it again and again, each time cut off one statement later, until it comes to its end; how many cuts."""
    for statement in range(1, MOST_STATEMENTS):
        try:
            with cut_off_at(statement):
                work()
        except Cut:
            check()
            continue
        check()
        return statement - 1
    raise AssertionError("it never comes to its end")


def test_a_check_in_that_is_cut_off_took_nothing(desk: HelpDesk) -> None:
    desk.at(7)

    def check() -> None:
        agree()
        assert ShiftAttendance.objects.count() == DesktopRequest.objects.count() <= 1

    assert cut_everywhere(lambda: desk.check_in("agent01"), check) > 10
    assert desk.present() == ["agent01"]
    desk.world.lose_all_messages()  # it died right after it was written
    desk.world.sweep()
    assert desk.holders() == ["agent01"]


def test_a_check_out_that_is_cut_off_handed_nothing_over_and_left_nothing(desk: HelpDesk) -> None:
    desk.at(7)
    desk.all_in(["agent01"])

    def check() -> None:
        agree()
        left = not ShiftAttendance.objects.present().exists()
        assert ShiftHandover.objects.count() == int(left)

    def leave() -> None:
        desk.check_out("agent01", note="Printer 3 is down", points=["Call back room 12"])

    assert cut_everywhere(leave, check) > 10
    assert desk.present() == []
    desk.world.lose_all_messages()
    desk.world.sweep()
    assert not DesktopRequest.objects.filter(state__in=(*LIVE, "returning")).exists()


@pytest.mark.parametrize("waits", [False, True])
def test_an_end_of_shift_that_is_cut_off_is_done_later(desk: HelpDesk, waits: bool) -> None:
    desk.change(at_end="check_out", grace_minutes=5)
    if waits:
        desk.at(6)
        for number in range(5):
            desk.world.take(desk.world.person(f"other{number}", desk.pool), desk.pool)
        desk.settle()
    desk.at(7)
    (attendance,) = desk.all_in(["agent01"])
    desk.at(15)
    desk.clock.move_to(MONDAY + timedelta(hours=15, minutes=4, seconds=30))
    desk.world.keep_time()
    # A place in line is given up five minutes after that was said.
    desk.clock.move_to(MONDAY + timedelta(hours=15, minutes=5))
    if waits:
        desk.world.keep_time()
        desk.clock.move_to(MONDAY + timedelta(hours=15, minutes=10))

    def end() -> None:
        if waits:
            shifts.keep(attendance_id=attendance.pk)
        else:
            desk.world.run("broker.deadline", attendance.request_id)

    assert cut_everywhere(end, agree) > 5
    desk.world.lose_all_messages()
    desk.world.sweep()
    assert desk.present() == []
    attendance.request.refresh_from_db()
    assert (attendance.request.end_reason, attendance.request.ending) == ("expired", "shift")
