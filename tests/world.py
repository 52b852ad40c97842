"""Build small worlds: hosts, a template, pools and people, in few words. Jobs run when the test says so."""

from collections import deque
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import get_user_model

from broker import grants, jobs, leases
from broker.drivers import hypervisor
from broker.drivers.hypervisor.fake import FakeHypervisor
from broker.loops import access as access_loop
from broker.loops import deadlines as deadlines_loop
from broker.loops import host_health, queue, sweep
from broker.loops import shifts as shifts_loop
from broker.loops.converge import converge
from broker.models import (
    Cluster,
    DataCenter,
    DesktopRequest,
    Host,
    Pool,
    StoragePool,
    StoragePoolOnHost,
    Template,
    TemplateVersion,
    VirtualMachine,
    Volume,
)
from broker.operations import consoles, deadlines, desktops, hosts, mails, pools, shifts, templates, vms
from broker.states import HostStatus

LONGEST_CHAIN = 3000


class World:
    """One data center on a fake hypervisor. `settle` runs the jobs that were sent, until none is left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.driver = FakeHypervisor()
        self.sent: deque[tuple[str, UUID]] = deque()
        self.patches = monkeypatch or pytest.MonkeyPatch()
        self.drivers: dict[str, FakeHypervisor] = {}
        self.patches.setattr(hypervisor, "connect", lambda uri: self.drivers.get(uri, self.driver))
        self.patches.setattr(jobs, "send", self._send)
        self.patches.setattr(jobs, "_send_once", lambda name, key: self._send(name, key))
        self.patches.setattr(jobs, "look_again", lambda vm_id, seconds: self._send("again", vm_id))
        self.patches.setattr(
            jobs, "look_at_display", lambda vm_id, seconds: self._send("broker.look_at_display", vm_id)
        )
        leases.beat()
        self.data_center = DataCenter.objects.create(name="Main")
        self.cluster = Cluster.objects.create(data_center=self.data_center, name="Default")
        self.host = Host.objects.create(
            cluster=self.cluster,
            name="host",
            uri="fake:///",
            display_address="127.0.0.1",
            status=HostStatus.UP,
            acceleration="qemu",
            memory_mib=64 * 1024,
        )
        self.storage = StoragePool.objects.create(data_center=self.data_center, name="images", target_path="/fake")
        StoragePoolOnHost.objects.create(storage_pool=self.storage, host=self.host, active=True)
        base = Volume.objects.create(storage_pool=self.storage, name="base.qcow2", purpose=Volume.Purpose.BASE)
        self.template = Template.objects.create(
            data_center=self.data_center, name="Tiny Linux", operating_system="Tiny Linux"
        )
        self.version = TemplateVersion.objects.create(
            template=self.template, number=1, volume=base, checksum="0" * 64, memory_mib=128
        )

    def _send(self, name: str, key: UUID, *more: int, countdown: float = 0, expires: float | None = None) -> None:
        if (name, key) not in self.sent:
            self.sent.append((name, key))

    def pool(self, size: int = 5, *, settle: bool = True, **values: Any) -> Pool:
        values = {"name": "helpdesk", **values}
        made, _job = pools.create(cluster=self.cluster, template=self.template, size=size, **values)
        if settle:
            self.settle()
        return made

    def add_host(self, name: str, *, cluster: Cluster | None = None, **values: Any) -> Host:
        """Another host, up, with a hypervisor of its own on the same storage."""
        host = Host.objects.create(
            **{
                "cluster": cluster or self.cluster,
                "name": name,
                "uri": f"fake:///{name}",
                "display_address": "127.0.0.1",
                "status": HostStatus.UP,
                "acceleration": "qemu",
                "memory_mib": 64 * 1024,
                **values,
            }
        )
        StoragePoolOnHost.objects.create(storage_pool=self.storage, host=host, active=True)
        self.drivers[host.uri] = FakeHypervisor(
            volume_table=self.driver.volume_table, backing_of=self.driver.backing_of
        )
        return host

    def independent(self, name: str = "workbench", **values: Any) -> VirtualMachine:
        """A VM that belongs to no pool."""
        vm, _job = vms.create(cluster=self.cluster, template=self.template, name=name, **values)
        self.settle()
        vm.refresh_from_db()
        return vm

    def publish_version(self, **values: Any) -> TemplateVersion:
        """The next version of the world's template, ready."""
        number = self.template.versions.count() + 1
        volume = Volume.objects.create(
            storage_pool=self.storage, name=f"base-{number}.qcow2", purpose=Volume.Purpose.BASE
        )
        values = {"checksum": str(number) * 64, "memory_mib": 128, **values}
        return TemplateVersion.objects.create(template=self.template, number=number, volume=volume, **values)

    def person(self, name: str, pool: Pool | None = None, role: str = "UserRole") -> Any:
        person, _created = get_user_model().objects.get_or_create(username=name)
        if pool is not None:
            grants.grant(role=role, to=person, on=pool)
        return person

    def superuser(self, name: str = "admin") -> Any:
        """By role, and not by Django's flag."""
        person = self.person(name)
        grants.grant(role="SuperUser", to=person, on=None)
        return person

    def locked_out(self, name: str) -> AccessAttempt:
        """Somebody guessed too often, and has to wait for longer than any test takes."""
        about = {"ip_address": "192.0.2.7", "failures_since_start": settings.AXES_FAILURE_LIMIT}
        lock_out = AccessAttempt.objects.create(username=name, **about)
        lock_out.attempt_time += timedelta(hours=2)  # which cannot be said before it is kept
        lock_out.save()
        return lock_out

    def people(self, count: int, pool: Pool) -> list[Any]:
        return [self.person(f"agent{number:02}", pool) for number in range(1, count + 1)]

    def take(self, person: Any, pool: Pool, **more: Any) -> DesktopRequest:
        return desktops.take(user=person, pool=pool, **more)[0]

    def settle(self) -> None:
        """Work off the jobs; a VM that waits for its guest is looked at only a bounded number of times."""
        looks: dict[tuple[str, UUID], int] = {}
        for _job in range(LONGEST_CHAIN):
            if not self.sent:
                return
            name, key = self.sent.popleft()
            if name == "again":
                looks[name, key] = looks.get((name, key), 0) + 1
                if looks[name, key] > 8:
                    continue
            self.run(name, key)
        raise AssertionError("the jobs never end")

    def run(self, name: str, key: UUID) -> None:
        match name:
            case "broker.allocate":
                queue.serve_pool(key)
            case "broker.converge" | "again":
                converge(key)
            case "broker.set_ticket":
                consoles.set_on_host(ticket_id=key)
            case "broker.reboot":
                self.driver.reboot(key, "")
            case "broker.prepare_version":
                templates.prepare_on_host(version_id=key)
            case "broker.enforce_access":
                access_loop.enforce()
            case "broker.look_at_display":
                deadlines_loop.look_at_display(key)
            case "broker.look_at_displays":
                deadlines_loop.look_at_displays(key)
            case "broker.deadline":
                deadlines_loop.deadline(key)
            case "broker.keep_attendance":
                shifts.keep(attendance_id=key)
            case "broker.remind_guest":
                shifts.remind_guest_on_host(attendance_id=key)
            case "broker.tell_asked_back":
                deadlines.tell_asked_back_on_host(request_id=key)
            case "broker.tell_guest":
                deadlines.tell_guest_on_host(request_id=key)
            case "broker.mail_ready":
                mails.send_ready(request_id=key)
            case "broker.close_display":
                consoles.close_revoked_on_host(ticket_id=key)
            case "broker.tidy_pool":
                pools.tidy(pool_id=key)
            case "broker.monitor_host":
                host_health.check(key)
            case "broker.activate_host":
                hosts.activate_on_host(host=Host.objects.get(pk=key))
            case _:
                raise AssertionError(f"nobody does {name}")

    def keep_time(self) -> None:
        """What beat does every few seconds: see whose time is over."""
        deadlines_loop.keep_time()
        shifts_loop.keep_shifts()
        self.settle()

    def lose_all_messages(self) -> None:
        self.sent.clear()

    def sweep(self) -> None:
        """What beat does: all leases have lapsed by then."""
        VirtualMachine.objects.update(lease_until=None)
        sweep.sweep()
        self.settle()
