"""On which host a VM starts, and why on none (I7)."""

from uuid import uuid4

import pytest

from broker.rules.placement import Candidate, choose, refusal
from broker.states import HostStatus


def host(name: str = "one", *, status: str = HostStatus.UP, usable: int = 1000, reserved: int = 0) -> Candidate:
    return Candidate(uuid4(), name, status, str(HostStatus(status).label), usable, reserved)


def chosen(memory: int, *candidates: Candidate) -> str | None:
    found = choose(memory, list(candidates))
    return found and found.name


@pytest.mark.req("R033")
@pytest.mark.parametrize(("memory", "fits"), [(0, True), (299, True), (300, True), (301, False), (10**30, False)])
def test_a_vm_fits_into_what_is_not_reserved(memory: int, fits: bool) -> None:
    assert chosen(memory, host(reserved=700)) == ("one" if fits else None)


@pytest.mark.parametrize("status", [status for status in HostStatus if status != HostStatus.UP])
def test_a_host_that_is_not_up_runs_nothing(status: HostStatus) -> None:
    candidate = host(status=status)
    assert choose(1, [candidate]) is None
    assert refusal(1, candidate) == f"one: {status.label}."


def test_most_memory_left_wins_and_the_name_decides_between_equals() -> None:
    assert chosen(1, host("small", usable=500), host("big"), host("busy", reserved=900)) == "big"
    assert chosen(1, host("b"), host("a"), host("c")) == "a"
    assert chosen(1, host("big", status=HostStatus.MAINTENANCE, usable=9999), host("small")) == "small"
    assert chosen(1) is None


@pytest.mark.req("R033")
def test_memory_that_was_reserved_is_counted_for_the_next() -> None:
    hosts = [host("a", usable=256), host("b", usable=256)]
    placed = []
    for _vm in range(5):
        found = choose(128, hosts)
        placed.append(found and found.name)
        if found:
            found.reserved_mib += 128
    assert placed == ["a", "b", "a", "b", None]


def test_the_sentence_says_what_is_missing() -> None:
    assert refusal(128, host(usable=100)) == "one: needs 128 MiB, 100 MiB available."
    assert refusal(128, host(usable=100, reserved=300)) == "one: needs 128 MiB, 0 MiB available."
    assert refusal(128, host()) is None
