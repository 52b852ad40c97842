"""Where desktops run: data centers, their clusters, and the hosts in them."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from broker.drivers.hypervisor import Acceleration
from broker.models.base import Protected, Stateful
from broker.states import HOST_MOVES, HostStatus, Inherit, MigrationPolicy


class DataCenter(Protected):
    """The outermost container: clusters and the storage they share."""

    name = models.CharField(max_length=255, unique=True)
    description = models.TextField(blank=True)
    comment = models.TextField(blank=True)

    class Meta(Protected.Meta):
        verbose_name = _("data center")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Cluster(Protected):
    """Hosts among which VMs may move: the host pool of the seeds."""

    PARENTS = ("data_center",)

    data_center = models.ForeignKey(DataCenter, models.PROTECT, related_name="clusters")
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    spice_proxy = models.CharField(max_length=255, blank=True)
    allow_plain_spice = models.BooleanField(default=True, help_text="displays may be opened unencrypted, too")
    spice_ca = models.TextField(blank=True, help_text="the PEM of who signed its hosts' SPICE certificates")
    migration_policy = models.CharField(
        max_length=20, choices=MigrationPolicy.choices, default=MigrationPolicy.LEGACY
    )
    auto_converge = models.CharField(max_length=7, choices=Inherit.choices, default=Inherit.INHERIT)
    migrate_compressed = models.CharField(max_length=7, choices=Inherit.choices, default=Inherit.INHERIT)

    class Meta(Protected.Meta):
        verbose_name = _("cluster")
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=("data_center", "name"), name="cluster_name_in_data_center")]

    def __str__(self) -> str:
        return self.name


class Host(Protected, Stateful):
    """A machine that runs VMs, reached through its libvirt daemon."""

    PARENTS = ("cluster", "cluster__data_center")
    STATE_FIELD = "status"
    MOVES = HOST_MOVES

    class AccelerationMode(models.TextChoices):
        AUTOMATIC = "automatic"
        KVM = "kvm"
        QEMU = "qemu"

    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="hosts")
    name = models.CharField(max_length=255, unique=True)
    uri = models.CharField(max_length=1000, unique=True)
    display_address = models.CharField(max_length=255, help_text="where viewers reach this host")
    spice_subject = models.TextField(
        blank=True, help_text="of the certificate that its displays show; blank for none"
    )
    spice_certified_until = models.DateTimeField(null=True)
    description = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    status = models.CharField(
        max_length=20, choices=HostStatus.choices, default=HostStatus.MAINTENANCE, db_index=True
    )
    status_reason = models.TextField(blank=True)
    maintenance_asked = models.BooleanField(default=False, help_text="kept while it does not answer")
    acceleration_mode = models.CharField(
        max_length=10, choices=AccelerationMode.choices, default=AccelerationMode.AUTOMATIC
    )
    acceleration = models.CharField(max_length=4, choices=[(a, a) for a in Acceleration], blank=True)
    acceleration_reason = models.TextField(blank=True)
    memory_mib = models.PositiveIntegerField(default=0)
    memory_used_mib = models.PositiveIntegerField(default=0)
    cpu_model = models.CharField(max_length=100, blank=True)
    cpu_sockets = models.PositiveIntegerField(default=0)
    cpu_cores = models.PositiveIntegerField(default=0)
    cpu_threads = models.PositiveIntegerField(default=0)
    cpu_busy_percent = models.PositiveSmallIntegerField(null=True)
    cpu_busy_ns = models.BigIntegerField(default=0, help_text="of the last look, since boot")
    cpu_total_ns = models.BigIntegerField(default=0, help_text="of the last look, since boot")
    cpu_waiting_ns = models.BigIntegerField(default=0, help_text="of the last look, since boot")
    pressure_percent = models.PositiveSmallIntegerField(null=True, help_text="of the time work there stood still")
    pace = models.FloatField(default=2.0, help_text="VMs that may be started, reset, made or deleted at once")
    usual_seconds = models.JSONField(default=dict, help_text="that each such step takes")
    numa_nodes = models.JSONField(default=list, help_text="each with id, memory_mib and cpus")
    memory_overcommit_percent = models.PositiveIntegerField(default=100)
    libvirt_version = models.CharField(max_length=40, blank=True)
    qemu_version = models.CharField(max_length=40, blank=True)
    last_seen_at = models.DateTimeField(null=True)

    class Meta(Protected.Meta):
        verbose_name = _("host")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
