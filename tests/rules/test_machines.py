"""What the settings of VMs may be, and which depend on each other: the seeds' tables, value by value."""

from typing import Any
from uuid import uuid4

import pytest

from broker.rules.machines import HostNodes, problems
from broker.rules.migration import Choices, plan, resolve

HERE = HostNodes(id=uuid4(), name="here", in_cluster=True, nodes={0: 8192, 1: 512})
ELSEWHERE = HostNodes(id=uuid4(), name="elsewhere", in_cluster=False, nodes={0: 8192})
FLAT = HostNodes(id=uuid4(), name="flat", in_cluster=True, nodes={})
STANDARD: dict[str, Any] = {
    "optimized_for": "desktop",
    "memory_mib": 4096,
    "vcpus": 4,
    "smartcard": False,
    "usb_filter": "",
    "start_running_on": "any",
    "migration_mode": "allow",
    "migration_policy": None,
    "migration_downtime_ms": None,
    "auto_converge": "inherit",
    "migrate_compressed": "inherit",
    "host_cpu_passthrough": False,
    "numa_node_count": 0,
    "numa_tune_mode": "interleave",
    "numa_pinning": [],
}


def wrong(*hosts: HostNodes, cluster_policy: str = "legacy", **values: Any) -> list[str]:
    """The fields that are refused."""
    found = problems({**STANDARD, **values}, cluster_policy=cluster_policy, hosts=list(hosts))
    return [field for field, _text in found]


def said(*hosts: HostNodes, cluster_policy: str = "legacy", **values: Any) -> str:
    [(_field, text)] = problems({**STANDARD, **values}, cluster_policy=cluster_policy, hosts=list(hosts))
    return text


def test_the_standard_is_allowed() -> None:
    assert wrong() == []


def test_smart_cards_need_a_desktop_and_a_usb_filter_its_form() -> None:
    assert wrong(smartcard=True) == []
    assert wrong(smartcard=True, optimized_for="server") == ["smartcard"]
    assert wrong(usb_filter="8,-1,-1,-1,1") == []
    assert wrong(usb_filter="8") == ["usb_filter"]


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("memory_mib", 15, False),
        ("memory_mib", 16, True),
        ("memory_mib", -1, False),
        ("memory_mib", 2**24, True),
        ("memory_mib", 2**24 + 1, False),
        ("vcpus", 0, False),
        ("vcpus", 1, True),
        ("vcpus", 288, True),
        ("vcpus", 289, False),
    ],
)
def test_memory_and_processors_have_their_range(field: str, value: int, allowed: bool) -> None:
    assert wrong(**{field: value}) == ([] if allowed else [field])


@pytest.mark.req("R073", "R074", "R075")
def test_specific_hosts_are_chosen_from_the_cluster() -> None:
    assert wrong(HERE, start_running_on="specific") == []
    assert wrong(HERE, FLAT, start_running_on="specific") == []
    assert wrong(start_running_on="specific") == ["hosts"]
    assert wrong(HERE, ELSEWHERE, start_running_on="specific") == ["hosts"]
    assert wrong(HERE) == ["hosts"]


@pytest.mark.req("R091", "R096")
@pytest.mark.parametrize("field", ["auto_converge", "migrate_compressed"])
@pytest.mark.parametrize("value", ["on", "off"])
@pytest.mark.parametrize(
    ("own", "cluster", "allowed"),
    [
        ("legacy", "legacy", True),
        ("legacy", "minimal_downtime", True),
        (None, "legacy", True),
        (None, "minimal_downtime", False),
        ("minimal_downtime", "legacy", False),
        ("suspend_workload", "legacy", False),
    ],
)
def test_convergence_and_compression_are_chosen_with_legacy_only(
    field: str, value: str, own: str | None, cluster: str, allowed: bool
) -> None:
    values = {field: value, "migration_policy": own}
    assert wrong(cluster_policy=cluster, **values) == ([] if allowed else [field])
    assert wrong(cluster_policy=cluster, migration_policy=own) == []
    if not allowed:
        assert said(cluster_policy=cluster, **values) == "Only available when Legacy policy is selected."


@pytest.mark.req("R089", "R090")
@pytest.mark.parametrize(
    ("value", "allowed"), [(None, True), (0, True), (2**31 - 1, True), (-1, False), (2**31, False)]
)
def test_the_downtime_has_its_range(value: int | None, allowed: bool) -> None:
    assert wrong(migration_downtime_ms=value) == ([] if allowed else ["migration_downtime_ms"])


@pytest.mark.req("R100", "R101")
@pytest.mark.parametrize(("mode", "allowed"), [("never", True), ("allow", False), ("manual_only", False)])
def test_the_host_cpu_is_passed_through_only_where_nothing_migrates(mode: str, allowed: bool) -> None:
    values = {"host_cpu_passthrough": True, "migration_mode": mode}
    assert wrong(**values) == ([] if allowed else ["host_cpu_passthrough"])


@pytest.mark.req("R102")
@pytest.mark.parametrize(("count", "allowed"), [(0, True), (1, True), (4, True), (5, False), (-1, False)])
def test_there_are_no_more_nodes_than_processors(count: int, allowed: bool) -> None:
    assert wrong(numa_node_count=count) == ([] if allowed else ["numa"])


@pytest.mark.req("R103")
def test_preferred_is_for_a_single_node() -> None:
    sentence = "Preferred NUMA tune mode is allowed for a single pinned Virtual NUMA Node."
    assert wrong(numa_tune_mode="preferred", numa_node_count=1) == []
    assert said(numa_tune_mode="preferred", numa_node_count=2) == sentence
    pinned = {"numa_tune_mode": "preferred", "numa_node_count": 1, "start_running_on": "specific"}
    assert wrong(HERE, numa_pinning=[[0]], **pinned) == []
    assert said(HERE, numa_pinning=[[0, 1]], **pinned) == sentence


@pytest.mark.req("R107", "R108")
def test_nodes_are_pinned_to_nodes_that_the_chosen_hosts_have() -> None:
    pinned = {"numa_node_count": 2, "numa_pinning": [[0], [1]], "start_running_on": "specific"}
    assert wrong(HERE, **pinned) == []
    assert wrong(**{**pinned, "start_running_on": "any"}) == ["numa"]
    assert "no NUMA architecture" in said(FLAT, **pinned)
    assert "no NUMA node 1" in said(HostNodes(uuid4(), "one", True, {0: 8192}), **pinned)
    assert "each of the 2 virtual nodes" in said(HERE, **{**pinned, "numa_pinning": [[0]]})


@pytest.mark.req("R104")
def test_a_strict_node_must_fit_into_the_host_node_it_is_pinned_to() -> None:
    pinned = {"numa_node_count": 2, "numa_pinning": [[0], [1]], "start_running_on": "specific"}
    assert "less memory" in said(HERE, numa_tune_mode="strict", **pinned)
    assert wrong(HERE, numa_tune_mode="strict", **{**pinned, "memory_mib": 1024}) == []


def choices(**values: Any) -> Choices:
    return Choices(
        **{
            "mode": "allow",
            "policy": None,
            "downtime_ms": None,
            "auto_converge": "inherit",
            "compressed": "inherit",
            "cluster_policy": "legacy",
            "cluster_auto_converge": "inherit",
            "cluster_compressed": "inherit",
            **values,
        }
    )


def planned(given: Choices, default: bool = False) -> Any:
    return plan(given, auto_converge_default=default, compressed_default=default)


@pytest.mark.req("R080", "R081")
@pytest.mark.parametrize("cluster", ["legacy", "minimal_downtime", "suspend_workload"])
def test_without_a_choice_of_its_own_a_vm_follows_its_cluster(cluster: str) -> None:
    assert planned(choices(cluster_policy=cluster)).policy == cluster
    assert planned(choices(policy="minimal_downtime", cluster_policy=cluster)).policy == "minimal_downtime"


TRUTH = [
    (
        own,
        cluster,
        default,
        own == "on" or (own == "inherit" and (cluster == "on" or (cluster == "inherit" and default))),
    )
    for own in ("inherit", "on", "off")
    for cluster in ("inherit", "on", "off")
    for default in (True, False)
]


@pytest.mark.req("R094", "R095", "R099")
@pytest.mark.parametrize(("own", "cluster", "default", "expected"), TRUTH)
def test_the_first_that_says_something_decides(own: str, cluster: str, default: bool, expected: bool) -> None:
    assert resolve(own, cluster, default) is expected
    found = planned(
        choices(auto_converge=own, cluster_auto_converge=cluster, compressed=own, cluster_compressed=cluster), default
    )
    assert (found.auto_converge, found.compressed) == (expected, expected)


@pytest.mark.req("R077", "R078", "R079")
@pytest.mark.parametrize("mode", ["allow", "manual_only", "never"])
def test_the_mode_is_the_vms_own(mode: str) -> None:
    assert planned(choices(mode=mode)).mode == mode


@pytest.mark.req("R083", "R086")
def test_other_policies_than_legacy_bring_their_own_convergence() -> None:
    minimal = planned(choices(policy="minimal_downtime"))
    suspend = planned(choices(policy="suspend_workload"))
    assert (minimal.auto_converge, minimal.compressed) == (True, False)
    assert (suspend.auto_converge, suspend.compressed) == (True, True)


@pytest.mark.req("R090")
@pytest.mark.parametrize(("given", "written"), [(None, None), (0, None), (250, 250)])
def test_no_downtime_leaves_it_to_the_host(given: int | None, written: int | None) -> None:
    assert planned(choices(downtime_ms=given)).downtime_ms == written
