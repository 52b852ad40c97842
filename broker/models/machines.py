"""The settings that pools and virtual machines share: a pool hands them to the VMs made for it (R062, R072)."""

from typing import Any, ClassVar

from django.db import models

from broker.models.hosts import Host
from broker.states import (
    ColorDepth,
    Inherit,
    MigrationMode,
    MigrationPolicy,
    NumaTuneMode,
    OptimizedFor,
    StartRunningOn,
)

MAX_USB_FILTER = 1000


class MachineSettings(models.Model):
    """What a VM is made of and where it may run. Sizes in MiB, times in milliseconds.

    `numa_pinning` holds for each virtual NUMA node the list of the host's nodes it is pinned to. From `fullscreen` to
    `disabled_effects` they are how viewers open it unless their user chose otherwise.
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
        "smartcard",
        "usb_filter",
        "fullscreen",
        "remap_ctrl_alt_del",
        "usb_autoshare",
        "color_depth",
        "disabled_effects",
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
    smartcard = models.BooleanField(default=False, help_text="a reader that viewers may lend a card to")
    usb_filter = models.CharField(max_length=MAX_USB_FILTER, blank=True, help_text="which devices viewers lend")
    fullscreen = models.BooleanField(default=False)
    remap_ctrl_alt_del = models.BooleanField(default=True)
    usb_autoshare = models.BooleanField(default=True)
    color_depth = models.CharField(max_length=4, choices=ColorDepth.choices, default=ColorDepth.NONE)
    disabled_effects = models.JSONField(default=list)

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
