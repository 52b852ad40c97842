"""Take, wait, be served in order, give back: the promises of DESIGN 1.2, 1.3 and 5."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from broker import access, grants, jobs
from broker.drivers.hypervisor import HypervisorError
from broker.errors import Conflict
from broker.loops import host_health
from broker.loops.converge import converge
from broker.models import DesktopRequest, Event, Job, TemplateVersion, VirtualMachine
from broker.operations import desktops, pools, vms
from broker.states import VmHold
from tests.world import World


def state(request: DesktopRequest) -> str:
    request.refresh_from_db()
    return request.state


def place(request: DesktopRequest) -> int:
    return DesktopRequest.objects.with_place().get(pk=request.pk).ahead + 1


@pytest.mark.req("R003", "R016", "R019")
def test_each_of_five_gets_another_vm_and_the_sixth_waits_at_place_one(world: World) -> None:
    pool = world.pool(5)
    wishes = [world.take(person, pool) for person in world.people(6, pool)]
    world.settle()
    assert [state(wish) for wish in wishes] == ["ready"] * 5 + ["queued"]
    assert len({wish.vm_id for wish in wishes[:5]}) == 5
    assert place(wishes[5]) == 1


@pytest.mark.req("R004", "R018")
def test_whoever_asked_first_gets_the_next_returned_desktop(world: World) -> None:
    pool = world.pool(1)
    first, second, third = (world.take(person, pool) for person in world.people(3, pool))
    world.settle()
    assert (state(second), place(second), state(third), place(third)) == ("queued", 1, "queued", 2)
    desktops.give_back(request=first)
    world.settle()
    assert (state(first), first.end_reason) == ("ended", "returned")
    assert state(second) == "ready"
    assert (state(third), place(third)) == ("queued", 1)


@pytest.mark.req("R005")
def test_leaving_the_line_moves_the_others_up(world: World) -> None:
    pool = world.pool(1)
    _first, second, third = (world.take(person, pool) for person in world.people(3, pool))
    world.settle()
    desktops.give_back(request=second)
    assert (state(second), second.end_reason) == ("ended", "cancelled")
    assert place(third) == 1


def test_a_place_counts_those_who_asked_earlier_and_are_not_ready_yet(world: World) -> None:
    world.driver.agent_answers = False
    pool = world.pool(1)
    first, second = (world.take(person, pool) for person in world.people(2, pool))
    world.settle()
    assert (state(first), state(second), place(second)) == ("starting", "queued", 2)
    world.driver.agent_answers = True
    world.sweep()
    assert (state(first), place(second)) == ("ready", 1)


@pytest.mark.parametrize(
    ("ready_when", "waits"), [("agent", [2.0, 2.0, 2.0, 3.0, 5.0]), ("serial", [0.7, 0.7, 0.7, 0.7, 0.7])]
)
def test_the_longer_a_guest_boots_the_less_often_it_is_looked_at(
    world: World, clock: Any, monkeypatch: pytest.MonkeyPatch, ready_when: str, waits: list[float]
) -> None:
    """Where its agent tells when it comes; what tells nothing is asked as often as before."""
    TemplateVersion.objects.update(ready_when=ready_when, ready_text="never said")
    world.driver.agent_answers = False
    pool = world.pool(1)
    world.take(world.people(1, pool)[0], pool)
    world.settle()
    asked: list[float] = []
    monkeypatch.setattr(jobs, "look_again", lambda vm_id, seconds: asked.append(seconds))
    for passed in (1, 3, 6, 10, 80):
        clock.shift(passed)
        converge(pool.vms.get().pk)
    assert asked == pytest.approx(waits)


@pytest.mark.req("R025")
def test_the_same_person_may_get_another_member_next_time(world: World) -> None:
    pool = world.pool(3)
    person, other = world.people(2, pool)
    first = world.take(person, pool)
    world.settle()
    desktops.give_back(request=first)
    world.settle()
    between = world.take(other, pool)
    world.settle()
    second = world.take(person, pool)
    world.settle()
    for wish in (first, between, second):
        wish.refresh_from_db()
    assert between.vm == first.vm
    assert second.vm != first.vm


@pytest.mark.req("R026", "R060")
def test_a_user_holds_at_most_what_the_pool_allows(world: World) -> None:
    pool = world.pool(5, max_vms_per_user=2)
    [person] = world.people(1, pool)
    world.take(person, pool)
    second = world.take(person, pool)
    with pytest.raises(Conflict, match="maximum number of VMs") as refusal:
        world.take(person, pool)
    assert refusal.value.code == "LIMIT_REACHED"
    world.settle()
    desktops.give_back(request=second)
    world.take(person, pool)


def test_a_repeat_with_the_same_key_is_the_same_wish_for_a_day(world: World) -> None:
    pool = world.pool(5, max_vms_per_user=2)
    [person] = world.people(1, pool)
    wish, created = desktops.take(user=person, pool=pool, idempotency_key="k")
    again, created_again = desktops.take(user=person, pool=pool, idempotency_key="k")
    assert (wish.pk, created, created_again) == (again.pk, True, False)
    DesktopRequest.objects.update(requested_at=timezone.now() - timedelta(hours=25))
    later, created_later = desktops.take(user=person, pool=pool, idempotency_key="k")
    assert created_later and later.pk != wish.pk


def test_a_key_of_another_pool_is_refused(world: World) -> None:
    pool, other = world.pool(1), world.pool(1, name="other")
    [person] = world.people(1, pool)
    world.take(person, pool, idempotency_key="k")
    with pytest.raises(Conflict) as refusal:
        world.take(person, other, idempotency_key="k")
    assert refusal.value.code == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.req("R032")
def test_a_prestarted_vm_is_handed_out_at_once_with_the_same_domain(world: World) -> None:
    pool = world.pool(3, prestarted_vms=1)
    [warm] = VirtualMachine.objects.filter(ready_at__isnull=False)
    [person] = world.people(1, pool)
    wish = world.take(person, pool)
    desktops.serve(pool_id=pool.pk)
    assert state(wish) == "ready"
    assert wish.vm_id == warm.pk
    assert VirtualMachine.objects.get(pk=warm.pk).domain_id == warm.domain_id


@pytest.mark.req("R030", "R031", "R120")
def test_the_promised_number_runs_ahead_again_after_each_take_and_after_an_edit(world: World) -> None:
    pool = world.pool(4, prestarted_vms=2)
    warm = VirtualMachine.objects.filter(ready_at__isnull=False).unassigned()
    assert warm.count() == 2
    world.take(world.people(1, pool)[0], pool)
    world.settle()
    assert warm.count() == 2
    pools.change(pool=pool, changes={"prestarted_vms": 3})
    world.settle()
    assert warm.count() == 3


@pytest.mark.req("R114", "R115", "R029")
def test_without_prestart_all_are_down_until_one_is_taken(world: World) -> None:
    pool = world.pool(3)
    assert world.driver.running() == set()
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    assert world.driver.running() == {wish.vm_id}
    desktops.give_back(request=wish)
    world.settle()
    assert world.driver.running() == set()


@pytest.mark.req("R117")
def test_a_prestarted_vm_that_goes_down_is_cleaned_and_replaced(world: World) -> None:
    world.pool(2, prestarted_vms=1)
    [warm] = VirtualMachine.objects.filter(ready_at__isnull=False)
    world.driver.write_in_guest(warm.pk, "left behind")
    world.driver.guest_shuts_down(warm.pk)
    world.run("broker.converge", warm.pk)
    world.settle()
    [fresh] = VirtualMachine.objects.filter(ready_at__isnull=False)
    assert world.driver.read_in_guest(fresh.pk) == []
    assert len(world.driver.layers()) == 1


@pytest.mark.req("R006", "R013")
def test_nothing_that_one_wrote_meets_the_next(world: World) -> None:
    pool = world.pool(1)
    first, second = (world.take(person, pool) for person in world.people(2, pool))
    world.settle()
    first.refresh_from_db()
    world.driver.write_in_guest(first.vm_id, "mine")
    desktops.give_back(request=first)
    world.settle()
    second.refresh_from_db()
    assert second.vm_id == first.vm_id
    assert world.driver.read_in_guest(second.vm_id) == []


@pytest.mark.req("R063", "R064")
@pytest.mark.parametrize(("crash", "reason"), [(False, "shut_down"), (True, "failed")])
def test_a_guest_that_goes_down_returns_the_desktop(world: World, crash: bool, reason: str) -> None:
    pool = world.pool(1)
    first, second = (world.take(person, pool) for person in world.people(2, pool))
    world.settle()
    first.refresh_from_db()
    world.driver.guest_shuts_down(first.vm_id, crash=crash)
    world.run("broker.converge", first.vm_id)
    world.settle()
    assert (state(first), first.end_reason, state(second)) == ("ended", reason, "ready")


def test_after_a_failed_start_the_person_keeps_first_claim_on_another_vm(world: World) -> None:
    pool = world.pool(2)
    first, second = world.people(2, pool)
    world.driver.failing_starts = 1
    wish, later = world.take(first, pool), world.take(second, pool)
    world.settle()
    assert (state(wish), state(later), wish.attempts) == ("ready", "ready", 1)
    failed = Event.objects.get(kind="vm.start_failed")
    assert "as the test wants it" in failed.facts["reason"]


def test_a_vm_that_fails_three_times_in_a_row_is_put_on_hold_with_its_reason(world: World) -> None:
    pool = world.pool(1)
    world.driver.failing_starts = 3
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    vm = VirtualMachine.objects.get()
    assert (vm.hold, vm.failures) == (VmHold.ERROR, 3)
    assert "as the test wants it" in vm.hold_reason
    assert state(wish) == "starting" and wish.vm_id is None
    vms.release(vm=vm, by=None)
    world.settle()
    assert state(wish) == "ready"


def test_a_guest_that_is_never_ready_is_given_up(world: World) -> None:
    world.driver.agent_answers = False
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    VirtualMachine.objects.update(run_started_at=timezone.now() - timedelta(hours=1))
    world.sweep()
    wish.refresh_from_db()
    assert wish.attempts >= 1


def test_a_guest_that_ignores_the_shutdown_is_turned_off_when_its_time_is_over(world: World) -> None:
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    world.driver.ignores_shutdown = True
    desktops.give_back(request=wish)
    world.settle()
    assert state(wish) == "returning" and world.driver.running()
    VirtualMachine.objects.update(stop_asked_at=timezone.now() - timedelta(seconds=31))
    world.sweep()
    assert state(wish) == "ended" and not world.driver.running()


def test_giving_back_before_it_is_up_ends_the_wish_and_cleans_the_vm(world: World) -> None:
    world.driver.agent_answers = False
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    desktops.give_back(request=wish)
    desktops.give_back(request=wish)  # a second click changes nothing
    world.settle()
    assert state(wish) == "ended"
    assert VirtualMachine.objects.down_and_clean().count() == 1
    with pytest.raises(Conflict):
        desktops.give_back(request=wish)


@pytest.mark.req("R033")
def test_nobody_is_started_where_memory_is_not_free(world: World) -> None:
    world.host.memory_mib = 300  # two VMs of 128 MiB
    world.host.save()
    pool = world.pool(3)
    wishes = [world.take(person, pool) for person in world.people(3, pool)]
    world.settle()
    assert [state(wish) for wish in wishes] == ["ready", "ready", "queued"]
    desktops.give_back(request=wishes[0])
    world.settle()
    assert state(wishes[2]) == "ready"


@pytest.mark.req("R034")
def test_what_an_administrator_writes_is_kept_and_met_by_the_next_user(world: World) -> None:
    pool = world.pool(1)
    admin = world.person("admin")
    vm = VirtualMachine.objects.get()
    vms.start(vm=vm, by=admin)
    world.settle()
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    assert state(wish) == "queued"
    world.driver.write_in_guest(vm.pk, "patched")
    vms.stop(vm=vm, by=admin, at_once=False)
    world.settle()
    # Not before somebody takes it upon himself that users may meet what was changed.
    vm.refresh_from_db()
    assert (state(wish), vm.status, vm.hold) == ("queued", "down", "administrator")
    vms.release(vm=vm, by=admin)
    world.settle()
    vm.refresh_from_db()
    assert (state(wish), vm.released_by, vm.changed_by) == ("ready", admin, admin)
    # The fake keeps one list per volume: the layer is new, and the disk below it has what was written.
    assert any("patched" in lines for lines in world.driver.volume_table.values())


def test_every_lost_message_is_healed_by_the_sweep(world: World) -> None:
    pool = world.pool(2, settle=False)
    world.lose_all_messages()
    wish = world.take(world.people(1, pool)[0], pool)
    world.lose_all_messages()
    world.sweep()
    world.sweep()
    assert state(wish) == "ready"
    desktops.give_back(request=wish)
    world.lose_all_messages()
    world.sweep()
    assert state(wish) == "ended"


def test_an_unreachable_host_costs_nobody_their_place(world: World) -> None:
    pool = world.pool(1)
    world.driver.unreachable = True
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    assert state(wish) == "starting"
    world.driver.unreachable = False
    world.sweep()
    assert state(wish) == "ready"


def test_the_database_itself_refuses_a_vm_for_two(world: World) -> None:
    pool = world.pool(2)
    first, second = (world.take(person, pool) for person in world.people(2, pool))
    world.settle()
    first.refresh_from_db()
    with pytest.raises(IntegrityError), transaction.atomic():
        DesktopRequest.objects.filter(pk=second.pk).update(vm=first.vm_id)


def in_threads(count: int, work: object) -> list[object]:
    def run(number: int) -> object:
        try:
            return work(number)  # type: ignore[operator]
        except Conflict as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.req("R019", "R060")
def test_ten_clicks_at_once_by_one_person_make_one_wish(world: World) -> None:
    pool = world.pool(5)
    [person] = world.people(1, pool)
    answers = in_threads(10, lambda _number: world.take(person, pool).pk)
    assert answers.count("LIMIT_REACHED") == 9
    assert DesktopRequest.objects.count() == 1


@pytest.mark.req("R004", "R019")
def test_ten_people_and_four_servers_at_once_share_five_vms_in_order(world: World) -> None:
    pool = world.pool(5)
    people = world.people(10, pool)

    def take_and_serve(number: int) -> None:
        world.take(people[number], pool)
        desktops.serve(pool_id=pool.pk)

    in_threads(10, take_and_serve)
    world.settle()
    wishes = list(DesktopRequest.objects.order_by("ticket"))
    assert [wish.state for wish in wishes] == ["ready"] * 5 + ["queued"] * 5
    assert [wish.ticket for wish in wishes] == list(range(1, 11))
    assert len({wish.vm_id for wish in wishes[:5]}) == 5


def test_a_prestarted_vm_on_a_lost_host_is_offered_to_nobody(world: World) -> None:
    pool = world.pool(1, prestarted_vms=1)
    world.driver.unreachable = True
    host_health.check(world.host.pk)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    assert state(wish) == "queued"
    assert VirtualMachine.objects.get().status == "unknown"
    world.driver.unreachable = False
    host_health.check(world.host.pk)
    world.settle()
    assert state(wish) == "ready"


def test_a_vm_that_could_not_be_made_is_held_and_made_when_it_is_released(world: World) -> None:
    made = world.driver.create_overlay

    def refuse(volume: object, backing: object) -> None:
        raise HypervisorError("the disk is full")

    world.driver.create_overlay = refuse  # type: ignore[method-assign, assignment]
    world.pool(1)
    vm = VirtualMachine.objects.get()
    assert (vm.hold, vm.hold_reason) == (VmHold.ERROR, "the disk is full")
    assert Job.objects.get().state == "failed"
    world.driver.create_overlay = made  # type: ignore[method-assign]
    vms.release(vm=vm, by=None)
    world.settle()
    assert VirtualMachine.objects.down_and_clean().count() == 1


def test_trouble_while_cleaning_is_shown_and_tried_again(world: World) -> None:
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    delete = world.driver.delete_volume

    def refuse(volume: object) -> None:
        raise HypervisorError("the layer is busy")

    world.driver.delete_volume = refuse  # type: ignore[method-assign, assignment]
    desktops.give_back(request=wish)
    world.settle()
    vm = VirtualMachine.objects.get()
    assert (vm.hold, vm.hold_reason, state(wish)) == (VmHold.RESETTING, "the layer is busy", "returning")
    world.driver.delete_volume = delete  # type: ignore[method-assign]
    world.sweep()
    assert state(wish) == "ended"
    assert VirtualMachine.objects.get().hold_reason == ""


@pytest.mark.req("R021")
def test_a_grant_to_a_group_reaches_its_members_until_they_leave_it(world: World) -> None:
    pool = world.pool(1)
    group = Group.objects.create(name="help desk")
    person = world.person("someone")
    grants.grant(role="UserRole", to=group, on=pool)
    assert not access.can(person, "use_pool", pool)
    person.groups.add(group)
    assert access.can(person, "use_pool", pool)
    person.groups.remove(group)
    assert not access.can(person, "use_pool", pool)


def test_the_same_key_for_two_pools_at_once_is_refused_for_one(world: World) -> None:
    pool, other = world.pool(1), world.pool(1, name="other")
    [person] = world.people(1, pool)
    answers = in_threads(2, lambda number: world.take(person, (pool, other)[number], idempotency_key="k").pk)
    assert answers.count("IDEMPOTENCY_KEY_REUSED") == 1
    assert DesktopRequest.objects.count() == 1


def test_a_start_that_fails_while_its_vm_is_being_assigned_loses_nobody(world: World) -> None:
    """Between the two nothing may be left: the wish has first claim, or the VM; on PostgreSQL they really meet."""
    pool = world.pool(2, prestarted_vms=1, settle=False)
    world.driver.agent_answers = False
    world.settle()
    warm = VirtualMachine.objects.get(run_mode="stateless")
    [person] = world.people(1, pool)
    wish = world.take(person, pool)
    VirtualMachine.objects.filter(pk=warm.pk).update(run_started_at=timezone.now() - timedelta(hours=1))
    in_threads(2, lambda number: (desktops.serve(pool_id=pool.pk), world.run("broker.converge", warm.pk))[number])
    world.driver.agent_answers = True
    world.sweep()
    assert state(wish) == "ready"


@pytest.mark.parametrize("abandoned", ["starting", "ready", "returning"])
def test_a_wish_that_nobody_works_for_is_found_by_the_sweep(world: World, abandoned: str) -> None:
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    vm = VirtualMachine.objects.get()
    DesktopRequest.objects.update(state=abandoned, vm=vm, end_reason="returned" if abandoned == "returning" else None)
    world.lose_all_messages()
    world.sweep()
    assert state(wish) == ("ready" if abandoned == "starting" else "ended")
