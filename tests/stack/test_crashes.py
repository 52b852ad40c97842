"""Kill each kind of process at each moment of a desktop's life: nobody is lost, nothing is left (DESIGN 1).

One cycle takes a desktop and gives it back, while another person waits behind; at each of the six moments the same
kinds of process are killed with SIGKILL. The moments are seen from outside: in the database, on the disk and in QEMU.
"""

from collections.abc import Callable
from pathlib import Path

import httpx
import libvirt
import pytest

from tests.running import Desktop, Hotdesk, kill, wait_until

# Alone, what the desktop cannot do without; in pairs, what it gets on without for a while.
VICTIMS = [("allocate",), ("hypervisor",), ("redis",), ("libvirtd",), ("web", "beat"), ("consoles", "watch")]
HEALED_S = 150


@pytest.fixture(scope="module")
def pool(hotdesk: Hotdesk) -> str:
    return hotdesk.create_pool("crash", 1)


class Cycle:
    """One person's desktop, and the moments of its life as they can be seen from outside."""

    def __init__(self, hotdesk: Hotdesk, pool: str, kinds: tuple[str, ...]) -> None:
        self.hotdesk, self.pool, self.kinds = hotdesk, pool, kinds
        self.kills = 0

    def kill_when(self, moment: Callable[[], object], what: str) -> None:
        wait_until(moment, what, HEALED_S, pause=0.002)
        kill(self.hotdesk, *self.kinds)
        self.kills += 1

    def row(self, desktop: Desktop) -> tuple[str, str | None]:
        key = desktop.id.replace("-", "")
        [found] = self.hotdesk.rows("select state, vm_id from broker_desktoprequest where id = ?", key)
        return found

    def layers(self) -> list[Path]:
        return list((self.hotdesk.state / "images").glob("crash-*.run-*.qcow2"))


def running_domains(hotdesk: Hotdesk) -> set[str]:
    """Empty while the daemon itself is away."""
    try:
        connection = libvirt.openReadOnly(hotdesk.libvirtd.uri)
    except libvirt.libvirtError:
        return set()
    try:
        return {domain.name() for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)}
    finally:
        connection.close()


def patient(desktop: Desktop, state: str) -> dict[str, object]:
    """As `wait_for`, while the web itself may be away."""

    def reached() -> object:
        try:
            now = desktop.now()
        except httpx.HTTPError:
            return False
        return now["state"] == state and now

    return wait_until(reached, f"{desktop.owner.name} is {state}", HEALED_S)


@pytest.mark.req("R004", "R006", "R018")
@pytest.mark.parametrize("kinds", VICTIMS, ids="-and-".join)
def test_killed_at_every_moment_nothing_is_lost_and_nothing_is_left(
    hotdesk: Hotdesk, pool: str, kinds: tuple[str, ...]
) -> None:
    cycle = Cycle(hotdesk, pool, kinds)
    first = hotdesk.person("agent01").take(pool)
    second = hotdesk.person("agent02").take(pool)
    cycle.kill_when(lambda: True, "the request is committed")
    cycle.kill_when(lambda: cycle.row(first)[1], "a VM is assigned")
    cycle.kill_when(cycle.layers, "the layer is made")
    cycle.kill_when(lambda: running_domains(hotdesk) & {"crash-1"}, "the domain is started")
    vm = patient(first, "ready")["vm"]
    with hotdesk.serial(vm["id"]) as shell:
        shell.run("echo first > /data/marker && sync")
    old_layers = set(cycle.layers())
    assert len(old_layers) == 1
    wait_until(lambda: gives_back(first), "the return is accepted", HEALED_S)
    cycle.kill_when(lambda: True, "the return is asked")
    cycle.kill_when(lambda: not old_layers & set(cycle.layers()), "the layer is deleted")
    assert cycle.kills == 6
    assert patient(first, "ended")["end_reason"] == "returned"
    taken = patient(second, "ready")["vm"]
    assert taken["id"] == vm["id"]
    with hotdesk.serial(vm["id"]) as shell:
        assert shell.run("cat /data/marker 2>/dev/null || echo nothing") == "nothing"
    wait_until(lambda: gives_back(second), "the return is accepted", HEALED_S)
    patient(second, "ended")
    hotdesk.wait_until_clean(pool)
    wait_until(lambda: not cycle.layers(), "no layer is orphaned")
    assert "crash-1" not in running_domains(hotdesk)
    holders = "select vm_id from broker_desktoprequest where state in ('starting', 'ready', 'returning')"
    assert not hotdesk.rows(f"{holders} and vm_id is not null group by vm_id having count(*) > 1")
    assert not hotdesk.rows("select 1 from broker_desktoprequest where state = 'ended' and end_reason is null")


def gives_back(desktop: Desktop) -> bool:
    try:
        return desktop.owner.http.post(f"/requests/{desktop.id}/return").status_code == 202
    except httpx.HTTPError:
        return False
