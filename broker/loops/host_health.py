"""Ask each host what it runs, make rows and domains agree, and remove what nobody wants."""

import logging
import re
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from broker import config, events, jobs
from broker.drivers import hypervisor
from broker.drivers.hypervisor import (
    DomainFacts,
    DomainState,
    HostUnreachable,
    Hypervisor,
    HypervisorError,
    VolumeFacts,
    VolumeName,
)
from broker.models import DesktopRequest, Event, Host, StoragePool, Turn, VirtualMachine, Volume
from broker.operations import deadlines, hosts, storage
from broker.states import WORKING, HostStatus, RequestState, VmHold, VmStatus

log = logging.getLogger(__name__)

# `STEM.run-N.qcow2` or `.serial`: see VirtualMachine.layer.
OF_A_RUN = re.compile(r"^(?P<stem>.+)\.run-(?P<run>\d+)\.(qcow2|serial)$")


def monitored() -> list[UUID]:
    """The hosts that are worth asking."""
    asked = (*WORKING, HostStatus.NON_RESPONSIVE)
    return list(Host.objects.filter(status__in=asked).values_list("pk", flat=True))


def check(host_id: UUID) -> None:
    """One look at a host; one that falls silent meanwhile is lost."""
    host = Host.objects.select_related("cluster").get(pk=host_id)
    try:
        _look(host)
    except HostUnreachable as error:
        hosts.record_lost(host=host, reason=str(error))


def _look(host: Host) -> None:
    installation = config.installation()
    driver = hypervisor.connect(host.uri)
    domains = driver.domains(installation)
    usage = driver.usage()
    hosts.record_answering(host=host, at=timezone.now())
    hosts.record_usage(host=host, usage=usage)
    hosts.record_progress_to_maintenance(host=host)
    _wake_those_that_differ(host, domains)
    _look_at_use(host, driver, installation)
    _remove_orphan_domains(host, driver, domains, installation)
    storage.make_reachable_on_host(host=host, driver=driver)
    for pool in storage.kept_by(host):
        storage.delete_doomed_on_host(pool=pool, driver=driver)
        volumes = driver.volumes(pool.name)
        _remove_orphan_layers(host, driver, pool, volumes)
        storage.clear_config_drives_on_host(driver=driver, pool=pool, found=volumes)


def _wake_those_that_differ(host: Host, domains: list[DomainFacts]) -> None:
    """A VM whose row and domain disagree is looked at properly by converge."""
    on = {facts.vm_id: facts for facts in domains if facts.state not in (DomainState.OFF, DomainState.CRASHED)}
    rows = VirtualMachine.objects.filter(host=host) | VirtualMachine.objects.filter(pk__in=list(on))
    in_line = set(Turn.objects.waiting().values_list("pk", flat=True))
    for vm in rows.distinct().only(
        "pk", "run_mode", "run_number", "run_started_at", "ready_at", "halted", "hold", "status"
    ):
        facts = on.get(vm.pk)
        running = facts is not None and facts.run == vm.run_number
        wanted_on = vm.run_mode is not None and not vm.halted
        settled = running and vm.ready_at is not None if wanted_on else facts is None and vm.hold is None
        if facts is None and vm.pk in in_line:
            continue  # it is woken when its turn is given
        if not settled or vm.status == VmStatus.UNKNOWN:
            jobs.send("broker.converge", vm.pk, expires=settings.MONITOR_SECONDS)


def _look_at_use(host: Host, driver: Hypervisor, installation: str) -> None:
    """Whether anything happens on desktops whose time depends on it, and whether anybody looks at them."""
    in_use = DesktopRequest.objects.filter(vm__host=host, state=RequestState.READY)
    if in_use.filter(pool__idle_limit_minutes__isnull=False).exists():
        deadlines.record_activity(host=host, processor_ns=driver.processor_times(installation))
    if deadlines.displays_to_look_at(host).exists():
        # Apart, for a guest may keep its display from answering.
        jobs.send("broker.look_at_displays", host.pk, expires=settings.MONITOR_SECONDS)


def _remove_orphan_domains(host: Host, driver: Hypervisor, domains: list[DomainFacts], installation: str) -> None:
    """Domains with our mark that no row knows: left by a VM that is gone."""
    known = set(VirtualMachine.objects.filter(pk__in=[facts.vm_id for facts in domains]).values_list("pk", flat=True))
    for facts in domains:
        if facts.vm_id not in known:
            driver.destroy(facts.vm_id, installation)
            driver.undefine(facts.vm_id, installation)
            events.record("orphan.domain", host=host, name=facts.name, severity=Event.Severity.WARNING)


def _remove_orphan_layers(host: Host, driver: Hypervisor, pool: StoragePool, volumes: list[VolumeFacts]) -> None:
    """Layers of runs that are over, made late by a call that outlived its worker. Only older runs are touched."""
    found = {}
    for volume in volumes:
        match = OF_A_RUN.match(volume.name)
        if match:
            found[volume.name] = (match["stem"], int(match["run"]))
    if not found:
        return
    disks = [f"{stem}.qcow2" for stem, _run in found.values()]
    rows = Volume.objects.select_related("vm").filter(storage_pool=pool, name__in=disks, vm__isnull=False)
    rows = rows.only("name", "vm__run_number", "vm__layer_run", "vm__hold")
    owners = {row.name.removesuffix(".qcow2"): row.vm for row in rows}
    for name, (stem, run) in found.items():
        owner = owners.get(stem)
        if owner is not None and _outlived(owner, run):
            _delete(host, driver, VolumeName(pool.name, name))


def _outlived(vm: VirtualMachine, run: int) -> bool:
    """While a VM is being reset its own clean-up is at work."""
    return run < vm.run_number and run != vm.layer_run and vm.hold != VmHold.RESETTING


def _delete(host: Host, driver: Hypervisor, volume: VolumeName) -> None:
    try:
        driver.delete_volume(volume)
    except HypervisorError as error:
        log.warning("%s: %s", volume.name, error)
        return
    events.record("orphan.layer", host=host, name=volume.name, severity=Event.Severity.WARNING)
