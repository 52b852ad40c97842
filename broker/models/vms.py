"""Virtual machines: what is wanted of each, what was last seen of it, and who works on it."""

from datetime import datetime
from pathlib import PurePath
from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Case, F, IntegerField, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from broker.drivers.hypervisor import (
    Acceleration,
    MigrationSpec,
    NicSpec,
    NumaCell,
    NumaSpec,
    VmSpec,
    VolumeName,
)
from broker.drivers.hypervisor.config_drive import for_central_data
from broker.models.base import Protected
from broker.models.hosts import Cluster, Host
from broker.models.machines import MachineSettings
from broker.models.pools import MAX_LOCATION, Pool
from broker.models.storage import Volume
from broker.models.templates import TemplateVersion
from broker.states import (
    HOLDING,
    HostStatus,
    ReadyWhen,
    RunMode,
    StartRunningOn,
    VersionState,
    VmHold,
    VmStatus,
)

CLEAN = Q(run_mode=None, status=VmStatus.DOWN, layer_run=None)
UNDER_WAY = (VmHold.CREATING, VmHold.RESETTING, VmHold.REMOVING)
WARM = Q(run_mode=RunMode.STATELESS, host__status=HostStatus.UP)
OFFERED = (CLEAN | WARM) & Q(hold=None)


class VmQuerySet(models.QuerySet["VirtualMachine"]):
    """Sentences about VMs."""

    def unassigned(self) -> "VmQuerySet":
        return self.exclude(requests__state__in=HOLDING)

    def clean(self) -> "VmQuerySet":
        """Down, and without a layer of a former run."""
        return self.filter(CLEAN)

    def down_and_clean(self) -> "VmQuerySet":
        return self.clean().filter(hold=None)

    def prestarted(self) -> "VmQuerySet":
        """In a stateless run that is nobody's yet, up already or on the way, on a host that answers."""
        return self.unassigned().filter(WARM, hold=None)

    def offerable(self) -> "VmQuerySet":
        """Nobody's, and either down and clean, or prestarted."""
        return self.unassigned().filter(OFFERED)

    def staying(self) -> "VmQuerySet":
        """All but those that are being removed."""
        return self.filter(~Q(hold=VmHold.REMOVING) | Q(hold=None))

    def best_first(self) -> "VmQuerySet":
        """Already up first, then on the way up, then down; among equals those that failed least.

        With their pool, which a run takes over from when it begins.
        """
        return (
            self.select_related("pool")
            .annotate(
                rank=Case(
                    When(ready_at__isnull=False, then=Value(0)),
                    When(run_mode=RunMode.STATELESS, then=Value(1)),
                    default=Value(2),
                    output_field=IntegerField(),
                )
            )
            .order_by("rank", "failures", "number", "pk")
        )

    def in_motion(self) -> "VmQuerySet":
        """Those of which the rows want something that has not been seen yet."""
        starting = Q(run_mode__isnull=False, halted=False, ready_at=None)
        halting = Q(halted=True) & ~Q(status=VmStatus.DOWN)
        pausing = Q(suspended=True) & ~Q(status=VmStatus.PAUSED) | Q(suspended=False, status=VmStatus.PAUSED)
        return self.filter(Q(hold__in=UNDER_WAY) | starting | halting | Q(pausing, ready_at__isnull=False))

    def placeable(self, host_ids: "list[UUID]", free_mib: int) -> "VmQuerySet":
        """Running already, or small enough for the largest gap and free to start on one of these hosts."""
        chosen = VirtualMachine.hosts.through.objects.filter(host_id__in=host_ids).values("virtualmachine_id")
        allowed = Q(start_running_on=StartRunningOn.ANY) | Q(pk__in=chosen)
        return self.filter(Q(run_mode__isnull=False) | Q(allowed, memory_mib__lte=free_mib))

    def outdated(self) -> "VmQuerySet":
        """Members that are free to be moved to the version their pool follows, and are not of it yet."""
        latest = (
            TemplateVersion.objects.filter(template=OuterRef("pool__template"), state=VersionState.READY)
            .order_by("-number")
            .values("pk")[:1]
        )
        wanted = Coalesce(F("pool__template_version"), Subquery(latest))
        return self.filter(pool__isnull=False, hold=None).unassigned().exclude(template_version=wanted)

    def leased(self, vm: "VirtualMachine", term: int) -> "VmQuerySet":
        """The row, while the lease of that term and the run that was looked at are both in force."""
        return self.filter(pk=vm.pk, lease_term=term, run_number=vm.run_number)


class VirtualMachine(Protected, MachineSettings):
    """A member of a pool, or an independent VM.

    `run_mode` is the wish (null: it should be down); every change of it draws the next `run_number`, so that
    anything an earlier run left behind, a late call of a killed worker included, can be told apart.
    `status` is what the hypervisor last reported. `layer_run` is the run whose layer may exist.
    `halted`: down for a while with its layer and its user, as manual pools allow (R066). `suspended`: paused in
    memory. `changed_at`: when it was last run statefully since its disk was made; `released_at`: when it was offered
    again on purpose. `central_data`: what the present stateless run, or the last one, was told.
    """

    PARENTS: ClassVar[tuple[str, ...]] = ("pool", "cluster", "cluster__data_center")

    pool = models.ForeignKey(Pool, models.PROTECT, null=True, related_name="vms")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="vms")
    number = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=255, unique=True)
    template_version = models.ForeignKey(TemplateVersion, models.PROTECT, related_name="vms")
    volume = models.OneToOneField(Volume, models.PROTECT, related_name="vm")

    run_mode = models.CharField(max_length=10, choices=RunMode.choices, null=True)
    run_number = models.PositiveIntegerField(default=0)
    hold = models.CharField(max_length=20, choices=VmHold.choices, null=True)
    hold_reason = models.TextField(blank=True)
    fault = models.CharField(max_length=300, blank=True, help_text="why nobody is to get it until it is released")
    stop_at_once = models.BooleanField(default=False)
    halted = models.BooleanField(default=False)
    suspended = models.BooleanField(default=False)
    central_data = models.CharField(max_length=MAX_LOCATION, blank=True)

    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    changed_at = models.DateTimeField(null=True)
    released_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    released_at = models.DateTimeField(null=True)

    status = models.CharField(max_length=20, choices=VmStatus.choices, default=VmStatus.DOWN)
    host = models.ForeignKey(
        Host, models.PROTECT, null=True, related_name="vms", help_text="its memory is reserved there (I7)"
    )
    defined_on = models.ForeignKey(Host, models.PROTECT, null=True, related_name="+")
    placed_at = models.DateTimeField(null=True, help_text="when the host of this run was chosen")
    disk_ready_at = models.DateTimeField(null=True, help_text="when the layer of this run was made")
    run_started_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    stop_asked_at = models.DateTimeField(null=True)
    layer_run = models.PositiveIntegerField(null=True)
    layer_key = models.UUIDField(null=True, help_text="the certificate of that layer")
    cleaned_layer = models.CharField(max_length=300, blank=True, help_text="the last that was destroyed")
    cleaned_at = models.DateTimeField(null=True)
    processor_ns = models.BigIntegerField(null=True, help_text="time its processors had run when last looked at")
    processor_seen_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True, help_text="when it was last to show its user something")
    domain_id = models.IntegerField(null=True)
    display_port = models.PositiveIntegerField(null=True)
    display_tls_port = models.PositiveIntegerField(null=True)
    failures = models.PositiveSmallIntegerField(default=0, help_text="failed starts in a row")

    lease_term = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    intent_version = models.PositiveIntegerField(default=0)

    objects = VmQuerySet.as_manager()

    class Meta(Protected.Meta):
        verbose_name = _("virtual machine")
        ordering = ("pool__name", "number", "name")
        indexes = [
            models.Index(fields=("pool", "run_mode", "failures", "number"), name="vm_offer"),
            models.Index(fields=("pool",), condition=Q(hold__isnull=False), name="vm_held"),
            models.Index(fields=("host",), condition=Q(host__isnull=False), name="vm_on_host"),
        ]
        constraints = [
            models.CheckConstraint(
                name="vm_with_a_layer_is_never_offered_at_rest",
                condition=Q(layer_run=None) | Q(run_mode=RunMode.STATELESS) | Q(hold__isnull=False),
            ),
            models.CheckConstraint(
                name="vm_that_runs_has_a_host",
                condition=Q(run_mode=None) | Q(halted=True) | Q(host__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_unreleased_changes(self) -> bool:
        """Whether an administrator ran it statefully and has not offered it again on purpose since."""
        return self.changed_at is not None and (self.released_at is None or self.released_at < self.changed_at)

    @property
    def is_clean(self) -> bool:
        """Down, and without a layer of a former run: CLEAN, asked of one row."""
        return self.run_mode is None and self.status == VmStatus.DOWN and self.layer_run is None

    @property
    def hold_when_clean(self) -> str | None:
        """Why it is offered to nobody before it is released on purpose: it is faulty, or its disk was changed."""
        if self.fault:
            return VmHold.FAULTY
        return VmHold.ADMINISTRATOR if self.pool_id and self.has_unreleased_changes else None

    def layer(self) -> VolumeName:
        """The layer of the present stateless run; the number of the run that made it stands in its name."""
        assert self.layer_run is not None
        return self._of_run(self.layer_run, "qcow2")

    def console_log(self) -> VolumeName:
        """Where the present stateless run's serial console is kept."""
        assert self.layer_run is not None
        return self._of_run(self.layer_run, "serial")

    def config_drive(self) -> tuple[VolumeName, bytes] | None:
        """What tells the present stateless run where its user's data is, beside the disk; null for nothing (R008)."""
        if self.run_mode != RunMode.STATELESS or not self.central_data:
            return None
        drive = for_central_data(self.central_data)
        return VolumeName(self.volume.address().storage_pool, drive.name), drive.content

    def left_behind(self) -> tuple[VolumeName, ...]:
        """What the last stateless run may have left in the storage pool."""
        if self.layer_run is None:
            return ()
        return (self._of_run(self.layer_run, "qcow2"), self._of_run(self.layer_run, "serial"))

    def _of_run(self, run: int, suffix: str) -> VolumeName:
        disk = self.volume.address()
        return VolumeName(disk.storage_pool, f"{PurePath(disk.name).stem}.run-{run}.{suffix}")

    def spec(self, *, installation: str, host: Host, migration: MigrationSpec, at_rest: bool = False) -> VmSpec:
        """The domain as it is defined: with the present run's layer, or at rest on the VM's own disk."""
        stateless = self.run_mode == RunMode.STATELESS and not at_rest
        drive = None if at_rest else self.config_drive()
        reads_serial = self.template_version.ready_when == ReadyWhen.SERIAL
        return VmSpec(
            id=self.pk,
            name=self.name,
            installation=installation,
            run=0 if at_rest else self.run_number,
            memory_mib=self.memory_mib,
            vcpus=self.vcpus,
            operating_system=self.operating_system,
            optimized_for=self.optimized_for,
            acceleration=Acceleration(host.acceleration),
            disk=self.layer() if stateless else self.volume.address(),
            nics=tuple(NicSpec(mac=nic.mac) for nic in self.nics.all()),
            display_address=host.display_address,
            plain_display=self.cluster.allow_plain_spice,
            smartcard=self.smartcard,
            graphics=self.graphics,
            console_log=self.console_log() if stateless and reads_serial else None,
            cpu_passthrough=self.host_cpu_passthrough,
            numa=self.numa(),
            clipboard=self.clipboard,
            file_transfer=self.file_transfer,
            migration=migration,
            config_drive=drive and drive[0],
        )

    def numa(self) -> NumaSpec | None:
        """Its virtual NUMA nodes, which share its memory and its vCPUs evenly; null for none (R102)."""
        count = self.numa_node_count
        if not count:
            return None
        memory, cpus = _shares(self.memory_mib, count), _shares(self.vcpus, count)
        firsts = [sum(cpus[:index]) for index in range(count)]
        return NumaSpec(
            tune_mode=self.numa_tune_mode,
            cells=tuple(
                NumaCell(
                    memory_mib=memory[index],
                    cpus=tuple(range(firsts[index], firsts[index] + cpus[index])),
                    host_nodes=tuple(self.numa_pinning[index]) if self.numa_pinning else (),
                )
                for index in range(count)
            ),
        )

    @property
    def graphics(self) -> str:
        """How its display is opened, as its template says."""
        return self.template_version.graphics

    def running_for(self, now: datetime) -> float:
        """Seconds since the present run was seen to start."""
        return (now - self.run_started_at).total_seconds() if self.run_started_at else 0.0


def _shares(total: int, count: int) -> list[int]:
    """`total` in `count` whole parts that differ by one at most, the larger ones first."""
    return [total // count + (index < total % count) for index in range(count)]


class Nic(models.Model):
    """A network card. Its address belongs to it alone, everywhere and for ever (I8)."""

    vm = models.ForeignKey(VirtualMachine, models.CASCADE, related_name="nics")
    mac = models.CharField(max_length=17, unique=True)

    class Meta:
        default_permissions = ()
        ordering = ("pk",)
