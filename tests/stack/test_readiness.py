"""Each template says what ready means: the agent, a text on the serial console, or a time (DESIGN 1)."""

import pytest

from tests.running import Hotdesk, wait_until

PUBLISH = """
from pathlib import Path
from broker.drivers import hypervisor
from broker.models import Template, TemplateVersion, Volume
from django.conf import settings
tiny = Template.objects.get(name="Tiny Linux")
first = tiny.versions.get(number=1)
# Of its own: pools that follow the latest version of Tiny Linux would follow this one, too.
template = Template.objects.create(name="Readiness {number}", data_center=tiny.data_center, operating_system="Linux")
name = hypervisor.VolumeName("images", "tiny-linux-v{number}.qcow2")
host = first.volume.storage_pool.hosts.get()
hypervisor.connect(host.uri).upload_volume(name, Path({image!r}))
volume = Volume.objects.create(storage_pool=first.volume.storage_pool, name=name.name, purpose="base")
TemplateVersion.objects.create(template=template, number=1, volume=volume, checksum=first.checksum,
    memory_mib=128, {ready})
"""


def publish(hotdesk: Hotdesk, number: int, ready: str) -> str:
    """The id of a template whose only version is ready so."""
    image = str(hotdesk.state / "tiny-linux.qcow2")
    hotdesk.manage("shell", "-c", PUBLISH.format(number=number, image=image, ready=ready))
    return hotdesk.admin.get(f"/templates?q=Readiness {number}")["items"][0]["id"]


@pytest.mark.parametrize(
    ("number", "ready"),
    [
        (2, "ready_when='serial', ready_text='HOTDESK-READY'"),
        (3, "ready_when='delay', ready_delay_seconds=3"),
    ],
)
def test_a_desktop_is_ready_when_its_template_says_so(hotdesk: Hotdesk, number: int, ready: str) -> None:
    pool = hotdesk.create_pool(f"ready-{number}", 1, template=publish(hotdesk, number, ready))
    desktop = hotdesk.person("agent05").take(pool)
    now = desktop.wait_for("ready")
    if number == 2:
        [log] = (hotdesk.state / "images").glob("ready-2-*.run-*.serial")
        assert b"HOTDESK-READY" in log.read_bytes()
    assert now["timeline"]["started"] < now["timeline"]["ready"]
    desktop.return_and_wait()
    hotdesk.wait_until_clean(pool)
    assert not list((hotdesk.state / "images").glob(f"ready-{number}-*.run-*"))


def test_a_serial_marker_that_never_comes_is_given_up_with_a_reason(hotdesk: Hotdesk) -> None:
    template = publish(hotdesk, 4, "ready_when='serial', ready_text='NEVER', start_timeout_seconds=3")
    pool = hotdesk.create_pool("never", 1, template=template)
    desktop = hotdesk.person("agent05").take(pool)
    [vm] = hotdesk.vms(pool)

    def held() -> bool:
        return hotdesk.admin.get(f"/vms/{vm['id']}")["hold"] == "error"

    wait_until(held, "after three failed starts it is on hold")
    assert "not ready in time" in hotdesk.admin.get(f"/vms/{vm['id']}")["hold_reason"]
    assert desktop.now()["state"] == "starting"
    desktop.give_back()
    assert desktop.wait_for("ended")["end_reason"] == "cancelled"
