"""Where disks live: storage pools, and the volumes we made in them."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from broker.drivers.hypervisor import StoragePoolSpec, VolumeName
from broker.models.base import Protected, Row
from broker.models.hosts import DataCenter, Host


class StoragePool(Protected):
    """A libvirt storage pool that every host of the data center reaches under one name and path."""

    PARENTS = ("data_center",)

    class Type(models.TextChoices):
        DIRECTORY = "dir"

    data_center = models.ForeignKey(DataCenter, models.PROTECT, related_name="storage_pools")
    name = models.CharField(max_length=255)
    type = models.CharField(max_length=20, choices=Type.choices, default=Type.DIRECTORY)
    target_path = models.CharField(max_length=1000)
    description = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    hosts: models.ManyToManyField = models.ManyToManyField(Host, through="StoragePoolOnHost")

    class Meta(Protected.Meta):
        verbose_name = _("storage pool")
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(fields=("data_center", "name"), name="storage_pool_name_in_data_center")
        ]

    def __str__(self) -> str:
        return self.name

    def spec(self) -> StoragePoolSpec:
        return StoragePoolSpec(name=self.name, type=self.type, target_path=self.target_path)


class StoragePoolOnHost(models.Model):
    """What one host says of a storage pool; sizes in bytes."""

    storage_pool = models.ForeignKey(StoragePool, models.CASCADE, related_name="on_hosts")
    host = models.ForeignKey(Host, models.CASCADE, related_name="storage_pools_on_host")
    active = models.BooleanField(default=False)
    capacity_bytes = models.BigIntegerField(default=0)
    allocation_bytes = models.BigIntegerField(default=0)
    available_bytes = models.BigIntegerField(default=0)
    seen_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=("storage_pool", "host"), name="storage_pool_once_per_host")]


class Volume(Row):
    """A disk image we own: a template's base, or the disk of one VM on top of it."""

    class Purpose(models.TextChoices):
        BASE = "base"
        DISK = "disk"

    storage_pool = models.ForeignKey(StoragePool, models.PROTECT, related_name="volumes")
    name = models.CharField(max_length=255)
    purpose = models.CharField(max_length=10, choices=Purpose.choices)
    backing = models.ForeignKey("self", models.PROTECT, null=True, related_name="overlays")
    capacity_bytes = models.BigIntegerField(default=0)
    made_at = models.DateTimeField(null=True, help_text="when the disk of a VM was made")
    doomed_at = models.DateTimeField(null=True, help_text="since when nobody needs it and it is to be deleted")

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=("doomed_at",), condition=models.Q(doomed_at__isnull=False), name="volume_doomed")
        ]
        constraints = [models.UniqueConstraint(fields=("storage_pool", "name"), name="volume_name_in_storage_pool")]

    def __str__(self) -> str:
        return self.name

    def address(self) -> VolumeName:
        return VolumeName(storage_pool=self.storage_pool.name, name=self.name)
