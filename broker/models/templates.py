"""What desktops are made from: templates and their numbered, read-only versions."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from broker.models.base import Protected, Row
from broker.models.hosts import DataCenter
from broker.models.storage import StoragePool, Volume
from broker.states import Graphics, OptimizedFor, ReadyWhen, VersionState


class Template(Protected):
    """A name under which base images are published, version by version."""

    PARENTS = ("data_center",)
    # Whoever makes pools or VMs in a cluster makes them from the templates of its data center (R135).
    LENT = (
        ("data_center", "clusters", "create_pool"),
        ("data_center", "clusters", "create_vm"),
    )

    data_center = models.ForeignKey(DataCenter, models.PROTECT, related_name="templates")
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    operating_system = models.CharField(max_length=100)
    optimized_for = models.CharField(max_length=10, choices=OptimizedFor.choices, default=OptimizedFor.DESKTOP)

    class Meta(Protected.Meta):
        verbose_name = _("template")
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=("data_center", "name"), name="template_name_in_data_center")]

    def __str__(self) -> str:
        return self.name

    def latest(self) -> "TemplateVersion | None":
        """The newest version that can be used."""
        return self.versions.filter(state=VersionState.READY).order_by("-number").first()


class TemplateVersion(Row):
    """One base image with its standard settings; never written after it was published (I4)."""

    template = models.ForeignKey(Template, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    volume = models.OneToOneField(Volume, models.PROTECT, related_name="template_version")
    state = models.CharField(max_length=10, choices=VersionState.choices, default=VersionState.READY)
    state_reason = models.TextField(blank=True)
    source = models.CharField(max_length=1000, blank=True, help_text="the image it is made from: a path, or a volume")
    source_storage_pool = models.ForeignKey(
        StoragePool, models.SET_NULL, null=True, related_name="+", help_text="null for a path on the host"
    )
    source_vm_id = models.UUIDField(null=True, help_text="the VM that was published")
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    checksum = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the image as it was published")
    memory_mib = models.PositiveIntegerField()
    vcpus = models.PositiveSmallIntegerField(default=1)
    ready_when = models.CharField(max_length=10, choices=ReadyWhen.choices, default=ReadyWhen.AGENT)
    ready_text = models.CharField(max_length=200, blank=True)
    ready_delay_seconds = models.PositiveIntegerField(default=0)
    start_timeout_seconds = models.PositiveIntegerField(default=300)
    graphics = models.CharField(max_length=5, choices=Graphics.choices, default=Graphics.SPICE)
    rdp_address = models.CharField(max_length=255, blank=True, help_text="its guests offer RDP there, {name} by name")
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()
        ordering = ("template", "number")
        constraints = [
            models.UniqueConstraint(fields=("template", "number"), name="template_version_number"),
            models.CheckConstraint(
                name="serial_marker_has_a_text",
                condition=~models.Q(ready_when=ReadyWhen.SERIAL) | ~models.Q(ready_text=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.template} (v{self.number})"
