"""Pools of identical desktops, and the line in front of each."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from broker.models.base import Protected
from broker.models.hosts import Cluster
from broker.models.machines import MachineSettings
from broker.models.templates import Template, TemplateVersion
from broker.states import PoolType

MAX_VMS_PER_USER = 32_767  # R059
MAX_MINUTES = 10_080  # a week
MINUTES = [MinValueValidator(1), MaxValueValidator(MAX_MINUTES)]
MAX_LOCATION = 1000


class Pool(Protected, MachineSettings):
    """Identical VMs of one template, offered to whoever was granted the pool (R001).

    How long a desktop of an automatic pool may be kept, in minutes; null for no limit: without a viewer, in all, and
    without anything happening. `extension_minutes` is by how much its user may put each of them off, once.
    """

    PARENTS = ("cluster", "cluster__data_center")

    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="pools")
    name = models.CharField(max_length=255)
    type = models.CharField(max_length=10, choices=PoolType.choices, default=PoolType.AUTOMATIC)
    template = models.ForeignKey(Template, models.PROTECT, related_name="pools")
    template_version = models.ForeignKey(
        TemplateVersion, models.PROTECT, null=True, related_name="pools", help_text="null follows the latest"
    )
    prestarted_vms = models.PositiveIntegerField(default=0)
    max_vms_per_user = models.PositiveIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(MAX_VMS_PER_USER)]
    )
    disconnect_grace_minutes = models.PositiveIntegerField(null=True, validators=MINUTES)
    max_session_minutes = models.PositiveIntegerField(null=True, validators=MINUTES)
    idle_limit_minutes = models.PositiveIntegerField(null=True, validators=MINUTES)
    extension_minutes = models.PositiveIntegerField(null=True, validators=MINUTES)
    override_spice_proxy = models.BooleanField(default=False)
    spice_proxy = models.CharField(max_length=255, blank=True)
    central_data = models.CharField(
        max_length=MAX_LOCATION,
        blank=True,
        help_text="where the data of its users is, for desktops to be told (R008)",
    )
    removing = models.BooleanField(default=False, help_text="its VMs are being removed, and then itself")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(Protected.Meta):
        verbose_name = _("pool")
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(fields=("cluster", "name"), name="pool_name_in_cluster"),
            models.CheckConstraint(
                name="pool_max_vms_per_user",
                condition=models.Q(max_vms_per_user__range=(1, MAX_VMS_PER_USER)),
            ),
            models.CheckConstraint(
                name="only_automatic_pools_prestart",
                condition=models.Q(type=PoolType.AUTOMATIC) | models.Q(prestarted_vms=0),
            ),
            models.CheckConstraint(
                name="only_automatic_pools_limit_time",
                condition=models.Q(type=PoolType.AUTOMATIC)
                | models.Q(disconnect_grace_minutes=None, max_session_minutes=None, idle_limit_minutes=None),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Line(models.Model):
    """The line of a pool. Whoever holds its lock draws the next ticket, so commit order is ticket order."""

    pool = models.OneToOneField(Pool, models.CASCADE, primary_key=True, related_name="line")
    next_ticket = models.BigIntegerField(default=1)
    waited_below = models.BigIntegerField(default=0, help_text="lower tickets found none for them")

    class Meta:
        default_permissions = ()
