"""The settings that pools and virtual machines share: a pool hands them to the VMs made for it (R062, R072)."""

from typing import Any, ClassVar

from django.db import models

from broker.models.hosts import Host
from broker.states import (
    Inherit,
    MigrationMode,
    MigrationPolicy,
    NumaTuneMode,
    OptimizedFor,
    StartRunningOn,
)


class MachineSettings(models.Model):
    """What a VM is made of and where it may run. Sizes in MiB, times in milliseconds.

    `numa_pinning` holds for each virtual NUMA node the list of the host's nodes it is pinned to.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = (
        "description",
        "comment",
        "operating_system",
        "optimized_for",
        "memory_mib",
        "vcpus",
        "delete_protection",
        "clipboard",
        "file_transfer",
        "start_running_on",
        "migration_mode",
        "migration_policy",
        "migration_downtime_ms",
        "auto_converge",
        "migrate_compressed",
        "host_cpu_passthrough",
        "numa_node_count",
        "numa_tune_mode",
        "numa_pinning",
    )

    description = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    operating_system = models.CharField(max_length=100)
    optimized_for = models.CharField(max_length=10, choices=OptimizedFor.choices)
    memory_mib = models.PositiveIntegerField()
    vcpus = models.PositiveSmallIntegerField()
    delete_protection = models.BooleanField(default=False)

    clipboard = models.BooleanField(default=True)
    file_transfer = models.BooleanField(default=True)

    start_running_on = models.CharField(max_length=10, choices=StartRunningOn.choices, default=StartRunningOn.ANY)
    hosts: models.ManyToManyField = models.ManyToManyField(Host, related_name="%(class)s_settings")
    migration_mode = models.CharField(max_length=12, choices=MigrationMode.choices, default=MigrationMode.ALLOW)
    migration_policy = models.CharField(max_length=20, choices=MigrationPolicy.choices, null=True)
    migration_downtime_ms = models.PositiveIntegerField(null=True)
    auto_converge = models.CharField(max_length=7, choices=Inherit.choices, default=Inherit.INHERIT)
    migrate_compressed = models.CharField(max_length=7, choices=Inherit.choices, default=Inherit.INHERIT)
    host_cpu_passthrough = models.BooleanField(default=False)
    numa_node_count = models.PositiveSmallIntegerField(default=0)
    numa_tune_mode = models.CharField(max_length=10, choices=NumaTuneMode.choices, default=NumaTuneMode.INTERLEAVE)
    numa_pinning = models.JSONField(default=list)

    class Meta:
        abstract = True

    def settings(self) -> dict[str, Any]:
        """All of them but the hosts, by name."""
        return {name: getattr(self, name) for name in self.SETTINGS}
