"""The world of the race, built by operations as an administrator would; and its hosts, as they are at the end."""

import time
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from broker import config, grants
from broker.drivers import hypervisor
from broker.drivers.hypervisor import DomainState, HostUnreachable
from broker.models import Cluster, DataCenter, Host, Pool, StoragePool, Template, TemplateVersion, Volume
from broker.operations import hosts, pools
from tests.load.crowd import ADMINISTRATORS, CREW, OFFERS, people
from tests.load.record import Machinery

HOSTS = ("left", "right")
GUEST_MIB, GUESTS_PER_HOST = 128, 5  # fewer than there are members: memory is fought for, too
# Small shares of everything that hosts do wrong; what they say is true.
NATURE = (
    "boot_seconds=0.2&slow=0.003&refuses=0.03&never_boots=0.01&crashes=0.03&crashes_after=2&disappears=0.0005&away=2"
)
START_TIMEOUT_S = 5
OFF = (DomainState.OFF, DomainState.CRASHED)


def build(fleet: Path, number_of_people: int) -> None:
    """Hosts, a template, the pools, and people with their rights. Workers do the rest."""
    data_center = DataCenter.objects.create(name="Main")
    cluster = Cluster.objects.create(data_center=data_center, name="Default")
    storage = StoragePool.objects.create(data_center=data_center, name="images", target_path="/fake")
    base = Volume.objects.create(storage_pool=storage, name="base.qcow2", purpose=Volume.Purpose.BASE)
    template = Template.objects.create(data_center=data_center, name="Tiny", operating_system="Tiny")
    TemplateVersion.objects.create(
        template=template,
        number=1,
        volume=base,
        checksum="0" * 64,
        memory_mib=GUEST_MIB,
        start_timeout_seconds=START_TIMEOUT_S,
    )
    for name in HOSTS:
        uri = f"fake://{fleet}?host={name}&memory_mib={GUEST_MIB * GUESTS_PER_HOST}&{NATURE}"
        hosts.add(cluster=cluster, name=name, uri=uri, display_address="127.0.0.1", acceleration_mode="qemu")
    made = [
        pools.create(
            cluster=cluster,
            template=template,
            name=offer.name,
            size=offer.size,
            prestarted_vms=offer.prestarted_vms,
            max_vms_per_user=offer.max_vms_per_user,
        )[0]
        for offer in OFFERS
    ]
    _people(made, number_of_people)


def _people(offered: list[Pool], count: int) -> None:
    users: Any = get_user_model().objects
    crew = Group.objects.create(name=CREW)
    directly, by_crew = people(count)
    for name in ADMINISTRATORS:
        grants.grant(role="SuperUser", to=users.create_user(name), on=None)
    for name in by_crew:
        users.create_user(name).groups.add(crew)
    entitled = [crew, *(users.create_user(name) for name in directly)]
    for pool in offered:
        for principal in entitled:
            grants.grant(role="UserRole", to=principal, on=pool)


def machinery() -> list[Machinery]:
    """What the hosts are doing now; one that is silent is waited for."""
    installation = config.installation()
    found = []
    for host in Host.objects.order_by("name"):
        driver: Any = hypervisor.connect(host.uri)
        domains = _patiently(lambda: driver.domains(installation))  # noqa: B023  (called at once)
        found.append(
            Machinery(
                id=host.pk,
                name=host.name,
                usable_mib=host.memory_mib,
                running={facts.vm_id: facts.run for facts in domains if facts.state not in OFF},
                files=frozenset(driver.layers()),
                most_used_mib=driver.most_used_mib(),
            )
        )
    return found


def _patiently(ask: Any) -> Any:
    while True:
        try:
            return ask()
        except HostUnreachable:
            time.sleep(0.2)
