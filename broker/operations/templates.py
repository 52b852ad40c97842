"""Templates and their versions: import an image, publish a VM, seal the copy, and remove what nobody uses."""

import logging
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import config, events, grants, jobs
from broker.drivers import hypervisor
from broker.drivers.hypervisor import HostFile, HypervisorError, VolumeName
from broker.errors import Conflict, Invalid
from broker.models import (
    Event,
    Host,
    Job,
    Pool,
    StoragePool,
    StoragePoolOnHost,
    Template,
    TemplateVersion,
    VirtualMachine,
    Volume,
)
from broker.operations import edits
from broker.operations import jobs as job_operations
from broker.rules import templates as rules
from broker.states import Graphics, HostStatus, JobState, OptimizedFor, ReadyWhen, VersionState, VmHold

log = logging.getLogger(__name__)

STANDARD = {
    "memory_mib": 1024,
    "vcpus": 1,
    "ready_when": ReadyWhen.AGENT,
    "ready_text": "",
    "ready_delay_seconds": 0,
    "start_timeout_seconds": 300,
    "graphics": Graphics.SPICE,
    "rdp_address": "",
}


@transaction.atomic
def import_image(
    *,
    storage_pool: StoragePool,
    name: str = "",
    into: Template | None = None,
    path: str = "",
    volume_name: str = "",
    description: str = "",
    comment: str = "",
    operating_system: str = "",
    optimized_for: str = OptimizedFor.DESKTOP,
    by: Any = None,
    **given: Any,
) -> tuple[TemplateVersion, Job]:
    """Make a version from a qcow2 or raw image: a file on the host, or a volume of the storage pool.

    It starts the template `name`, or is the next version of `into`. A worker checks, copies and seals the image.
    """
    if bool(path) == bool(volume_name):
        raise Invalid(_("Name either a path on the host or a volume of the storage pool."), field="path")
    problem = rules.path_problem(path) if path else None
    if problem:
        raise Invalid(problem, field="path")
    settings = {**STANDARD, **{key: value for key, value in given.items() if value is not None}}
    problems = rules.settings_problems(settings)
    if problems:
        raise Invalid.fields(problems)
    if into is not None and into.data_center_id != storage_pool.data_center_id:
        text = _("The storage pool belongs to another data center than the template.")
        raise Invalid(text, field="storage_pool")
    template = into or _new_template(
        storage_pool,
        name,
        description=description,
        comment=comment,
        operating_system=operating_system or _("Other"),
        optimized_for=optimized_for,
        by=by,
    )
    source = {"source": path or volume_name, "source_storage_pool": storage_pool if volume_name else None}
    version = _next_version(template, storage_pool, by=by, **source, **settings)
    events.record("template.importing", actor=by, subject=template, source=path or volume_name, version=version)
    return version, _prepare(version, "template.import", by=by)


@transaction.atomic
def publish(
    *, vm: VirtualMachine, template: Template | None = None, name: str = "", by: Any = None
) -> tuple[TemplateVersion, Job]:
    """Make a stopped VM's disk the next version of a template, or the first of the template `name`."""
    vm = edits.lock(vm)
    if vm.hold not in (None, VmHold.ADMINISTRATOR) or not vm.is_clean:
        text = _("%(vm)s can only be published while it is down and nobody has it.")
        raise Conflict(text % {"vm": vm}, code="WRONG_STATE")
    storage_pool, former = vm.volume.storage_pool, vm.template_version
    if template is not None and template.data_center_id != storage_pool.data_center_id:
        raise Invalid(_("The template belongs to another data center than the VM."), field="template")
    target = template or _new_template(
        storage_pool,
        name,
        description="",
        comment="",
        operating_system=vm.operating_system,
        optimized_for=vm.optimized_for,
        by=by,
    )
    version = _next_version(
        target,
        storage_pool,
        by=by,
        source=vm.volume.name,
        source_storage_pool=storage_pool,
        source_vm_id=vm.pk,
        memory_mib=vm.memory_mib,
        vcpus=vm.vcpus,
        ready_when=former.ready_when,
        ready_text=former.ready_text,
        ready_delay_seconds=former.ready_delay_seconds,
        start_timeout_seconds=former.start_timeout_seconds,
        graphics=former.graphics,
        rdp_address=former.rdp_address,
    )
    # Nobody starts it while its disk is being copied.
    VirtualMachine.objects.filter(pk=vm.pk).update(hold=VmHold.MAINTENANCE)
    events.record("template.publishing", actor=by, vm=vm, pool=vm.pool, subject=target, version=version)
    return version, _prepare(version, "template.publish", by=by)


def _new_template(storage_pool: StoragePool, name: str, *, by: Any, **values: Any) -> Template:
    data_center = storage_pool.data_center
    edits.require_name(name, Template.objects.filter(data_center=data_center))
    try:
        with transaction.atomic():
            template = Template.objects.create(data_center=data_center, name=name, **values)
    except IntegrityError as error:
        raise Conflict(_("The name %(name)s is used already.") % {"name": name}, field="name") from error
    edits.record("created", template, by=by)
    return template


def _next_version(template: Template, storage_pool: StoragePool, *, by: Any, **values: Any) -> TemplateVersion:
    edits.lock(template)
    number = (template.versions.aggregate(last=Max("number"))["last"] or 0) + 1
    volume = Volume.objects.create(
        storage_pool=storage_pool,
        name=f"template-{template.pk.hex[:8]}-v{number}-{uuid4().hex[:8]}.qcow2",
        purpose=Volume.Purpose.BASE,
    )
    return TemplateVersion.objects.create(
        template=template, number=number, volume=volume, state=VersionState.PREPARING, published_by=by, **values
    )


def _prepare(version: TemplateVersion, kind: str, *, by: Any) -> Job:
    jobs.later("broker.prepare_version", version.pk)
    return job_operations.begin(kind, [version], about=str(version), by=by, template=version.template)


@transaction.atomic
def change(*, template: Template, changes: dict[str, Any], expected: dict[str, Any] | None = None, by: Any) -> None:
    """Change name, words and standard settings of a template; its versions never change."""
    template = edits.lock(template)
    if changes.get("name", template.name) != template.name:
        others = Template.objects.filter(data_center=template.data_center_id).exclude(pk=template.pk)
        edits.require_name(changes["name"], others)
    changed = edits.apply(template, changes, expected=expected)
    if changed:
        edits.record("changed", template, by=by, fields=", ".join(changed))


@transaction.atomic
def remove_version(*, version: TemplateVersion, by: Any) -> None:
    """Remove a version that nothing uses."""
    template = edits.lock(version.template)
    _require_unused(version)
    latest = template.latest()
    if latest == version and Pool.objects.filter(template=template, template_version=None).exists():
        remaining = template.versions.filter(state=VersionState.READY).exclude(pk=version.pk)
        if not remaining.exists():
            raise Conflict(_("Pools follow the latest version, and this is the last one."), code="IN_USE")
    _forget(version)
    events.record("template.version_removed", actor=by, subject=template, version=version)


def _require_unused(version: TemplateVersion) -> None:
    users = [*version.vms.order_by("name")[:10], *version.pools.order_by("name")[:10]]
    if users:
        text = _("%(version)s is used by %(names)s.")
        raise Conflict(text % {"version": version, "names": ", ".join(map(str, users))}, code="IN_USE")
    if version.state == VersionState.PREPARING:
        raise Conflict(_("%(version)s is being prepared.") % {"version": version}, code="WRONG_STATE")


def _forget(version: TemplateVersion) -> None:
    volume = version.volume_id
    version.delete()
    Volume.objects.filter(pk=volume).update(doomed_at=timezone.now())


@transaction.atomic
def remove(*, template: Template, by: Any) -> None:
    """Remove a template with all its versions, when nothing uses any of them."""
    template = edits.lock(template)
    pools = list(template.pools.order_by("name").values_list("name", flat=True)[:10])
    if pools:
        text = _("%(name)s is used by pools: %(names)s.")
        raise Conflict(text % {"name": template, "names": ", ".join(pools)}, code="IN_USE")
    versions = list(template.versions.select_related("volume", "template"))
    for version in versions:
        _require_unused(version)
    for version in versions:
        _forget(version)
    edits.record("removed", template, by=by)
    grants.forget(template)
    template.delete()


# -- in a worker -----------------------------------------------------------------------------------


def prepare_on_host(*, version_id: UUID) -> None:
    """Check the source of a version, copy it, seal the copy and take its checksum; may be repeated."""
    version = (
        TemplateVersion.objects.select_related("volume__storage_pool", "source_storage_pool", "template")
        .filter(pk=version_id, state=VersionState.PREPARING)
        .first()
    )
    host = None if version is None else _host_for(version)
    if version is None or host is None:
        return  # without a host the sweep asks again
    try:
        driver = hypervisor.connect(host.uri)
        problem = _image_problem(version, driver)
        if problem is None:
            facts = driver.copy_image(_source(version), version.volume.address())
            checksum = driver.checksum(version.volume.address())
    except hypervisor.HostUnreachable as error:
        log.warning("%s waits: %s", version, error)
        return
    except HypervisorError as error:
        problem = str(error)
    if problem is not None:
        record_failed(version=version, reason=problem)
    else:
        record_ready(version=version, checksum=checksum, capacity_bytes=facts.capacity_bytes)


def _host_for(version: TemplateVersion) -> Host | None:
    on = StoragePoolOnHost.objects.filter(storage_pool=version.volume.storage_pool, active=True)
    up = on.filter(host__status=HostStatus.UP).select_related("host").order_by("host__name").first()
    return up.host if up else None


def _source(version: TemplateVersion) -> HostFile | VolumeName:
    if version.source_storage_pool is None:
        return HostFile(version.source)
    return VolumeName(version.source_storage_pool.name, version.source)


def _image_problem(version: TemplateVersion, driver: hypervisor.Hypervisor) -> str | None:
    facts = driver.inspect_image(_source(version))
    room = driver.ensure_storage_pool(version.volume.storage_pool.spec()).available_bytes
    source = rules.Source(path=version.source, may_have_backing=version.source_vm_id is not None)
    return rules.image_problem(facts, source, max_gib=config.get("MaxImageGiB"), available_bytes=room)


@transaction.atomic
def record_ready(*, version: TemplateVersion, checksum: str, capacity_bytes: int) -> None:
    """The image is in place and sealed: pools on the latest version follow it from now on."""
    rows = TemplateVersion.objects.filter(pk=version.pk, state=VersionState.PREPARING)
    if not rows.update(state=VersionState.READY, checksum=checksum, published_at=timezone.now()):
        return
    Volume.objects.filter(pk=version.volume_id).update(capacity_bytes=capacity_bytes)
    _let_go(version)
    job_operations.finish_item(version.pk, JobState.DONE)
    events.record("template.ready", subject=version.template, version=version)
    for pool_id in Pool.objects.filter(template=version.template_id, template_version=None).values_list(
        "pk", flat=True
    ):
        jobs.wake_pool(pool_id)


@transaction.atomic
def record_failed(*, version: TemplateVersion, reason: str) -> None:
    """It could not be made; the job can be tried again."""
    rows = TemplateVersion.objects.filter(pk=version.pk, state=VersionState.PREPARING)
    if not rows.update(state=VersionState.FAILED, state_reason=reason):
        return
    _let_go(version)
    job_operations.finish_item(version.pk, JobState.FAILED, reason)
    severity = Event.Severity.ERROR
    events.record("template.failed", subject=version.template, version=version, reason=reason, severity=severity)


def _let_go(version: TemplateVersion) -> None:
    """The VM that was copied may be started again; what it holds is offered to nobody before it is released."""
    if version.source_vm_id is None:
        return
    vm = VirtualMachine.objects.filter(pk=version.source_vm_id, hold=VmHold.MAINTENANCE).first()
    if vm is not None:
        VirtualMachine.objects.filter(pk=vm.pk).update(hold=vm.hold_when_clean)
