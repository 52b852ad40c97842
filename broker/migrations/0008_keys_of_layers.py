"""Layers that were wanted before there were certificates get the key of one, or they could never be made."""

from uuid import uuid4

from django.db import migrations


def fill(apps, schema_editor):
    vms = apps.get_model("broker", "VirtualMachine").objects
    wishes = apps.get_model("broker", "DesktopRequest").objects
    for vm_id in vms.filter(layer_run__isnull=False, layer_key=None).values_list("pk", flat=True):
        key = uuid4()
        vms.filter(pk=vm_id).update(layer_key=key)
        wishes.filter(vm=vm_id, state="starting").update(certificate=key)


class Migration(migrations.Migration):
    dependencies = [("broker", "0007_shifts")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
