"""Make rows for VMs out of a template version and settings; pools and independent VMs are made alike (R062)."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from broker import config, jobs
from broker.drivers.hypervisor import MigrationSpec
from broker.errors import Conflict, Invalid
from broker.models import (
    Cluster,
    Host,
    MachineSettings,
    Nic,
    Pool,
    Template,
    TemplateVersion,
    VirtualMachine,
    Volume,
)
from broker.rules import machines as rules
from broker.rules import migration
from broker.rules.machines import HostNodes, Problem
from broker.states import VersionState, VmHold

MAC_PREFIX = "52:54:00"


@dataclass(frozen=True)
class Plan:
    """What a number of VMs are to be made of."""

    cluster: Cluster
    version: TemplateVersion
    settings: dict[str, Any]
    hosts: list[Host]


def settings_from(template: Template, version: TemplateVersion, given: dict[str, Any]) -> dict[str, Any]:
    """Every setting: as it was given, else as the template has it, else the default (R039)."""
    standard = {
        "operating_system": template.operating_system,
        "optimized_for": template.optimized_for,
        "memory_mib": version.memory_mib,
        "vcpus": version.vcpus,
    }
    chosen = {name: value for name, value in given.items() if value is not None and value != ""}
    return VirtualMachine(**{**standard, **chosen}).settings()


def problems(values: dict[str, Any], cluster: Cluster, hosts: Iterable[Host]) -> list[Problem]:
    """Everything that is wrong with the settings of VMs of this cluster."""
    chosen = [
        HostNodes(
            id=host.pk,
            name=host.name,
            in_cluster=host.cluster_id == cluster.pk,
            nodes={node["id"]: node["memory_mib"] for node in host.numa_nodes},
        )
        for host in hosts
    ]
    return rules.problems(values, cluster_policy=cluster.migration_policy, hosts=chosen)


def usable_version(template: Template, version: TemplateVersion | None, cluster: Cluster) -> TemplateVersion:
    """The version that VMs of this cluster would be made of now; null asks for the latest."""
    if template.data_center_id != cluster.data_center_id:
        raise Invalid(_("The template belongs to another data center than the cluster."), field="template")
    if version is not None and version.template_id != template.pk:
        raise Invalid(_("This version belongs to another template."), field="template_version")
    found = version or template.latest()
    if found is None:
        raise Invalid(_("VM-Pool must be based on a non-blank template: it has no version yet."), field="template")
    if found.state != VersionState.READY:
        raise Invalid(_("%(version)s cannot be used yet.") % {"version": found}, field="template_version")
    return found


def make(plan: Plan, names: list[tuple[int, str]], *, pool: Pool | None) -> list[VirtualMachine]:
    """Rows for new VMs, on hold until a worker has made each of them; Conflict when a name is taken."""
    most = config.get("MaxVmNameLength")
    if any(len(name) > most for _number, name in names):
        raise Invalid(_("The names of its VMs would exceed %(most)s characters.") % {"most": most}, field="name")
    made = [
        VirtualMachine(
            pk=uuid4(),
            pool=pool,
            cluster=plan.cluster,
            number=number,
            name=name,
            template_version=plan.version,
            hold=VmHold.CREATING,
            **plan.settings,
        )
        for number, name in names
    ]
    for vm in made:
        vm.volume = disk_of(vm, plan.version)
    try:
        with transaction.atomic():
            Volume.objects.bulk_create([vm.volume for vm in made])
            VirtualMachine.objects.bulk_create(made)
    except IntegrityError as error:
        text = _("Somebody else made VMs of these names this moment. Please try again.")
        raise Conflict(text, field="name", code="NAME_TAKEN") from error
    choice = VirtualMachine.hosts.through
    choice.objects.bulk_create(
        [choice(virtualmachine_id=vm.pk, host_id=host.pk) for vm in made for host in plan.hosts]
    )
    addresses = _draw_macs(len(made))
    Nic.objects.bulk_create([Nic(vm=vm, mac=mac) for vm, mac in zip(made, addresses, strict=True)])
    for vm in made:
        jobs.wake_vm(vm.pk)
    return made


def disk_of(vm: VirtualMachine, version: TemplateVersion) -> Volume:
    """A thin disk on a template version, not saved yet; its name is new each time."""
    return Volume(
        storage_pool=version.volume.storage_pool,
        name=f"{vm.name}-{uuid4().hex[:8]}.qcow2",
        purpose=Volume.Purpose.DISK,
        backing=version.volume,
    )


def _draw_macs(count: int) -> list[str]:
    """Addresses that no card has; the unique constraint has the last word (I8)."""
    drawn: set[str] = set()
    while len(drawn) < count:
        fresh = {
            f"{MAC_PREFIX}:{a:02x}:{b:02x}:{c:02x}"
            for a, b, c in (secrets.token_bytes(3) for _draw in range(count - len(drawn)))
        }
        drawn |= fresh - set(Nic.objects.filter(mac__in=fresh).values_list("mac", flat=True))
    return sorted(drawn)


def migration_plan(vm: MachineSettings, cluster: Cluster) -> MigrationSpec:
    """How it would be migrated, with everything it inherits resolved."""
    choices = migration.Choices(
        mode=vm.migration_mode,
        policy=vm.migration_policy,
        downtime_ms=vm.migration_downtime_ms,
        auto_converge=vm.auto_converge,
        compressed=vm.migrate_compressed,
        cluster_policy=cluster.migration_policy,
        cluster_auto_converge=cluster.auto_converge,
        cluster_compressed=cluster.migrate_compressed,
    )
    return migration.plan(
        choices,
        auto_converge_default=config.get("DefaultAutoConvergence"),
        compressed_default=config.get("DefaultMigrationCompression"),
    )
