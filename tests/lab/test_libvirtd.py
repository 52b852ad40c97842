"""A private libvirt is separate, dies as a machine would, and lives through its daemon's death."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

import broker.lab
from broker.lab.libvirtd import PrivateLibvirtd

FIRMWARE_ONLY = """
<domain type="qemu">
  <name>{name}</name><memory unit="MiB">16</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices><serial type="pty"/></devices>
</domain>
"""
NOBODY = 65534
SESSION_SCRIPT = """
import subprocess, sys, time
from pathlib import Path
from broker.lab.libvirtd import PrivateLibvirtd

daemon = PrivateLibvirtd(Path("state").resolve())
daemon.start()
assert not daemon.privileged
Path("domain.xml").write_text(sys.argv[1])
virsh = ["virsh", "-q", "-c", daemon.uri]
subprocess.run([*virsh, "create", "domain.xml"], check=True)
killed = daemon.kill_daemon()
while daemon.daemon_pid() in (killed, None):
    time.sleep(0.02)
daemon.wait_until_ready()
assert "session" in subprocess.run([*virsh, "list", "--name"], capture_output=True, text=True).stdout
(pid_file,) = Path("state/run/libvirt/qemu/run").glob("session.pid")
emulator = Path("/proc") / pid_file.read_text().strip()
assert emulator.exists()
daemon.stop()
time.sleep(0.5)
assert not emulator.exists() or ") Z " in (emulator / "stat").read_text()
print("all is well")
"""


@pytest.fixture
def connection(libvirtd: PrivateLibvirtd) -> Iterator[libvirt.virConnect]:
    connection = libvirt.open(libvirtd.uri)
    yield connection
    connection = libvirt.open(libvirtd.uri)  # the test may have broken the first
    for domain in connection.listAllDomains():
        domain.destroy()
    connection.close()


def namespace_of(daemon: PrivateLibvirtd) -> str:
    return os.readlink(f"/proc/{daemon.daemon_pid()}/ns/pid")


def emulators(namespace: str) -> list[int]:
    """Emulators in the process namespace, as seen from outside."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if "qemu-system" in (folder / "comm").read_text() and os.readlink(folder / "ns/pid") == namespace:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_killed_daemon_comes_back_and_its_guests_never_notice(
    libvirtd: PrivateLibvirtd, connection: libvirt.virConnect
) -> None:
    domain_id = connection.createXML(FIRMWARE_ONLY.format(name="survivor")).ID()
    namespace = namespace_of(libvirtd)
    before = emulators(namespace)
    killed = libvirtd.kill_daemon()
    while libvirtd.daemon_pid() in (killed, None):
        time.sleep(0.02)
    libvirtd.wait_until_ready()
    found = libvirt.open(libvirtd.uri).lookupByName("survivor")
    assert found.ID() == domain_id
    assert emulators(namespace) == before
    assert len(before) == 1


def test_a_paused_daemon_hangs_until_it_is_resumed(libvirtd: PrivateLibvirtd, connection: libvirt.virConnect) -> None:
    question = ["virsh", "-c", libvirtd.uri, "version"]
    libvirtd.pause()
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(question, capture_output=True, timeout=1)
    libvirtd.resume()
    assert subprocess.run(question, capture_output=True, timeout=10).returncode == 0


def test_stopping_ends_the_guests_at_once_and_definitions_outlive_it(tmp_path: Path) -> None:
    daemon = PrivateLibvirtd(tmp_path / "host")
    daemon.start()
    libvirt.open(daemon.uri).defineXML(FIRMWARE_ONLY.format(name="kept")).create()
    namespace = namespace_of(daemon)
    assert len(emulators(namespace)) == 1
    began = time.monotonic()
    daemon.stop()
    assert emulators(namespace) == []
    assert time.monotonic() - began < 5

    daemon.start()
    try:
        assert not libvirt.open(daemon.uri).lookupByName("kept").isActive()
    finally:
        daemon.stop()


def test_two_daemons_do_not_see_each_other_and_the_machines_own_stays_as_it_was(tmp_path: Path) -> None:
    own_folders = [Path("/etc/libvirt"), Path("/run/libvirt"), Path("/var/lib/libvirt"), Path("/run/lock")]
    before = [sorted(folder.rglob("*")) for folder in own_folders]
    daemons = [PrivateLibvirtd(tmp_path / name) for name in ("a", "b")]
    try:
        for daemon in daemons:
            daemon.start()
        first, second = (libvirt.open(daemon.uri) for daemon in daemons)
        console = first.createXML(FIRMWARE_ONLY.format(name="only-in-a"))
        console.openConsole(None, first.newStream(), 0)  # libvirt writes a lock file for this
        assert [domain.name() for domain in second.listAllDomains()] == []
        assert first.getCapabilities() != second.getCapabilities(), "each host has its own UUID"
        assert [sorted(folder.rglob("*")) for folder in own_folders] == before
    finally:
        for daemon in daemons:
            daemon.stop()


def test_a_long_path_is_reached_by_a_short_socket_which_goes_away(tmp_path: Path) -> None:
    daemon = PrivateLibvirtd(tmp_path / ("long-" * 12) / ("longer-" * 8))
    daemon.start()
    try:
        assert len(str(daemon.socket)) < 108
        assert libvirt.open(daemon.uri).isAlive()
    finally:
        daemon.stop()
    assert not daemon.socket.parent.parent.exists()


def test_without_root_guests_survive_the_daemon_and_end_with_stop() -> None:
    """Runs as another user when the tests run as root, with Debian's Python and a copy that it may read."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        shutil.copytree(Path(broker.lab.__file__).parent, home / "broker/lab")
        (home / "broker/__init__.py").touch()
        python, prefix = sys.executable, []
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", str(NOBODY), name], check=True)
            prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
            python = "/usr/bin/python3"
        command = [*prefix, python, "-c", SESSION_SCRIPT, FIRMWARE_ONLY.format(name="session")]
        environment = {"PATH": os.environ["PATH"], "HOME": name, "PYTHONPATH": name}
        done = subprocess.run(command, cwd=name, env=environment, capture_output=True, text=True, timeout=120)
        assert "all is well" in done.stdout, done.stdout + done.stderr
