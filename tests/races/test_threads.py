"""People and workers at the same time, on real transactions: nobody meets an error that is not a rule's."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.db.models import Count

from broker.drivers.hypervisor import HypervisorError
from broker.errors import Conflict
from broker.loops import queue
from broker.loops.converge import converge
from broker.models import DesktopRequest, VirtualMachine
from broker.operations import desktops
from broker.states import HOLDING, LIVE, RequestState
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
