"""The checker can fail: a sound record breaks nothing, and each fault that is planted in it is named."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.load.checker import Harm, schedule, violations
from tests.load.record import Answer, Layer, Line, Machine, Machinery, Record, Told, Wish

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
POOL, VM, OTHER_VM, HOST = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4)
FIRST, SECOND, THIRD = UUID(int=11), UUID(int=12), UUID(int=13)


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def sound() -> Record:
    """One VM served two people, one after the other; a third has another VM, and still has it."""
    common = {"pool": POOL, "slot": 1, "permitted": True}
    returned = {"state": "ended", "end_reason": "returned", "vm": VM, **common}
    first = Wish(
        FIRST,
        user=1,
        name="ann",
        ticket=1,
        allocation=UUID(int=21),
        certificate=UUID(int=31),
        requested_at=at(0),
        assigned_at=at(1),
        ready_at=at(2),
        returned_at=at(5),
        ended_at=at(6),
        **returned,
    )
    second = Wish(
        SECOND,
        user=2,
        name="ben",
        ticket=2,
        allocation=UUID(int=22),
        certificate=UUID(int=32),
        requested_at=at(1),
        assigned_at=at(7),
        ready_at=at(8),
        returned_at=at(9),
        ended_at=at(10),
        **returned,
    )
    third = Wish(
        THIRD,
        user=3,
        name="cat",
        ticket=3,
        allocation=UUID(int=23),
        certificate=UUID(int=33),
        requested_at=at(2),
        assigned_at=at(8),
        ready_at=at(9),
        returned_at=None,
        ended_at=None,
        state="ready",
        end_reason=None,
        vm=OTHER_VM,
        **common,
    )
    off = {"pool": POOL, "hold": None, "memory_mib": 128, "files": frozenset[str]()}
    machines = [
        Machine(VM, "one", host=None, run_mode=None, run_number=4, ready=False, offered=True, **off),
        Machine(
            OTHER_VM,
            "two",
            host=HOST,
            run_mode="stateless",
            run_number=1,
            ready=True,
            offered=False,
            **{**off, "files": frozenset({"two.run-1.qcow2"})},
        ),
    ]
    layers = [
        Layer(UUID(int=31), VM, "one", 1, "one.run-1.qcow2", at(1.5), "", None, at(6)),
        Layer(UUID(int=32), VM, "one", 3, "one.run-3.qcow2", at(7.5), "one.run-1.qcow2", at(6), at(10)),
        Layer(UUID(int=33), OTHER_VM, "two", 1, "two.run-1.qcow2", at(8.5), "", None, None),
    ]
    events = [Told(at(number), "desktop.asked", key, None, POOL) for number, key in enumerate((FIRST, SECOND, THIRD))]
    for key, vm, assigned, gone, ended in ((FIRST, VM, 1, 5, 6), (SECOND, VM, 7, 9, 10)):
        for second_of, kind in ((assigned, "assigned"), (gone, "returning"), (ended, "ended")):
            events.append(Told(at(second_of), f"desktop.{kind}", key, vm, POOL))
    events.append(Told(at(8), "desktop.assigned", THIRD, OTHER_VM, POOL))
    answers = [
        Answer(at(0), at(0.1), "ann", "take", "busy", request=FIRST, key="k"),
        Answer(at(0), at(0.2), "ann", "take", "busy", request=FIRST, key="k"),
        Answer(at(1), at(1.1), "ben", "take", "busy", request=SECOND),
        Answer(at(2), at(2.1), "cat", "take", "busy", request=THIRD),
    ]
    host = Machinery(HOST, "left", 256, {OTHER_VM: 1}, frozenset({"two.run-1.qcow2"}), most_used_mib=256)
    line = Line(POOL, "busy", prestarted_vms=0, most_per_user=1)
    events.sort(key=lambda event: event.at)
    return Record([first, second, third], machines, layers, events, [line], [host], ["52:54:00:00:00:01"], answers)


def wish(index: int, **values: Any) -> Callable[[Record], None]:
    def plant(record: Record) -> None:
        record.wishes[index] = replace(record.wishes[index], **values)

    return plant


def machine(index: int, **values: Any) -> Callable[[Record], None]:
    def plant(record: Record) -> None:
        record.machines[index] = replace(record.machines[index], **values)

    return plant


def layer(index: int, **values: Any) -> Callable[[Record], None]:
    def plant(record: Record) -> None:
        record.layers[index] = replace(record.layers[index], **values)

    return plant


def host(**values: Any) -> Callable[[Record], None]:
    def plant(record: Record) -> None:
        record.hosts[0] = replace(record.hosts[0], **values)

    return plant


def answer(*said: Answer) -> Callable[[Record], None]:
    return lambda record: record.answers.extend(said)


def told(*events: Told) -> Callable[[Record], None]:
    def plant(record: Record) -> None:
        record.events.extend(events)
        record.events.sort(key=lambda event: event.at)

    return plant


def passed_over_after_a_failed_start(record: Record) -> None:
    """ann's first VM did not start; two later matches served ben and cat before her."""
    wish(0, assigned_at=at(9))(record)
    told(Told(at(2), "vm.start_failed", None, VM, POOL), Told(at(9), "desktop.assigned", FIRST, VM, POOL))(record)


TAKEN = Answer(at(1), at(1.1), "dan", "take", "busy", request=UUID(int=99))
REVOKED = Answer(at(-2), at(-1), "admin1", "revoke", "busy", subject="ben")
REPEATED = Answer(at(3), at(3.1), "ann", "take", "busy", request=SECOND, key="k")
FAULTS: dict[str, tuple[Any, ...]] = {
    "I1 two holders now": (wish(2, vm=VM), wish(1, state="ready", ended_at=None), "serves request"),
    "I1 by the rows": (wish(0, ended_at=at(7.2)), "before request"),
    "I1 by the events": (told(Told(at(5.5), "desktop.assigned", THIRD, VM, POOL)), "at the same time"),
    "I2 overtaken": (told(Told(at(4), "desktop.assigned", THIRD, OTHER_VM, POOL)), "was served at"),
    "I2 passed over": (passed_over_after_a_failed_start, "passed over 2 times"),
    "I3 over the limit now": (wish(2, user=2), wish(1, state="ready", ended_at=None, vm=None), "live requests"),
    "I3 a slot twice": (wish(1, user=1), "had its slot"),
    "I3 a slot too many": (wish(1, slot=2), "has slot 2"),
    "I4 no certificate": (wish(0, certificate=None), "without a certified layer"),
    "I4 one layer for two": (wish(1, certificate=UUID(int=31)), "the same layer"),
    "I4 made too early": (layer(1, made_at=at(5.9), before_destroyed_at=at(6)), "was made before"),
    "I4 never destroyed": (layer(1, destroyed_at=None), "never seen to be destroyed"),
    "I4 not destroyed after all": (
        told(Told(at(7), "orphan.layer", None, None, None, "one.run-1.qcow2")),
        "said to be destroyed",
    ),
    "I4 met another's work": (answer(replace(TAKEN, request=FIRST, met=("ben",))), "met on the desktop"),
    "I4 a file is left": (host(files=frozenset({"one.run-1.qcow2", "two.run-1.qcow2"})), "belongs to no row"),
    "I5 accepted and gone": (answer(TAKEN), "does not exist"),
    "I5 a key given twice": (answer(REPEATED), "repeated the key"),
    "I5 no reason": (wish(0, end_reason=None), "without a reason"),
    "I6 kept": (wish(2, permitted=False), "may not use the pool"),
    "I6 given": (answer(REVOKED), "the right to it was gone"),
    "I7 reserved": (machine(1, memory_mib=512), "512 MiB were reserved"),
    "I7 used": (host(most_used_mib=384), "384 MiB were used at once"),
    "I8": (lambda record: record.macs.append(record.macs[0]), "have the address"),
    "hosts: nobody's domain": (host(running={OTHER_VM: 1, UUID(int=77): 1}), "no row wants it"),
    "hosts: another run": (host(running={OTHER_VM: 9}), "in run 9"),
    "hosts: it does not run": (host(running={}), "does not run there"),
    "events: ended twice": (told(Told(at(11), "desktop.ended", SECOND, VM, POOL)), "2 times, and not 1 times"),
    "errors": (answer(replace(TAKEN, request=None, refusal="INTEGRITY")), "an error was shown"),
    "at rest: on its way": (wish(2, state="returning"), "is still returning"),
    "at rest: waits for what is there": (wish(2, state="queued", vm=None), "although a desktop is free"),
    "at rest: held": (machine(0, hold="resetting"), "is still resetting"),
    "at rest: holds what is off": (machine(1, run_mode=None, ready=False), "does not run"),
    "at rest: runs for nobody": (wish(2, vm=None, state="ended", end_reason="failed", ended_at=at(9)), "for nobody"),
    "at rest: too few ahead": (
        lambda record: record.lines.__setitem__(0, replace(record.lines[0], prestarted_vms=1)),
        "0 of 1 desktops running ahead",
    ),
}


def test_a_sound_record_breaks_nothing() -> None:
    assert violations(sound()) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_named(fault: str) -> None:
    record = sound()
    *plants, sentence = FAULTS[fault]
    for plant in plants:
        plant(record)
    promise = fault.split(":")[0] if ":" in fault else fault.split()[0]
    found = [one for one in violations(record) if one.promise == promise and sentence in one.sentence]
    assert found, [str(one) for one in violations(record)]
    assert all(one.harm in Harm for one in found)


def test_a_violation_is_told_with_what_led_to_it() -> None:
    record = sound()
    record.answers.append(Answer(at(0.5), at(0.6), "admin1", "shrink", "busy"))
    wish(0, end_reason=None)(record)
    [found] = violations(record)
    assert [one.person for one in schedule(found, record.answers)] == ["ann", "ann", "admin1"]
