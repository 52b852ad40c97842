"""Whatever happens in whatever order, I1 to I5 hold: a state machine over the operations and loops."""

import contextlib
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import time_machine
from django.db.models import Count
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from broker.drivers.hypervisor import HypervisorError
from broker.errors import Conflict
from broker.loops import deadlines as deadlines_loop
from broker.loops import shifts as shifts_loop
from broker.models import (
    Allocation,
    Certificate,
    Cluster,
    DataCenter,
    DesktopRequest,
    Event,
    HandoverPoint,
    Host,
    Job,
    JobItem,
    Line,
    Nic,
    Pool,
    RoleAssignment,
    Shift,
    ShiftAttendance,
    ShiftDuty,
    ShiftHandover,
    ShiftMember,
    ShiftOccurrence,
    ShiftPlan,
    StoragePool,
    StoragePoolOnHost,
    Template,
    TemplateVersion,
    VirtualMachine,
    Volume,
)
from broker.operations import deadlines, desktops, shift_plans, shifts, vm_leases, vms
from broker.rules.deadlines import SOMEBODY_WORKS
from broker.rules.shifts import Pattern, ShiftSpec
from broker.states import HOLDING, LIVE, AtShiftEnd, Ending, EndReason, RequestState, RunMode, VmHold
from tests.help_desk import EVERY_DAY, agree
from tests.world import World

PEOPLE, SIZE, PER_USER = 5, 3, 2
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEEPING_TIME = ("broker.deadline", "broker.keep_attendance")
# Two meet, and somebody is on both of them.
SHIFTS = (("Noon", time(10), time(13), (0, 1, 2)), ("Afternoon", time(13), time(16), (2, 3, 4)))
# Children first.
TABLES: list[Any] = [HandoverPoint, ShiftHandover, ShiftAttendance, ShiftDuty, ShiftOccurrence, ShiftMember, Shift]
TABLES += [ShiftPlan]
TABLES += [Event, JobItem, Job, DesktopRequest, Allocation, Certificate, Nic, VirtualMachine, Line]
TABLES += [RoleAssignment, Pool]
TABLES += [TemplateVersion, Template, Volume, StoragePoolOnHost, StoragePool, Host, Cluster, DataCenter]


class Desktops(RuleBasedStateMachine):
    """People take, leave and return; guests and starts fail; workers, messages and leases are lost."""

    def __init__(self) -> None:
        super().__init__()
        for table in TABLES:
            table.objects.all()._raw_delete("default")
        self.world = World()
        self.clock = time_machine.travel(NOON, tick=True)
        self.time = self.clock.start()
        self.pool = self.world.pool(
            SIZE,
            prestarted_vms=1,
            max_vms_per_user=PER_USER,
            disconnect_grace_minutes=10,
            max_session_minutes=60,
            idle_limit_minutes=30,
            extension_minutes=15,
        )
        self.people = [self.world.person(f"person{number}", self.pool) for number in range(PEOPLE)]
        self.plan = shift_plans.create(
            pool=self.pool,
            name="Help desk",
            time_zone="UTC",
            early_minutes=60,
            grace_minutes=5,
            at_end=AtShiftEnd.CHECK_OUT,
        )
        for name, starts, ends, people in SHIFTS:
            users = tuple(f"person{number}" for number in people)
            spec = ShiftSpec(name, Pattern(EVERY_DAY, starts, ends), users=users)
            shift_plans.add_shift(plan=self.plan, spec=spec)
        self.accepted: set[Any] = set()
        self.writers: dict[tuple[Any, int], Any] = {}
        self.places: dict[Any, int] = {}

    def teardown(self) -> None:
        self.heal()
        self.everybody_is_served_who_can_be()
        self.clock.stop()
        self.world.patches.undo()

    @rule(who=st.integers(0, PEOPLE - 1))
    def join(self, who: int) -> None:
        try:
            self.accepted.add(self.world.take(self.people[who], self.pool).pk)
        except Conflict as refusal:
            assert refusal.code == "LIMIT_REACHED"
            mine = DesktopRequest.objects.filter(user=self.people[who], state__in=LIVE)
            assert mine.count() == PER_USER

    @rule(which=st.integers(0, 50))
    def leave_or_return(self, which: int) -> None:
        wishes = list(DesktopRequest.objects.not_ended().order_by("ticket"))
        if wishes:
            desktops.give_back(request=wishes[which % len(wishes)])

    @rule(who=st.integers(0, PEOPLE - 1))
    def check_in(self, who: int) -> None:
        try:
            attendance, _new = shifts.check_in(plan=self.plan, user=self.people[who])
            self.accepted.add(attendance.request_id)
        except Conflict as refusal:
            assert refusal.code in ("LIMIT_REACHED", "NO_SHIFT_NOW")

    @rule(who=st.integers(0, PEOPLE - 1))
    def check_out(self, who: int) -> None:
        with contextlib.suppress(Conflict):  # who never came cannot leave
            shifts.check_out(plan=self.plan, user=self.people[who], note="as always")

    @rule(which=st.integers(0, SIZE - 1), sound=st.booleans())
    def a_lead_marks_a_seat(self, which: int, sound: bool) -> None:
        vm = VirtualMachine.objects.order_by("number")[which]
        if sound:
            vms.clear_fault(vm=vm, by=None)
        else:
            vms.mark_faulty(vm=vm, reason="flickers", by=None)

    @rule(which=st.integers(0, 50), crash=st.booleans())
    def guest_goes_down(self, which: int, crash: bool) -> None:
        running = sorted(self.world.driver.running())
        if running:
            self.world.driver.guest_shuts_down(running[which % len(running)], crash=crash)

    @rule(which=st.integers(0, 50))
    def user_writes(self, which: int) -> None:
        for wish in DesktopRequest.objects.filter(state=RequestState.READY).select_related("vm"):
            if wish.vm_id in self.world.driver.running():
                self.world.driver.write_in_guest(wish.vm_id, str(wish.pk))

    @rule()
    def next_starts_fail(self) -> None:
        self.world.driver.failing_starts = 2

    @rule(toggle=st.booleans())
    def host_comes_and_goes(self, toggle: bool) -> None:
        self.world.driver.unreachable = toggle

    @rule(toggle=st.booleans())
    def guests_boot_or_hang(self, toggle: bool) -> None:
        self.world.driver.agent_answers = toggle

    @rule()
    def messages_are_lost(self) -> None:
        self.world.lose_all_messages()

    @rule(which=st.integers(0, SIZE - 1))
    def a_worker_dies_holding_its_lease(self, which: int) -> None:
        vm_leases.hold(VirtualMachine.objects.order_by("number")[which].pk)

    @rule()
    def leases_expire(self) -> None:
        VirtualMachine.objects.update(lease_until=None)

    @precondition(lambda self: self.world.sent)
    @rule(jobs=st.integers(1, 6))
    def workers_work(self, jobs: int) -> None:
        for _job in range(jobs):
            if self.world.sent:
                name, key = self.world.sent.popleft()
                self.world.run(name, key)

    @rule(minutes=st.sampled_from([1, 4, 6, 31, 61]))
    def time_passes(self, minutes: int) -> None:
        self.time.shift(timedelta(minutes=minutes))

    @rule(which=st.integers(0, 50), viewers=st.integers(0, 2), heard=st.booleans())
    def viewers_come_and_go(self, which: int, viewers: int, heard: bool) -> None:
        ready = list(DesktopRequest.objects.filter(state=RequestState.READY).order_by("ticket"))
        if not ready:
            return
        vm_id = ready[which % len(ready)].vm_id
        self.world.driver.looking[vm_id] = viewers
        if heard and not self.world.driver.unreachable:
            deadlines.look_at_display_on_host(vm_id=vm_id)

    @rule(which=st.integers(0, 50))
    def somebody_asks_for_more_time(self, which: int) -> None:
        ready = list(DesktopRequest.objects.filter(state=RequestState.READY).order_by("ticket"))
        if not ready:
            return
        wish = ready[which % len(ready)]
        try:
            deadlines.extend(request=wish)
        except Conflict as refusal:
            # The end of a shift is put off by leads only; and nothing may end the last that was extended.
            assert (refusal.code, wish.ending) in (("NOT_EXTENDABLE", Ending.SHIFT), ("NO_DEADLINE", None))

    @rule()
    def time_is_kept(self) -> None:
        deadlines_loop.keep_time()
        shifts_loop.keep_shifts()
        looking = {vm_id for vm_id, viewers in self.world.driver.looking.items() if viewers}
        seen_by_somebody = set(DesktopRequest.objects.filter(vm__in=looking, state=RequestState.READY))
        for name, key in [job for job in self.world.sent if job[0] in KEEPING_TIME]:
            self.world.sent.remove((name, key))
            with contextlib.suppress(HypervisorError):  # the next look finds it again
                self.world.run(name, key)
        for wish in DesktopRequest.objects.filter(pk__in=[one.pk for one in seen_by_somebody]):
            gone = wish.end_reason == EndReason.EXPIRED and wish.ending not in SOMEBODY_WORKS
            assert not gone, "somebody who looked at it lost it as if nobody had"

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    def heal(self) -> None:
        """Everything works again, and an administrator releases what was put on hold."""
        driver = self.world.driver
        driver.unreachable, driver.agent_answers, driver.failing_starts = False, True, 0
        for vm in VirtualMachine.objects.exclude(fault=""):
            vms.clear_fault(vm=vm, by=None)
        for _round in range(4):
            # One that failed too often is put on hold only when it is clean, which may be only now.
            for vm in VirtualMachine.objects.filter(hold=VmHold.ERROR):
                vms.release(vm=vm, by=None)
            self.world.sweep()
            for vm_id in VirtualMachine.objects.values_list("pk", flat=True):
                self.world.run("broker.converge", vm_id)

    def everybody_is_served_who_can_be(self) -> None:
        unserved = DesktopRequest.objects.unserved().count()
        holding = DesktopRequest.objects.filter(state__in=HOLDING, vm__isnull=False).count()
        assert unserved == 0 or holding == SIZE
        assert not DesktopRequest.objects.filter(state=RequestState.RETURNING).exists()
        assert len(self.world.driver.layers()) == len(self.world.driver.running())

    @invariant()
    def i1_a_vm_serves_one(self) -> None:
        held = DesktopRequest.objects.filter(state__in=HOLDING, vm__isnull=False)
        assert not held.order_by().values("vm").annotate(n=Count("pk")).filter(n__gt=1).exists()

    @invariant()
    def i2_nobody_is_overtaken(self) -> None:
        waiting = DesktopRequest.objects.filter(state=RequestState.QUEUED).order_by("ticket").first()
        if waiting is not None:
            later = DesktopRequest.objects.filter(ticket__gt=waiting.ticket)
            assert not later.filter(assigned_at__isnull=False).exists()

    @invariant()
    def a_place_never_gets_worse(self) -> None:
        for wish in DesktopRequest.objects.filter(state=RequestState.QUEUED).with_place():
            assert wish.ahead <= self.places.get(wish.pk, wish.ahead)
            self.places[wish.pk] = wish.ahead

    @invariant()
    def i3_nobody_has_more_than_allowed(self) -> None:
        live = DesktopRequest.objects.filter(state__in=LIVE).order_by()
        assert not live.values("user").annotate(n=Count("pk")).filter(n__gt=PER_USER).exists()

    @invariant()
    def i4_nobody_meets_what_another_wrote(self) -> None:
        running = self.world.driver.running()
        for wish in DesktopRequest.objects.filter(state=RequestState.READY):
            if wish.vm_id in running:
                assert set(self.world.driver.read_in_guest(wish.vm_id)) <= {str(wish.pk)}
        assert self.world.driver.volume_table.get("base.qcow2", []) == []

    @invariant()
    def i4_what_is_offered_at_rest_has_no_layer(self) -> None:
        for vm in VirtualMachine.objects.unassigned().down_and_clean().select_related("volume__storage_pool"):
            stem = vm.volume.name.removesuffix(".qcow2")
            assert not [name for name in self.world.driver.layers() if name.startswith(f"{stem}.")]

    @invariant()
    def i5_no_wish_is_lost(self) -> None:
        assert set(DesktopRequest.objects.values_list("pk", flat=True)) == self.accepted
        assert not DesktopRequest.objects.filter(state=RequestState.ENDED, end_reason=None).exists()

    @invariant()
    def nobody_is_ended_early_or_without_a_reason(self) -> None:
        for wish in DesktopRequest.objects.filter(end_reason=EndReason.EXPIRED):
            assert wish.ending and wish.ends_at and wish.ends_at <= timezone.now()

    @invariant()
    def whoever_waited_is_told_so(self) -> None:
        """A hold is for those who waited, and for them only."""
        for wish in DesktopRequest.objects.filter(ending__in=(Ending.HOLD, Ending.CONNECT)):
            assert wish.waited == (wish.ending == Ending.HOLD)

    @invariant()
    def attendance_and_desktops_agree(self) -> None:
        agree()

    @invariant()
    def what_is_faulty_is_offered_to_nobody(self) -> None:
        assert not VirtualMachine.objects.offerable().exclude(fault="").exists()

    @invariant()
    def i4_every_desktop_in_hand_is_certified(self) -> None:
        for wish in DesktopRequest.objects.filter(state=RequestState.READY).select_related("certificate", "vm"):
            assert wish.certificate is not None and wish.certificate.vm_id == wish.vm_id
            assert wish.certificate.destroyed_at is None
        offered = VirtualMachine.objects.unassigned().down_and_clean().values("pk")
        assert not Certificate.objects.filter(vm__in=offered, destroyed_at=None).exists()

    @invariant()
    def i7_memory_is_reserved_for_whatever_runs(self) -> None:
        assert not VirtualMachine.objects.filter(run_mode=RunMode.STATELESS, host=None).exists()


@pytest.mark.req("R003", "R004", "R006", "R018", "R019", "R060")
def test_i1_to_i5_hold_whatever_happens(transactional_db: None) -> None:
    run_state_machine_as_test(
        Desktops,
        settings=settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
