"""Much of everything, written into the database at once: nobody waits for a thousand VMs to be made one by one."""

import secrets
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone

from broker import config, grants, leases
from broker.drivers import hypervisor
from broker.models import (
    Cluster,
    DataCenter,
    DesktopRequest,
    Host,
    Line,
    Pool,
    StoragePool,
    StoragePoolOnHost,
    Template,
    TemplateVersion,
    VirtualMachine,
    Volume,
)
from broker.operations import machines, pools
from broker.states import HostStatus, RequestState, RunMode, VmStatus
from portal.models import ApiToken

GUEST_MIB = 128
SECONDS_TO_REST = 0.03


class Estate:
    """A data center on fake hosts, and whatever stands in it."""

    def __init__(self, fleet: Any, *, hosts: int = 1, nature: str = "") -> None:
        self.tag = secrets.token_hex(3)
        data_center = DataCenter.objects.create(name=f"dc-{self.tag}")
        self.cluster = Cluster.objects.create(data_center=data_center, name=f"cluster-{self.tag}")
        self.storage = StoragePool.objects.create(
            data_center=data_center, name=f"images-{self.tag}", target_path=f"/fake/{self.tag}"
        )
        base = Volume.objects.create(
            storage_pool=self.storage, name=f"base-{self.tag}.qcow2", purpose=Volume.Purpose.BASE
        )
        self.template = Template.objects.create(data_center=data_center, name=f"Tiny {self.tag}")
        self.version = TemplateVersion.objects.create(
            template=self.template, number=1, volume=base, checksum="0" * 64, memory_mib=GUEST_MIB
        )
        self.hosts = [self._host(fleet, number, nature) for number in range(hosts)]
        leases.beat()

    def _host(self, fleet: Any, number: int, nature: str) -> Host:
        name = f"{self.tag}-{number}"
        host = Host.objects.create(
            cluster=self.cluster,
            name=name,
            uri=f"fake://{fleet}?host={name}&memory_mib=1000000{nature}",
            display_address="127.0.0.1",
            status=HostStatus.UP,
            acceleration="qemu",
            memory_mib=1_000_000,
            cpu_threads=8,
            pace=8,
        )
        StoragePoolOnHost.objects.create(storage_pool=self.storage, host=host, active=True)
        return host

    def pool(self, size: int = 0, *, warm: bool = False, name: str = "", **values: Any) -> Pool:
        """A pool whose VMs are rows only: at rest, or as if they ran and nobody had them."""
        given = {"name": name or f"pool-{secrets.token_hex(4)}", "size": 1, **values}
        made, _job = pools.create(cluster=self.cluster, template=self.template, **given)
        VirtualMachine.objects.filter(pool=made).delete()
        self._vms(made, size, warm)
        return made

    def running_pool(self, size: int) -> Pool:
        """A pool whose VMs run on the fake hosts as well, for workers that look whether the rows are true."""
        made = self.pool(size, warm=True)
        related = ("cluster", "host", "pool", "volume__storage_pool", "template_version__volume")
        for vm in VirtualMachine.objects.filter(pool=made).select_related(*related):
            driver = hypervisor.connect(vm.host.uri)
            driver.create_overlay(vm.layer(), vm.volume.address())
            plan = machines.migration_plan(vm, vm.cluster)
            driver.start(vm.spec(installation=config.installation(), host=vm.host, migration=plan))
        time.sleep(size * SECONDS_TO_REST)  # the hosts tell of each start, and workers look after each
        return made

    def real_pool(self, size: int, **values: Any) -> Pool:
        """A pool that the workers make."""
        name = f"pool-{secrets.token_hex(4)}"
        return pools.create(cluster=self.cluster, template=self.template, name=name, size=size, **values)[0]

    def _vms(self, pool: Pool, size: int, warm: bool) -> None:
        now = timezone.now()
        on = {"run_mode": RunMode.STATELESS, "run_number": 1, "status": VmStatus.UP, "ready_at": now}
        volumes = [
            Volume(storage_pool=self.storage, name=f"{pool.name}-{n}.qcow2", purpose=Volume.Purpose.DISK)
            for n in range(size)
        ]
        Volume.objects.bulk_create(volumes, batch_size=1000)
        VirtualMachine.objects.bulk_create(
            [
                VirtualMachine(
                    pool=pool,
                    cluster=self.cluster,
                    number=number,
                    name=f"{pool.name}-{number}",
                    template_version=self.version,
                    volume=volume,
                    defined_on=self.hosts[number % len(self.hosts)],
                    **pool.settings(),
                    **(
                        on
                        | {
                            "host": self.hosts[number % len(self.hosts)],
                            "placed_at": now,
                            "run_started_at": now,
                            "layer_run": 1,
                            "layer_key": uuid4(),
                        }
                        if warm
                        else {}
                    ),
                )
                for number, volume in enumerate(volumes)
            ],
            batch_size=1000,
        )


def people(count: int, *, pool: Pool | None = None, role: str = "UserRole") -> list[Any]:
    """So many users, with this role on the pool; UserRole lets them take from it."""
    users = get_user_model().objects
    tag = secrets.token_hex(3)
    made = users.bulk_create([get_user_model()(username=f"{tag}-{n}") for n in range(count)], batch_size=1000)
    if pool is not None:
        crew = Group.objects.create(name=tag)
        membership = get_user_model().groups.through
        membership.objects.bulk_create([membership(user_id=person.pk, group_id=crew.pk) for person in made])
        grants.grant(role=role, to=crew, on=pool)
    return made


def tokens(made: Sequence[Any]) -> list[str]:
    """A bearer token for each."""
    drawn = [ApiToken.draw() for _person in made]
    expires = timezone.now() + timedelta(hours=1)
    ApiToken.objects.bulk_create(
        [
            ApiToken(user=person, digest=ApiToken.digest_of(token), expires_at=expires)
            for person, token in zip(made, drawn, strict=True)
        ],
        batch_size=1000,
    )
    return drawn


def line_up(pool: Pool, made: Sequence[Any]) -> None:
    """Put these people into the line of a pool, in this order; each may be in it many times."""
    line = Line.objects.get(pk=pool.pk)
    first = line.next_ticket
    slots: dict[Any, int] = {}
    wishes = []
    for offset, person in enumerate(made):
        slots[person.pk] = slots.get(person.pk, 0) + 1
        wishes.append(
            DesktopRequest(
                pool=pool,
                pool_name=pool.name,
                user=person,
                ticket=first + offset,
                slot=slots[person.pk],
                state=RequestState.QUEUED,
            )
        )
    DesktopRequest.objects.bulk_create(wishes, batch_size=2000)
    Line.objects.filter(pk=pool.pk).update(next_ticket=first + len(wishes))
