"""Tiny Linux keeps its promises when it really boots."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import libvirt_qemu
import pytest

from broker.drivers.hypervisor import config_drive
from broker.lab import guest
from broker.lab.libvirtd import PrivateLibvirtd
from tests.serial_console import SerialConsole

DRIVE = """<disk type="file" device="cdrom">
      <driver name="qemu" type="raw"/><source file="{drive}"/><target dev="hda" bus="ide"/><readonly/>
    </disk>"""
DOMAIN = """
<domain type="qemu">
  <name>tiny</name>
  <memory unit="MiB">128</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <features><acpi/></features>
  <on_reboot>restart</on_reboot>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2"/><source file="{disk}"/><target dev="vda" bus="virtio"/>
    </disk>
    <graphics type="spice" autoport="yes"><listen type="address" address="127.0.0.1"/></graphics>
    <video><model type="qxl"/></video>
    <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
    <serial type="pty"/>
    <console type="pty"/>
  </devices>
</domain>
"""


@pytest.fixture
def disk(tiny_linux: Path, tmp_path: Path) -> Path:
    layer = tmp_path / "layer.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(tiny_linux), str(layer)]
    subprocess.run(command, check=True)
    return layer


@pytest.fixture
def domain(libvirtd: PrivateLibvirtd, disk: Path) -> Iterator[libvirt.virDomain]:
    connection = libvirt.open(libvirtd.uri)
    domain = connection.defineXML(DOMAIN.format(disk=disk))
    domain.create()
    yield domain
    if domain.isActive():
        domain.destroy()
    domain.undefine()
    connection.close()


@pytest.fixture
def console(libvirtd: PrivateLibvirtd, domain: libvirt.virDomain) -> Iterator[SerialConsole]:
    with SerialConsole(libvirtd.uri, domain.UUIDString()) as console:
        console.wait_for(guest.READY_MARK)
        yield console


def wait_until_off(domain: libvirt.virDomain) -> None:
    deadline = time.monotonic() + 20
    while domain.isActive():
        assert time.monotonic() < deadline, "the guest does not shut down"
        time.sleep(0.05)


def test_the_image_is_small_and_is_not_built_twice(tiny_linux: Path) -> None:
    assert tiny_linux.stat().st_size <= 16 * guest.MIB
    built = tiny_linux.stat()
    guest.build(tiny_linux)
    assert tiny_linux.stat() == built


def test_an_image_that_was_made_otherwise_is_made_anew(tiny_linux: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.qcow2"
    old.write_bytes(b"made by an earlier release")
    assert not guest.is_current(old)
    guest.build(old)
    assert guest.is_current(old) and old.stat().st_size > guest.MIB


@pytest.mark.req("R008")
def test_what_the_config_drive_tells_is_said_before_it_is_ready(
    libvirtd: PrivateLibvirtd, disk: Path, tmp_path: Path
) -> None:
    drive = tmp_path / "drive.iso"
    drive.write_bytes(config_drive.for_central_data(r"\\files\집").content)
    connection = libvirt.open(libvirtd.uri)
    xml = DOMAIN.format(disk=disk).replace("<graphics", DRIVE.format(drive=drive) + "<graphics", 1)
    domain = connection.createXML(xml, libvirt.VIR_DOMAIN_START_AUTODESTROY)
    with SerialConsole(libvirtd.uri, domain.UUIDString()) as console:
        console.wait_for("HOTDESK-CENTRAL-DATA \\\\files\\집")
        console.wait_for(guest.READY_MARK)
        assert json.loads(console.run("cat /run/hotdesk/hotdesk.json")) == {"central_data": r"\\files\집"}
        with pytest.raises(AssertionError, match="status 1"):
            console.run("echo mine > /run/hotdesk/central-data")
    domain.destroy()
    connection.close()


def test_without_a_config_drive_it_is_told_nothing(console: SerialConsole) -> None:
    assert console.run("ls /run/hotdesk") == ""


def test_a_marker_on_the_disk_survives_a_reboot_from_inside(console: SerialConsole) -> None:
    console.run("echo 'made by alice' > /data/marker; sync")
    console.send("reboot -f")
    console.wait_for(guest.READY_MARK)
    assert console.run("cat /data/marker") == "made by alice"
    assert "/dev/vda2 /data" in console.run("cat /proc/mounts")


def test_a_failing_command_is_told_from_a_silent_one(console: SerialConsole) -> None:
    assert console.run("true") == ""
    with pytest.raises(AssertionError, match="status 1"):
        console.run("cat /data/nothing-here")


def test_the_agent_answers_and_shuts_the_guest_down(domain: libvirt.virDomain, console: SerialConsole) -> None:
    deadline = time.monotonic() + 10
    while True:  # libvirt learns a moment later than the guest that the agent is there
        try:
            answer = libvirt_qemu.qemuAgentCommand(domain, '{"execute": "guest-ping"}', 5, 0)
            break
        except libvirt.libvirtError:
            assert time.monotonic() < deadline, "the agent does not answer"
            time.sleep(0.1)
    assert json.loads(answer) == {"return": {}}
    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
    wait_until_off(domain)


def test_the_power_button_shuts_the_guest_down(domain: libvirt.virDomain, console: SerialConsole) -> None:
    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    wait_until_off(domain)


def test_the_display_shows_the_picture(domain: libvirt.virDomain, console: SerialConsole, tmp_path: Path) -> None:
    picture = tmp_path / "screen"  # PNG or PPM, as the emulator likes
    stream = domain.connect().newStream()
    domain.screenshot(stream, 0, 0)
    with picture.open("wb") as file:
        stream.recvAll(lambda _stream, data, file: file.write(data) and 0, file)
    stream.finish()
    converted = subprocess.run(["convert", str(picture), "-depth", "8", "ppm:-"], capture_output=True, check=True)
    header, pixels = converted.stdout.split(b"\n255\n", 1)
    assert header.split()[-2:] == [b"1024", b"768"]
    colour = bytes.fromhex(guest.BACKGROUND[1:])
    near = sum(
        all(abs(a - b) <= 8 for a, b in zip(pixels[at : at + 3], colour, strict=True))
        for at in range(0, len(pixels), 3 * 97)
    )
    assert near > 0.8 * len(pixels) / (3 * 97)
