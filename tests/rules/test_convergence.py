"""The next step with a VM: every step there is, and none that could harm what somebody else has."""

from itertools import product

import pytest

from broker.drivers.hypervisor import DomainState
from broker.rules.convergence import Seen, Step, Wish, next_step
from broker.states import VmHold

RUN = 7
ON = (DomainState.RUNNING, DomainState.PAUSED, DomainState.SHUTTING_DOWN)
OFF = (DomainState.OFF, DomainState.CRASHED, None)


def wish(**values: object) -> Wish:
    return Wish(
        **{
            "runs": False,
            "halted": False,
            "suspended": False,
            "run_number": RUN,
            "hold": None,
            "seen_running": False,
            "ready": False,
            "running_seconds": 0.0,
            "start_timeout_seconds": 60,
            "stop_at_once": False,
            "stop_asked_seconds": None,
            "graceful_seconds": 30,
            **values,
        }
    )


def seen(state: DomainState | None, *, run: int = RUN, guest_ready: bool = False) -> Seen:
    return Seen(state=state, run=run, guest_ready=guest_ready)


WANTED = {"runs": True}
BOOTING = {**WANTED, "seen_running": True, "running_seconds": 10.0}
IN_USE = {**WANTED, "seen_running": True, "ready": True, "running_seconds": 9999.0}
RETURNED = {"hold": VmHold.RESETTING}

HALTED = {"runs": True, "halted": True}
CASES = [
    # wanted: on the way up
    ("it is wanted and not known", WANTED, seen(None), Step.START),
    ("it is wanted and off", WANTED, seen(DomainState.OFF), Step.START),
    ("it is wanted and an earlier run crashed", WANTED, seen(DomainState.CRASHED), Step.START),
    ("it runs and nobody wrote that down", WANTED, seen(DomainState.RUNNING), Step.SEE_RUNNING),
    ("its guest was quicker than we", WANTED, seen(DomainState.RUNNING, guest_ready=True), Step.SEE_RUNNING),
    ("its guest boots", BOOTING, seen(DomainState.RUNNING), Step.WAIT),
    ("its guest can be used", BOOTING, seen(DomainState.RUNNING, guest_ready=True), Step.SEE_READY),
    ("its time to boot is just over", {**BOOTING, "running_seconds": 60.0}, seen(DomainState.RUNNING), Step.WAIT),
    ("it took too long", {**BOOTING, "running_seconds": 60.1}, seen(DomainState.RUNNING), Step.GIVE_UP_START),
    (
        "it took too long but made it",
        {**BOOTING, "running_seconds": 99.0},
        seen(DomainState.RUNNING, guest_ready=True),
        Step.SEE_READY,
    ),
    ("an earlier run runs late", WANTED, seen(DomainState.RUNNING, run=RUN - 1), Step.TURN_OFF),
    ("an earlier run runs instead of ours", IN_USE, seen(DomainState.RUNNING, run=RUN - 1), Step.TURN_OFF),
    # in use
    ("it is in use", IN_USE, seen(DomainState.RUNNING), Step.REST),
    ("it is in use and its agent is silent", IN_USE, seen(DomainState.RUNNING, guest_ready=False), Step.REST),
    ("somebody paused it", IN_USE, seen(DomainState.PAUSED), Step.RESUME),
    ("it is to be suspended", {**IN_USE, "suspended": True}, seen(DomainState.RUNNING), Step.SUSPEND),
    ("it is suspended", {**IN_USE, "suspended": True}, seen(DomainState.PAUSED), Step.REST),
    ("its guest shuts down", IN_USE, seen(DomainState.SHUTTING_DOWN), Step.REST),
    ("its guest has shut down", IN_USE, seen(DomainState.OFF), Step.END_RUN),
    ("its guest crashed", IN_USE, seen(DomainState.CRASHED), Step.END_RUN),
    ("somebody removed its domain", IN_USE, seen(None), Step.END_RUN),
    ("its guest went down while booting", BOOTING, seen(DomainState.OFF), Step.END_RUN),
    # not wanted: on the way down
    ("it was returned", RETURNED, seen(DomainState.RUNNING), Step.ASK_TO_STOP),
    ("it was asked to stop", {**RETURNED, "stop_asked_seconds": 1.0}, seen(DomainState.RUNNING), Step.WAIT),
    ("its time is just over", {**RETURNED, "stop_asked_seconds": 30.0}, seen(DomainState.RUNNING), Step.WAIT),
    ("it does not stop", {**RETURNED, "stop_asked_seconds": 30.1}, seen(DomainState.RUNNING), Step.TURN_OFF),
    ("it is to stop at once", {**RETURNED, "stop_at_once": True}, seen(DomainState.RUNNING), Step.TURN_OFF),
    ("it runs and is wanted by nobody", {}, seen(DomainState.RUNNING), Step.TURN_OFF),
    ("it runs before it was ever made", {"hold": VmHold.CREATING}, seen(DomainState.RUNNING), Step.TURN_OFF),
    ("it is off after its return", RETURNED, seen(DomainState.OFF), Step.CLEAN),
    ("its domain is gone after its return", RETURNED, seen(None), Step.CLEAN),
    ("it crashed while it was to stop", RETURNED, seen(DomainState.CRASHED), Step.CLEAN),
    ("it is to be removed while it runs", {"hold": VmHold.REMOVING}, seen(DomainState.RUNNING), Step.TURN_OFF),
    ("it is to be removed", {"hold": VmHold.REMOVING}, seen(DomainState.OFF), Step.REMOVE),
    ("it is to be removed and has no domain", {"hold": VmHold.REMOVING}, seen(None), Step.REMOVE),
    # halted: down for a while, with its layer and its user
    ("it is to go down and stay with its user", HALTED, seen(DomainState.RUNNING), Step.ASK_TO_STOP),
    ("it is down and stays with its user", HALTED, seen(DomainState.OFF), Step.REST),
    # at rest
    ("it was not made yet", {"hold": VmHold.CREATING}, seen(None), Step.CREATE),
    ("it was half made", {"hold": VmHold.CREATING}, seen(DomainState.OFF), Step.CREATE),
    ("it is down and free", {}, seen(DomainState.OFF), Step.REST),
    ("it failed too often", {"hold": VmHold.ERROR}, seen(DomainState.OFF), Step.REST),
    ("an administrator keeps it", {"hold": VmHold.MAINTENANCE}, seen(DomainState.OFF), Step.REST),
]


@pytest.mark.parametrize(("values", "domain", "step"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_next_step_when(values: dict[str, object], domain: Seen, step: Step) -> None:
    assert next_step(wish(**values), domain) == step


def test_every_step_has_its_case() -> None:
    assert {case[3] for case in CASES} == set(Step)


def everything() -> list[tuple[Wish, Seen]]:
    """Every combination of what matters."""
    wishes = [
        wish(
            runs=runs,
            hold=hold,
            seen_running=seen_running,
            ready=ready and seen_running,
            running_seconds=seconds,
            stop_at_once=at_once,
            stop_asked_seconds=asked,
        )
        for runs, hold, seen_running, ready, seconds, at_once, asked in product(
            (True, False),
            (None, *VmHold),
            (True, False),
            (True, False),
            (0.0, 99.0),
            (True, False),
            (None, 1.0, 99.0),
        )
    ]
    domains = [
        seen(state, run=run, guest_ready=ready) for state, run, ready in product((*ON, *OFF), (RUN, 6), (True, False))
    ]
    return list(product(wishes, domains))


@pytest.mark.req("R013")
def test_nothing_is_destroyed_while_a_guest_runs() -> None:
    for want, domain in everything():
        if next_step(want, domain) in (Step.CLEAN, Step.CREATE, Step.START):
            assert not domain.on


def test_a_guest_of_this_run_in_use_is_left_alone() -> None:
    for want, domain in everything():
        if want.runs and want.ready and domain.on and domain.run == want.run_number:
            assert next_step(want, domain) in (Step.REST, Step.RESUME)


def test_what_is_not_wanted_is_never_started_and_what_is_wanted_never_cleaned() -> None:
    up = {Step.START, Step.SEE_RUNNING, Step.SEE_READY, Step.GIVE_UP_START, Step.END_RUN}
    down = {Step.CLEAN, Step.CREATE, Step.ASK_TO_STOP, Step.REMOVE}
    for want, domain in everything():
        assert next_step(want, domain) not in (down if want.runs else up)


def test_a_run_that_is_not_wanted_never_rests() -> None:
    for want, domain in everything():
        if domain.on and (not want.runs or domain.run != want.run_number):
            assert next_step(want, domain) != Step.REST
