"""Virtual machines: what is wanted of each, what was last seen of it, and who works on it."""

from datetime import datetime
from pathlib import PurePath
from typing import ClassVar

from django.db import models
from django.db.models import Case, IntegerField, Q, Value, When

from broker.drivers.hypervisor import Acceleration, NicSpec, VmSpec, VolumeName
from broker.models.base import Protected
from broker.models.hosts import Cluster, Host
from broker.models.pools import Pool
from broker.models.storage import Volume
from broker.models.templates import TemplateVersion
from broker.states import HOLDING, HostStatus, OptimizedFor, ReadyWhen, RunMode, VmHold, VmStatus

CLEAN = Q(run_mode=None, status=VmStatus.DOWN, layer_run=None)
WARM = Q(run_mode=RunMode.STATELESS, host__status=HostStatus.UP)


class VmQuerySet(models.QuerySet["VirtualMachine"]):
    """Sentences about VMs."""

    def unassigned(self) -> "VmQuerySet":
        return self.exclude(requests__state__in=HOLDING)

    def down_and_clean(self) -> "VmQuerySet":
        return self.filter(CLEAN, hold=None)

    def prestarted(self) -> "VmQuerySet":
        """In a stateless run that is nobody's yet, up already or on the way, on a host that answers."""
        return self.unassigned().filter(WARM, hold=None)

    def offerable(self) -> "VmQuerySet":
        """Nobody's, and either down and clean, or prestarted."""
        return self.unassigned().filter(CLEAN | WARM, hold=None)

    def best_first(self) -> "VmQuerySet":
        """Already up first, then on the way up, then down; among equals those that failed least."""
        return self.annotate(
            rank=Case(
                When(ready_at__isnull=False, then=Value(0)),
                When(run_mode=RunMode.STATELESS, then=Value(1)),
                default=Value(2),
                output_field=IntegerField(),
            )
        ).order_by("rank", "failures", "number", "pk")

    def in_motion(self) -> "VmQuerySet":
        """Those of which the rows want something that has not been seen yet."""
        return self.filter(Q(hold__in=(VmHold.CREATING, VmHold.RESETTING)) | Q(run_mode__isnull=False, ready_at=None))

    def leased(self, vm: "VirtualMachine", term: int) -> "VmQuerySet":
        """The row, while the lease of that term and the run that was looked at are both in force."""
        return self.filter(pk=vm.pk, lease_term=term, run_number=vm.run_number)


class VirtualMachine(Protected):
    """A member of a pool, or an independent VM.

    `run_mode` is the wish (null: it should be down); every change of it draws the next `run_number`, so that
    anything an earlier run left behind, a late call of a killed worker included, can be told apart.
    `status` is what the hypervisor last reported. `layer_run` is the run whose layer may exist.
    """

    PARENTS: ClassVar[tuple[str, ...]] = ("pool", "cluster", "cluster__data_center")

    pool = models.ForeignKey(Pool, models.PROTECT, null=True, related_name="vms")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="vms")
    number = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=255, unique=True)
    template_version = models.ForeignKey(TemplateVersion, models.PROTECT, related_name="vms")
    operating_system = models.CharField(max_length=100)
    optimized_for = models.CharField(max_length=10, choices=OptimizedFor.choices)
    memory_mib = models.PositiveIntegerField()
    vcpus = models.PositiveSmallIntegerField()
    volume = models.OneToOneField(Volume, models.PROTECT, related_name="vm")

    run_mode = models.CharField(max_length=10, choices=RunMode.choices, null=True)
    run_number = models.PositiveIntegerField(default=0)
    hold = models.CharField(max_length=20, choices=VmHold.choices, null=True)
    hold_reason = models.TextField(blank=True)
    stop_at_once = models.BooleanField(default=False)

    status = models.CharField(max_length=20, choices=VmStatus.choices, default=VmStatus.DOWN)
    host = models.ForeignKey(
        Host, models.PROTECT, null=True, related_name="vms", help_text="its memory is reserved there (I7)"
    )
    defined_on = models.ForeignKey(Host, models.PROTECT, null=True, related_name="+")
    run_started_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    stop_asked_at = models.DateTimeField(null=True)
    layer_run = models.PositiveIntegerField(null=True)
    domain_id = models.IntegerField(null=True)
    display_port = models.PositiveIntegerField(null=True)
    failures = models.PositiveSmallIntegerField(default=0, help_text="failed starts in a row")

    lease_term = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    intent_version = models.PositiveIntegerField(default=0)

    objects = VmQuerySet.as_manager()

    class Meta(Protected.Meta):
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
                name="vm_that_runs_has_a_host", condition=Q(run_mode=None) | Q(host__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def layer(self) -> VolumeName:
        """The layer of the present run; the run's number stands in its name."""
        return self._of_run(self.run_number, "qcow2")

    def console_log(self) -> VolumeName:
        """Where the present run's serial console is kept."""
        return self._of_run(self.run_number, "serial")

    def left_behind(self) -> tuple[VolumeName, ...]:
        """What the last stateless run may have left in the storage pool."""
        if self.layer_run is None:
            return ()
        return (self._of_run(self.layer_run, "qcow2"), self._of_run(self.layer_run, "serial"))

    def _of_run(self, run: int, suffix: str) -> VolumeName:
        disk = self.volume.address()
        return VolumeName(disk.storage_pool, f"{PurePath(disk.name).stem}.run-{run}.{suffix}")

    def spec(self, *, installation: str, host: Host, at_rest: bool = False) -> VmSpec:
        """The domain as it is defined: with the present run's layer, or at rest on the VM's own disk."""
        stateless = self.run_mode == RunMode.STATELESS and not at_rest
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
            console_log=self.console_log() if stateless and reads_serial else None,
        )

    def running_for(self, now: datetime) -> float:
        """Seconds since the present run was seen to start."""
        return (now - self.run_started_at).total_seconds() if self.run_started_at else 0.0


class Nic(models.Model):
    """A network card. Its address belongs to it alone, everywhere and for ever (I8)."""

    vm = models.ForeignKey(VirtualMachine, models.CASCADE, related_name="nics")
    mac = models.CharField(max_length=17, unique=True)

    class Meta:
        default_permissions = ()
        ordering = ("pk",)
