"""What the settings of a VM, or of the VMs of a pool, may be, and which of them depend on each other."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from broker.rules.consoles import usb_filter_problem
from broker.rules.migration import effective_policy
from broker.states import Inherit, MigrationMode, MigrationPolicy, NumaTuneMode, OptimizedFor, StartRunningOn

MEMORY_MIB = (16, 16 * 1024 * 1024)
VCPUS = (1, 288)  # the most that libvirt gives a machine of this type
MAX_DOWNTIME_MS = 2_147_483_647
Problem = tuple[str, str]


@dataclass(frozen=True)
class HostNodes:
    """A host that was chosen, and the ids of its NUMA nodes with their memory in MiB."""

    id: UUID
    name: str
    in_cluster: bool
    nodes: dict[int, int]


def problems(values: dict[str, Any], *, cluster_policy: str, hosts: list[HostNodes]) -> list[Problem]:
    """Everything that is wrong with MachineSettings, as (field, sentence)."""
    return [
        *_sizes(values),
        *_console(values),
        *_placement(values, hosts),
        *_migration(values, cluster_policy),
        *_numa(values, hosts),
    ]


def _sizes(values: dict[str, Any]) -> list[Problem]:
    found = []
    for field, (low, high) in (("memory_mib", MEMORY_MIB), ("vcpus", VCPUS)):
        if not low <= values[field] <= high:
            text = _("This must be a whole number from %(low)s to %(high)s.")
            found.append((field, text % {"low": low, "high": high}))
    return found


def _console(values: dict[str, Any]) -> list[Problem]:
    found = []
    problem = usb_filter_problem(values["usb_filter"])
    if problem:
        found.append(("usb_filter", problem))
    # A reader is a USB device, and servers have no USB.
    if values["smartcard"] and values["optimized_for"] != OptimizedFor.DESKTOP:
        found.append(("smartcard", _("Smart cards can be used only on VMs that are optimized as desktops.")))
    return found


def _placement(values: dict[str, Any], hosts: list[HostNodes]) -> list[Problem]:
    if values["start_running_on"] == StartRunningOn.ANY:
        if hosts:
            return [("hosts", _("Hosts can be chosen only together with 'Specific Host(s)'."))]
        return []
    if not hosts:
        return [("hosts", _("Choose at least one host, or 'Any Host in Cluster'."))]
    return [
        ("hosts", _("%(host)s does not belong to the cluster.") % {"host": host.name})
        for host in hosts
        if not host.in_cluster
    ]


def _migration(values: dict[str, Any], cluster_policy: str) -> list[Problem]:
    found = []
    policy = effective_policy(values["migration_policy"], cluster_policy)
    for field in ("auto_converge", "migrate_compressed"):
        if values[field] != Inherit.INHERIT and policy != MigrationPolicy.LEGACY:
            found.append((field, _("Only available when Legacy policy is selected.")))
    downtime = values["migration_downtime_ms"]
    if downtime is not None and not 0 <= downtime <= MAX_DOWNTIME_MS:
        found.append(
            ("migration_downtime_ms", _("Migration downtime must be between 0 and 2147483647 milliseconds."))
        )
    if values["host_cpu_passthrough"] and values["migration_mode"] != MigrationMode.NEVER:
        text = _("Pass-through host CPU can be enabled only when 'Do not allow migration' is selected.")
        found.append(("host_cpu_passthrough", text))
    return found


def _numa(values: dict[str, Any], hosts: list[HostNodes]) -> list[Problem]:
    count, pinning = values["numa_node_count"], values["numa_pinning"]
    if count < 0:
        return [("numa", _("The number of NUMA nodes cannot be negative."))]
    if count > values["vcpus"]:
        text = _(
            "Assigned %(nodes)s NUMA nodes for %(cpus)s CPU cores. Cannot assign more NUMA nodes than CPU cores."
        )
        return [("numa", text % {"nodes": count, "cpus": values["vcpus"]})]
    if pinning and len(pinning) != count:
        text = _("The pinning must name the host nodes of each of the %(nodes)s virtual nodes.")
        return [("numa", text % {"nodes": count})]
    if values["numa_tune_mode"] == NumaTuneMode.PREFERRED:
        single = count <= 1 and all(len(nodes) <= 1 for nodes in pinning)
        if not single:
            return [("numa", _("Preferred NUMA tune mode is allowed for a single pinned Virtual NUMA Node."))]
    return _pinning(values, hosts) if any(pinning) else []


def _pinning(values: dict[str, Any], hosts: list[HostNodes]) -> list[Problem]:
    if values["start_running_on"] != StartRunningOn.SPECIFIC or not hosts:
        text = _("To pin NUMA nodes, choose the specific hosts that the VMs start on.")
        return [("numa", text)]
    found: list[Problem] = []
    wanted = {node for nodes in values["numa_pinning"] for node in nodes}
    share = values["memory_mib"] // values["numa_node_count"]
    for host in hosts:
        if not host.nodes:
            found.append(("numa", _("Host %(host)s has no NUMA architecture.") % {"host": host.name}))
            continue
        for node in sorted(wanted - set(host.nodes)):
            found.append(("numa", _("Host %(host)s has no NUMA node %(node)s.") % {"host": host.name, "node": node}))
        small = [node for node in sorted(wanted & set(host.nodes)) if host.nodes[node] < share]
        if values["numa_tune_mode"] == NumaTuneMode.STRICT and small:
            text = _("Node %(node)s of host %(host)s has less memory than a virtual node needs (%(share)s MiB).")
            found.append(("numa", text % {"node": small[0], "host": host.name, "share": share}))
    return found
