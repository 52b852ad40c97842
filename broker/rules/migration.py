"""How a VM would be migrated: its own choice, else its cluster's, else the global default (R080, R094, R099)."""

from dataclasses import dataclass

from broker.drivers.hypervisor import MigrationSpec
from broker.states import Inherit, MigrationPolicy


@dataclass(frozen=True)
class Choices:
    """What a VM and its cluster chose; `policy` of the VM is null where it follows its cluster."""

    mode: str
    policy: str | None
    downtime_ms: int | None
    auto_converge: str
    compressed: str
    cluster_policy: str
    cluster_auto_converge: str
    cluster_compressed: str


def effective_policy(own: str | None, of_cluster: str) -> str:
    """The policy in force."""
    return own or of_cluster


def plan(choices: Choices, *, auto_converge_default: bool, compressed_default: bool) -> MigrationSpec:
    """What a migration will be started with. Only Legacy leaves convergence and compression to be chosen."""
    policy = effective_policy(choices.policy, choices.cluster_policy)
    legacy = policy == MigrationPolicy.LEGACY
    return MigrationSpec(
        mode=choices.mode,
        policy=policy,
        downtime_ms=choices.downtime_ms or None,  # 0 leaves it to the host (R090)
        auto_converge=not legacy
        or resolve(choices.auto_converge, choices.cluster_auto_converge, auto_converge_default),
        compressed=policy == MigrationPolicy.SUSPEND_WORKLOAD
        or (legacy and resolve(choices.compressed, choices.cluster_compressed, compressed_default)),
    )


def resolve(own: str, of_cluster: str, default: bool) -> bool:
    """The first of the three levels that says something."""
    for choice in (own, of_cluster):
        if choice != Inherit.INHERIT:
            return choice == Inherit.ON
    return default
