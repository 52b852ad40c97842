"""The demo world: one data center on this machine, a template, a pool, and people. Safe to run twice."""

import hashlib
from datetime import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from broker import grants
from broker.drivers import hypervisor
from broker.models import Cluster, DataCenter, Host, Pool, StoragePool, Template, TemplateVersion, Volume
from broker.operations import hosts, pools, shift_plans
from broker.rules.shifts import Pattern, ShiftSpec
from broker.states import HostStatus, OptimizedFor, ReadyWhen

PASSWORD = "hotdesk"  # noqa: S105  (the demo says so on its first page)
GUEST = "tiny-linux-v{}.qcow2"
HOST = "this-machine"
AGENTS = [f"agent{number:02}" for number in range(1, 11)]


class Command(BaseCommand):
    """Needs HOTDESK_DEMO_HOST_URI and HOTDESK_PROBE_IMAGE, which the demo sets."""

    help = "Make the demo world in the database and publish its template."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO_HOST_URI or not settings.PROBE_IMAGE:
            raise CommandError("HOTDESK_DEMO_HOST_URI and HOTDESK_PROBE_IMAGE must be set; `make demo` does.")
        data_center, _ = DataCenter.objects.get_or_create(name="Main")
        cluster, _ = Cluster.objects.get_or_create(data_center=data_center, name="Default")
        storage, _ = StoragePool.objects.get_or_create(
            data_center=data_center,
            name="images",
            defaults={"target_path": str(settings.STORAGE_PATH.resolve())},
        )
        template = self._template(data_center, storage, Path(settings.PROBE_IMAGE))
        self._host(cluster)
        pool = Pool.objects.filter(cluster=cluster, name="helpdesk").first()
        if pool is None:
            pool, _job = pools.create(
                cluster=cluster,
                template=template,
                name="helpdesk",
                size=5,
                prestarted_vms=2,
                description="Desktops for the help desk; every one forgets everything when it is returned.",
            )
        self._people(pool)
        self._shifts(pool)

    def _host(self, cluster: Cluster) -> None:
        """Its URI holds the path of the state folder, which may have moved since."""
        host = Host.objects.filter(name=HOST).first()
        if host is None:
            hosts.add(cluster=cluster, name=HOST, uri=settings.DEMO_HOST_URI, display_address="127.0.0.1")
            return
        Host.objects.filter(pk=host.pk).update(uri=settings.DEMO_HOST_URI)
        if host.status not in (HostStatus.UP, HostStatus.ACTIVATING, HostStatus.PREPARING):
            hosts.activate(host=host)

    def _template(self, data_center: DataCenter, storage: StoragePool, image: Path) -> Template:
        """A volume that was published never changes: another guest is the next version, if nobody made his own."""
        template, _ = Template.objects.get_or_create(
            data_center=data_center,
            name="Tiny Linux",
            defaults={
                "operating_system": "Tiny Linux",
                "optimized_for": OptimizedFor.DESKTOP,
                "description": "A small bootable guest, built on this machine from Debian packages.",
            },
        )
        checksum = hashlib.sha256(image.read_bytes()).hexdigest()
        latest = template.latest()
        if latest is None or (latest.volume.name == GUEST.format(latest.number) and latest.checksum != checksum):
            number = 1 + (template.versions.aggregate(last=Max("number"))["last"] or 0)
            driver = hypervisor.connect(settings.DEMO_HOST_URI)
            driver.ensure_storage_pool(storage.spec())
            name = hypervisor.VolumeName(storage.name, GUEST.format(number))
            facts = driver.upload_volume(name, image)
            volume, _ = Volume.objects.get_or_create(
                storage_pool=storage,
                name=name.name,
                defaults={"purpose": Volume.Purpose.BASE, "capacity_bytes": facts.capacity_bytes},
            )
            TemplateVersion.objects.create(
                template=template,
                number=number,
                volume=volume,
                checksum=checksum,
                memory_mib=128,
                vcpus=1,
                ready_when=ReadyWhen.AGENT,
                start_timeout_seconds=180,
            )
        return template

    @transaction.atomic
    def _people(self, pool: Pool) -> None:
        agents, _ = Group.objects.get_or_create(name="help desk")
        for name in AGENTS:
            self._person(name).groups.add(agents)
        grants.grant(role="UserRole", to=agents, on=pool)
        grants.grant(role="SuperUser", to=self._person("admin"), on=None)
        grants.grant(role="HelpDeskLead", to=self._person("lead"), on=pool)
        self._person("visitor")

    def _shifts(self, pool: Pool) -> None:
        """Ten people share five desktops, five at a time, by day and by night."""
        if pool.shift_plans.exists():
            return
        zone = timezone.get_current_timezone_name()
        plan = shift_plans.create(pool=pool, name="Help desk", time_zone=zone)
        every_day = tuple(range(7))
        for name, pattern, agents in (
            ("Day", Pattern(every_day, time(6), time(18)), AGENTS[:5]),
            ("Night", Pattern(every_day, time(18), time(6)), AGENTS[5:]),
        ):
            shift_plans.add_shift(plan=plan, spec=ShiftSpec(name, pattern, users=tuple(agents)))

    def _person(self, name: str) -> Any:
        """An account that was changed meanwhile keeps its password."""
        model = get_user_model()
        person, created = model.objects.get_or_create(username=name, defaults={"email": f"{name}@hotdesk.example"})
        if created:
            person.set_password(PASSWORD)
            person.save(update_fields=["password"])
        return person
