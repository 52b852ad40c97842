"""People and workers at the same time, on real transactions: nobody meets an error that is not a rule's."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, F
from django.utils import timezone

from broker.drivers.hypervisor import HypervisorError
from broker.errors import Conflict
from broker.loops import queue
from broker.loops.converge import converge
from broker.models import DesktopRequest, VirtualMachine
from broker.operations import deadlines, desktops
from broker.states import HOLDING, LIVE, NOT_READY, EndReason, RequestState
from tests.world import World

PEOPLE, WORKERS, ROUNDS = 4, 3, 25


@pytest.mark.req("R004", "R019", "R060")
def test_people_and_workers_never_break_a_promise_or_meet_a_fault(world: World) -> None:
    pool = world.pool(3, prestarted_vms=1)
    people = world.people(PEOPLE, pool)
    vms = list(VirtualMachine.objects.values_list("pk", flat=True))
    really_start = world.driver.start

    def sometimes_start(spec: object) -> object:
        if random.random() < 0.3:
            raise HypervisorError("the start failed, as the test wants it")
        return really_start(spec)  # type: ignore[arg-type]

    world.driver.start = sometimes_start  # type: ignore[method-assign, assignment]

    def person(number: int) -> None:
        for _round in range(ROUNDS):
            try:
                wish = world.take(people[number], pool)
            except Conflict as refusal:
                assert refusal.code == "LIMIT_REACHED"
                wish = DesktopRequest.objects.filter(user=people[number], state__in=LIVE).first()
            if wish is not None and random.random() < 0.7:
                # What a worker did meanwhile may end it first; that is a rule's refusal, never an error.
                try:
                    desktops.give_back(request=wish)
                except Conflict as refusal:
                    assert refusal.code == "ENDED"

    def worker(number: int) -> None:
        for _round in range(ROUNDS * 4):
            if random.random() < 0.3:
                queue.serve_pool(pool.pk)
            else:
                converge(random.choice(vms))

    def run(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(PEOPLE + WORKERS) as threads:
        running = [threads.submit(run, person, number) for number in range(PEOPLE)]
        running += [threads.submit(run, worker, number) for number in range(WORKERS)]
    for one in running:
        one.result()
    held = DesktopRequest.objects.filter(state__in=HOLDING, vm__isnull=False).order_by()
    assert not held.values("vm").annotate(n=Count("pk")).filter(n__gt=1).exists()
    live = DesktopRequest.objects.filter(state__in=LIVE).order_by()
    assert not live.values("user").annotate(n=Count("pk")).filter(n__gt=1).exists()
    waiting = DesktopRequest.objects.filter(state=RequestState.QUEUED).order_by("ticket").first()
    if waiting is not None:
        assert not DesktopRequest.objects.filter(ticket__gt=waiting.ticket, assigned_at__isnull=False).exists()


class Line:
    """What somebody sees who looks at a pool's line again and again, one statement at a time."""

    def __init__(self) -> None:
        self.ahead: dict[int, int] = {}
        self.unserved: dict[int, int] = {}
        self.looks = 0

    def look(self) -> None:
        rows = DesktopRequest.objects.filter(state__in=LIVE).with_place()
        seen = list(rows.values_list("ticket", "state", "vm", "attempts", "ahead"))
        for ticket, state, _vm, _attempts, ahead in seen:
            if state in NOT_READY:
                assert ahead <= self.ahead.get(ticket, ahead), f"the place of {ticket} got worse"
                self.ahead[ticket] = ahead
        unserved = {ticket: attempts for ticket, _state, vm, attempts, _ahead in seen if vm is None}
        served = {ticket: attempts for ticket, _state, vm, attempts, _ahead in seen if vm is not None}
        # Whoever is unserved as before, with no failed start more, was never served between the two looks.
        passed_over = [ticket for ticket, attempts in unserved.items() if self.unserved.get(ticket) == attempts]
        went_ahead = [ticket for ticket, attempts in served.items() if self.unserved.get(ticket) == attempts]
        if passed_over and went_ahead:
            assert max(went_ahead) < min(passed_over), f"{max(went_ahead)} overtook {min(passed_over)}"
        self.unserved = unserved
        self.looks += 1


@pytest.mark.req("R004", "R019")
def test_nobodys_place_gets_worse_while_people_come_and_go_and_starts_fail_and_holds_expire(world: World) -> None:
    pool = world.pool(3)
    people = world.people(PEOPLE * 2, pool)
    vms = list(VirtualMachine.objects.values_list("pk", flat=True))
    really_start = world.driver.start
    failing = threading.Event()
    failing.set()

    def sometimes_start(spec: object) -> object:
        if failing.is_set() and random.random() < 0.3:
            raise HypervisorError("the start failed, as the test wants it")
        return really_start(spec)  # type: ignore[arg-type]

    world.driver.start = sometimes_start  # type: ignore[method-assign, assignment]
    stop = threading.Event()

    def person(number: int) -> None:
        for _round in range(ROUNDS):
            try:
                wish = world.take(people[number], pool)
            except Conflict as refusal:
                assert refusal.code == "LIMIT_REACHED"
                continue
            if random.random() < 0.3:
                try:
                    desktops.give_back(request=wish)
                except Conflict as refusal:
                    assert refusal.code == "ENDED"

    def worker(_number: int) -> None:
        while not stop.is_set():
            if random.random() < 0.3:
                queue.serve_pool(pool.pk)
            else:
                converge(random.choice(vms))

    def clock(_number: int) -> None:
        """Holds run out; now and then somebody connects, or puts the end off, at the very moment."""
        while not stop.is_set():
            for wish in DesktopRequest.objects.filter(state=RequestState.READY):
                late = DesktopRequest.objects.filter(pk=wish.pk, connected_at=None)
                late.update(ready_at=F("ready_at") - timedelta(hours=1), look_at=timezone.now())
                if random.random() < 0.2:
                    deadlines.record_viewers(vm_id=wish.vm_id, viewers=1)
                if random.random() < 0.2:
                    try:
                        deadlines.extend(request=wish)
                    except Conflict as refusal:
                        assert refusal.code in ("NO_DEADLINE", "NOT_EXTENDABLE")
                deadlines.act(request_id=wish.pk)
            # Whoever connected keeps it, as long as it is not given back.
            for wish in DesktopRequest.objects.filter(state=RequestState.READY, connected_at__isnull=False):
                try:
                    desktops.give_back(request=wish)
                except Conflict as refusal:
                    assert refusal.code == "ENDED"

    line = Line()

    def onlooker(_number: int) -> None:
        while not stop.is_set():
            line.look()

    def run(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException:
            stop.set()
            raise
        finally:
            connection.close()

    with ThreadPoolExecutor(len(people) + WORKERS + 2) as threads:
        background: list[Future[Any]] = [threads.submit(run, worker, number) for number in range(WORKERS)]
        background += [threads.submit(run, clock, 0), threads.submit(run, onlooker, 0)]
        coming = [threads.submit(run, person, number) for number in range(len(people))]
        for one in coming:
            one.exception()
        failing.clear()
        # Nobody comes any more: whoever still waits is served, and all of it comes to an end.
        give_up = timezone.now() + timedelta(seconds=180)
        while DesktopRequest.objects.not_ended().exists() and timezone.now() < give_up and not stop.is_set():
            VirtualMachine.objects.filter(hold="error").update(hold=None, failures=0)
            stop.wait(0.2)
        stop.set()
    for thread in (*coming, *background):
        thread.result()
    assert line.looks > 1
    assert not DesktopRequest.objects.not_ended().exists(), "somebody was lost in line"
    reasons = set(DesktopRequest.objects.values_list("end_reason", flat=True))
    assert reasons <= {EndReason.CANCELLED, EndReason.RETURNED, EndReason.EXPIRED}
    expired = DesktopRequest.objects.filter(end_reason=EndReason.EXPIRED)
    assert not expired.filter(connected_at__isnull=False).exists(), "somebody who was there was thrown out"
    assert not DesktopRequest.objects.exclude(end_reason=EndReason.EXPIRED).filter(ending__isnull=False).exists()
