"""The seed's example as a world of its own: ten people of a help desk, five desktops, two shifts a day."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from broker.models import DesktopRequest, ShiftAttendance, ShiftPlan
from broker.operations import deadlines, shift_plans, shifts
from broker.rules.shifts import Pattern, ShiftSpec
from broker.states import LIVE, RequestState
from portal import shifts as shown
from tests.world import World

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
EVERY_DAY = tuple(range(7))
TEN = [f"agent{number:02}" for number in range(1, 11)]


class HelpDesk:
    """The seed's example: ten people, a pool of five, five in the morning and five in the afternoon."""

    def __init__(self, world: World, clock: Any) -> None:
        self.world, self.clock = world, clock
        self.pool = world.pool(5, prestarted_vms=5)
        self.people = {name: world.person(name, self.pool) for name in TEN}
        self.lead = world.person("lead", self.pool, role="HelpDeskLead")
        self.plan = self.make("Help desk")
        self.morning = self.shift("Morning", 7, 15, TEN[:5])
        self.afternoon = self.shift("Afternoon", 15, 23, TEN[5:])

    def make(self, name: str, **values: Any) -> ShiftPlan:
        return shift_plans.create(**{"pool": self.pool, "name": name, "time_zone": "UTC", **values})

    def shift(self, name: str, starts: int, ends: int, people: list[str], plan: ShiftPlan | None = None) -> Any:
        spec = ShiftSpec(name, Pattern(EVERY_DAY, time(starts % 24), time(ends % 24)), users=tuple(people))
        return shift_plans.add_shift(plan=plan or self.plan, spec=spec)

    def change(self, **changes: Any) -> None:
        shift_plans.change(plan=self.plan, changes=changes)
        self.plan.refresh_from_db()

    def at(self, hour: float, day: int = 0) -> None:
        """Let time pass to this hour, with beat looking before, and every minute of the last half hour."""
        goal = MONDAY + timedelta(days=day, hours=hour)
        now = datetime.now(UTC)
        while now < goal:
            now = min(goal, max(now + timedelta(minutes=1), goal - timedelta(minutes=30)))
            self.clock.move_to(now)
            self.world.keep_time()

    def check_in(self, name: str) -> ShiftAttendance:
        attendance, _new = shifts.check_in(plan=self.plan, user=self.people[name])
        return attendance

    def check_out(self, name: str, **left: Any) -> Any:
        return shifts.check_out(plan=self.plan, user=self.people[name], **left)

    def all_in(self, names: list[str]) -> list[ShiftAttendance]:
        """They check in, and whoever has a desktop connects to it and stays connected."""
        found = [self.check_in(name) for name in names]
        self.settle()
        return found

    def settle(self) -> None:
        self.world.settle()
        for wish in DesktopRequest.objects.filter(state=RequestState.READY, connected_at=None):
            self.world.driver.looking[wish.vm_id] = 1
            deadlines.look_at_display_on_host(vm_id=wish.vm_id)

    def present(self) -> list[str]:
        return sorted(ShiftAttendance.objects.present().values_list("user__username", flat=True))

    def holders(self) -> list[str]:
        ready = DesktopRequest.objects.filter(state=RequestState.READY)
        return sorted(ready.values_list("user__username", flat=True))

    def board(self, name: str = "agent01") -> shown.Board:
        return shown.board(self.people.get(name, self.lead), self.plan)


def running_shift(pool: Any, person: Any) -> tuple[ShiftPlan, ShiftAttendance]:
    """A plan of which one shift has begun an hour ago, whatever the time; and somebody who is checked in to it."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    pattern = Pattern(EVERY_DAY, (now - timedelta(hours=1)).time(), (now + timedelta(hours=7)).time())
    plan = shift_plans.create(
        pool=pool, name="Help desk", time_zone="UTC", specs=[ShiftSpec("Now", pattern, users=(person.username,))]
    )
    return plan, shifts.check_in(plan=plan, user=person)[0]


def agree() -> None:
    """Attendance and desktops tell the same: nobody present without a live wish, no open wish of one who left."""
    for one in ShiftAttendance.objects.select_related("request"):
        assert one.is_present == (one.request.state in LIVE)
        assert one.is_present == (one.left_at is None)
        assert one.request.user_id == one.user_id
        assert one.request.pool_id == one.plan.pool_id
    for plan, user in ShiftAttendance.objects.values_list("plan", "user").distinct():
        assert ShiftAttendance.objects.present().filter(plan=plan, user=user).count() <= 1
