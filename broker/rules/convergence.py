"""The next single step with a VM: what its row wants against what the hypervisor reports (DESIGN 1.4)."""

from dataclasses import dataclass
from enum import Enum, auto

from broker.drivers.hypervisor import DomainState
from broker.states import VmHold


class Step(Enum):
    """One thing to do, or to wait for."""

    REST = auto()  # all is as wanted
    WAIT = auto()  # something is under way: look again soon
    CREATE = auto()  # make its disk and define it
    START = auto()  # make the layer and start
    SEE_RUNNING = auto()  # it runs: write that down
    SEE_READY = auto()  # its guest can be used: write that down
    GIVE_UP_START = auto()  # it did not become ready in time
    END_RUN = auto()  # the guest shut down, or crashed, by itself
    ASK_TO_STOP = auto()  # throw the viewer out and ask the guest to shut down
    TURN_OFF = auto()  # turn it off at once
    CLEAN = auto()  # destroy the layer, see that it is gone, put the domain at rest
    SUSPEND = auto()  # pause it in its host's memory
    RESUME = auto()  # let it go on
    REMOVE = auto()  # forget the domain and destroy all that its runs left


@dataclass(frozen=True)
class Wish:
    """What the row wants. Times are seconds; null where it has not happened."""

    runs: bool
    halted: bool
    suspended: bool
    run_number: int
    hold: str | None
    seen_running: bool
    ready: bool
    running_seconds: float
    start_timeout_seconds: int
    stop_at_once: bool
    stop_asked_seconds: float | None
    graceful_seconds: int


@dataclass(frozen=True)
class Seen:
    """What the hypervisor reports: null state for a domain that is not defined."""

    state: DomainState | None
    run: int
    guest_ready: bool

    @property
    def on(self) -> bool:
        return self.state in (DomainState.RUNNING, DomainState.PAUSED, DomainState.SHUTTING_DOWN)


def next_step(wish: Wish, seen: Seen) -> Step:
    """Decide. Safe to ask at any time and any number of times."""
    if wish.runs and not wish.halted:
        return _towards_running(wish, seen)
    if seen.on:
        return _towards_down(wish)
    if wish.hold == VmHold.CREATING:
        return Step.CREATE
    if wish.hold == VmHold.RESETTING:
        return Step.CLEAN
    if wish.hold == VmHold.REMOVING:
        return Step.REMOVE
    return Step.REST


def _towards_running(wish: Wish, seen: Seen) -> Step:
    if seen.on and seen.run != wish.run_number:
        return Step.TURN_OFF  # a late call of an earlier run: nobody may meet what it wrote
    if not seen.on:
        return Step.END_RUN if wish.seen_running else Step.START
    if not wish.seen_running:
        return Step.SEE_RUNNING
    if wish.ready:
        return _pausing(wish, seen)
    if seen.guest_ready:
        return Step.SEE_READY
    if wish.running_seconds > wish.start_timeout_seconds:
        return Step.GIVE_UP_START
    # A disk that is full for a moment pauses whoever writes on it, while it boots, too.
    return Step.RESUME if seen.state == DomainState.PAUSED else Step.WAIT


def _pausing(wish: Wish, seen: Seen) -> Step:
    if wish.suspended and seen.state == DomainState.RUNNING:
        return Step.SUSPEND
    if not wish.suspended and seen.state == DomainState.PAUSED:
        return Step.RESUME
    return Step.REST


def _towards_down(wish: Wish) -> Step:
    # Only a reset, or a user who keeps it, leaves the guest the time to shut down by itself.
    if not (wish.hold == VmHold.RESETTING or wish.halted) or wish.stop_at_once:
        return Step.TURN_OFF
    if wish.stop_asked_seconds is None:
        return Step.ASK_TO_STOP
    return Step.TURN_OFF if wish.stop_asked_seconds > wish.graceful_seconds else Step.WAIT
