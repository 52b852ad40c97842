"""Fill what rows made before the Administration Portal did not keep: names of their own, and pools' sizes of VMs."""

from typing import Any

from django.db import migrations
from django.db.models import OuterRef, Subquery
from django.utils import timezone


def fill(apps: Any, schema_editor: Any) -> None:
    Pool = apps.get_model("broker", "Pool")
    VirtualMachine = apps.get_model("broker", "VirtualMachine")
    TemplateVersion = apps.get_model("broker", "TemplateVersion")
    DesktopRequest = apps.get_model("broker", "DesktopRequest")
    Job = apps.get_model("broker", "Job")
    pool_name = Subquery(Pool.objects.filter(pk=OuterRef("pool")).values("name")[:1])
    DesktopRequest.objects.filter(pool__isnull=False).update(pool_name=pool_name)
    Job.objects.filter(pool__isnull=False).update(about=pool_name)
    vm_name = Subquery(VirtualMachine.objects.filter(pk=OuterRef("vm")).values("name")[:1])
    DesktopRequest.objects.filter(vm__isnull=False).update(vm_name=vm_name)
    # An administrator's run that is going on now is one whose changes somebody must release.
    VirtualMachine.objects.filter(run_mode="stateful").update(changed_at=timezone.now())
    for pool in Pool.objects.select_related("template_version"):
        latest = TemplateVersion.objects.filter(template=pool.template_id).order_by("-number").first()
        version = pool.template_version or latest
        if version is not None:
            Pool.objects.filter(pk=pool.pk).update(memory_mib=version.memory_mib, vcpus=version.vcpus)


class Migration(migrations.Migration):
    dependencies = [("broker", "0003_administration")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
