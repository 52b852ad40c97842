"""Write down that a desktop was clean when somebody got it, and that it is gone since (I4)."""

from datetime import datetime

from broker.drivers.hypervisor import VolumeFacts
from broker.models import Certificate, VirtualMachine


def record_made(vm: VirtualMachine, facts: VolumeFacts, at: datetime) -> None:
    """The layer of the present run, as its host reports it; may be repeated, for the first time counts."""
    assert vm.layer_key is not None and vm.layer_run is not None
    version = vm.template_version
    Certificate.objects.get_or_create(
        pk=vm.layer_key,
        defaults={
            "vm": vm,
            "vm_name": vm.name,
            "run_number": vm.layer_run,
            "layer": facts.name,
            "made_at": at,
            "stands_on": facts.backing_path or "",
            "disk": vm.volume.name,
            "disk_made_at": vm.volume.made_at,
            "version": version,
            "version_name": str(version),
            "checksum": version.checksum,
            "changed_by": str(vm.changed_by or ""),
            "changed_at": vm.changed_at,
            "released_by": str(vm.released_by or ""),
            "released_at": vm.released_at,
            "layer_before": vm.cleaned_layer,
            "layer_before_destroyed_at": vm.cleaned_at,
        },
    )


def record_destroyed(vm: VirtualMachine, at: datetime) -> None:
    """The layer that the row knows of was seen to be gone."""
    if vm.layer_key is not None:
        Certificate.objects.filter(pk=vm.layer_key, destroyed_at=None).update(destroyed_at=at)
