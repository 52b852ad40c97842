"""The proof that a desktop was clean when somebody got it, and is gone since."""

from django.db import models

from broker.models.base import Row
from broker.models.templates import TemplateVersion
from broker.models.vms import VirtualMachine


class Certificate(Row):
    """One fresh layer: what it was made on, what became of the one before, and when it was itself destroyed (I4).

    Its key is the VM's `layer_key`, drawn with the run, so that a wish can name it before it is there. Written when
    the layer was seen to stand on the member's disk, before anybody is given the desktop. Names are kept beside the
    keys because rows go: a certificate outlives its VM and its template. `changed_*` and `released_*` tell what an
    administrator did to the member's disk since it was made; blank and null for an untouched one.
    """

    vm = models.ForeignKey(VirtualMachine, models.SET_NULL, null=True, related_name="certificates")
    vm_name = models.CharField(max_length=255)
    run_number = models.PositiveIntegerField(help_text="the run that the layer was made for")

    layer = models.CharField(max_length=300)
    made_at = models.DateTimeField()
    stands_on = models.CharField(max_length=1000, help_text="the path the layer was seen to stand on")
    disk = models.CharField(max_length=300)
    disk_made_at = models.DateTimeField(null=True)
    version = models.ForeignKey(TemplateVersion, models.SET_NULL, null=True, related_name="+")
    version_name = models.CharField(max_length=300)
    checksum = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the version's image")

    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=150, blank=True)
    released_at = models.DateTimeField(null=True)

    layer_before = models.CharField(max_length=300, blank=True, help_text="blank for the first layer of a disk")
    layer_before_destroyed_at = models.DateTimeField(null=True)
    destroyed_at = models.DateTimeField(null=True, help_text="when the layer itself was seen to be gone")

    class Meta:
        default_permissions = ()
        ordering = ("-made_at", "pk")
        indexes = [models.Index(fields=("made_at",), name="certificate_oldest")]

    def __str__(self) -> str:
        return self.layer
