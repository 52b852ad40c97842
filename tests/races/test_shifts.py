"""A change of shift with everybody at once, double clicks included, on real transactions."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import time

import pytest
from django.db import connection
from django.db.models import Count

from broker.errors import Conflict
from broker.loops import queue
from broker.loops.converge import converge
from broker.models import DesktopRequest, Event, ShiftAttendance, ShiftHandover, VirtualMachine
from broker.operations import shift_plans, shifts
from broker.rules.shifts import Pattern, ShiftSpec
from broker.states import HOLDING, LIVE, RequestState
from tests.help_desk import EVERY_DAY, TEN, agree
from tests.world import World

WORKERS, ROUNDS = 2, 12
# Together they are always: whenever the test runs, everybody is on duty.
HALVES = (("Early half", time(0), time(12)), ("Late half", time(12), time(0)))


@pytest.mark.req("R016", "R017", "R018", "R019")
def test_people_who_check_in_and_out_at_once_never_disagree_with_their_desktops(world: World) -> None:
    pool = world.pool(5, prestarted_vms=3)
    people = world.people(10, pool)
    plan = shift_plans.create(pool=pool, name="Help desk", time_zone="UTC")
    for name, starts, ends in HALVES:
        spec = ShiftSpec(name, Pattern(EVERY_DAY, starts, ends), users=tuple(TEN))
        shift_plans.add_shift(plan=plan, spec=spec)
    vms = list(VirtualMachine.objects.values_list("pk", flat=True))

    def person(number: int) -> None:
        user = people[number // 2]  # two windows each: every click is a double click
        for turn in range(ROUNDS):
            if turn % 2 == 0:
                attendance, _new = shifts.check_in(plan=plan, user=user)
                assert attendance.request.user_id == user.pk
            else:
                try:
                    shifts.check_out(plan=plan, user=user, note=f"note of turn {turn}")
                except Conflict as refusal:
                    assert refusal.code == "NOT_CHECKED_IN"

    def worker(_number: int) -> None:
        for _turn in range(ROUNDS * 10):
            if random.random() < 0.4:
                queue.serve_pool(pool.pk)
            else:
                converge(random.choice(vms))

    def run(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(run, person, number) for number in range(6)]
        running += [threads.submit(run, worker, number) for number in range(WORKERS)]
    for one in running:
        one.result()
    agree()
    live = DesktopRequest.objects.filter(state__in=LIVE).order_by()
    assert not live.values("user").annotate(count=Count("pk")).filter(count__gt=1).exists()
    held = DesktopRequest.objects.filter(state__in=HOLDING, vm__isnull=False).order_by()
    assert not held.values("vm").annotate(count=Count("pk")).filter(count__gt=1).exists()
    assert ShiftAttendance.objects.count() == DesktopRequest.objects.count()
    assert Event.objects.filter(kind="shift.checked_in").count() == ShiftAttendance.objects.count()
    twice = ShiftHandover.objects.values("attendance", "note").annotate(count=Count("pk")).filter(count__gt=1)
    assert not twice.order_by().exists()
    assert Event.objects.filter(kind="shift.handed_over").count() == ShiftHandover.objects.count()
    world.settle()
    for user in people[:3]:
        shifts.check_out(plan=plan, user=user)
    world.settle()
    world.sweep()
    assert not DesktopRequest.objects.exclude(state=RequestState.ENDED).exists()
