"""How does a private libvirt run beside the machine's own one? Everything it has lies below one folder.

As root the daemon lives in its own mount and process namespaces, where the folders below the root take the
place of libvirt's system folders. Ending the namespace's first process is a power failure: daemon and guests
are gone at once. Guests see the rest of the file system as it is, so disks are wherever the caller puts them.

Without root it is a session daemon with its own folders; its guests are ended one by one.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

PORTS_PER_DAEMON = 500
FIRST_PORT, DAEMONS = 10000, 40  # below the ports that the kernel gives to outgoing connections
SOCKET_PATH_LIMIT = 107
SESSION_MONITOR = "/etc/libvirt/qemu/lib/domain-12345-" + 20 * "x" + "/monitor.sock"
READY_WITHIN_S = 60.0  # the first start probes the emulator, which takes up to 8 s on an idle machine

# In the namespace: our folders instead of the system's (the lock folder too: its files name processes by ids
# that mean nothing elsewhere), and neither the system bus nor control groups, because libvirt would otherwise
# register our guests with the machine's own services under foreign process ids.
#
# A daemon that is killed while it starts a guest leaves a note of a guest without a process. The next one would take
# it for a guest that is starting, and hang in every order about it: such notes are dropped first.
NAMESPACE_SCRIPT = """
set -e
root=$1
for pair in run:/run lib:/var/lib etc:/etc log:/var/log cache:/var/cache; do
    mkdir -p "${pair#*:}/libvirt"
    mount --bind "$root/${pair%%:*}" "${pair#*:}/libvirt"
done
mkdir -p /run/libvirt/common /run/libvirt/no-bus /run/libvirt/lock
mount --bind /run/libvirt/lock /var/lock
if [ -d /run/dbus ]; then mount --bind /run/libvirt/no-bus /run/dbus; fi
umount --recursive --lazy /sys/fs/cgroup 2>/dev/null || true
set +e
while true; do
    find /run/libvirt -path '*/qemu/*.xml' -exec grep -q "pid='0'" {} \\; -delete
    libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirt/daemon.pid
    sleep 0.2
done
"""

# setpriv: nothing of a session may outlive the loop, not even when that is killed hard.
SESSION_SCRIPT = """
settings=$1/etc/libvirt/libvirtd.conf
while true; do
    find "$1/run" -path '*/qemu/*.xml' -exec grep -q "pid='0'" {} \\; -delete
    setpriv --pdeathsig KILL -- libvirtd --config "$settings" --pid-file "$1/run/daemon.pid"
    sleep 0.2
done
"""

LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
log_outputs = "3:file:{log}"
"""

QEMU_CONF = """\
stdio_handler = "file"
max_core = 0
remote_display_port_min = {first}
remote_display_port_max = {last_display}
remote_websocket_port_min = {first_websocket}
remote_websocket_port_max = {last_websocket}
migration_port_min = {first_migration}
migration_port_max = {last}
"""

SPICE_TLS_CONF = """\
spice_tls = 1
spice_tls_x509_cert_dir = "{certificates}"
"""

# One user in one namespace: no labels, no ownership changes, no nested namespaces.
PRIVILEGED_QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
"""


class PrivateLibvirtd:
    """A libvirt daemon of our own, restarted at once when it dies.

    Ports is the range, first and last, for SPICE, websockets and migration; by default it follows from the
    root folder. Two daemons that share a range do no harm: libvirt passes over ports in use.

    With a folder of `certificates` displays can be opened by TLS, too; it must be filled before a guest starts.
    """

    def __init__(self, root: Path, ports: tuple[int, int] | None = None, *, certificates: Path | None = None) -> None:
        self.root = root.resolve()
        self.privileged = os.geteuid() == 0
        self._digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()
        start = FIRST_PORT + int(self._digest, 16) % DAEMONS * PORTS_PER_DAEMON
        self.ports = ports or (start, start + PORTS_PER_DAEMON - 1)
        self._certificates = certificates and certificates.resolve()
        self._process: subprocess.Popen[bytes] | None = None

    # ---- where things are

    @property
    def socket(self) -> Path:
        """The daemon's socket as seen from outside the namespace."""
        return self._short_root / ("run/libvirt-sock" if self.privileged else "run/libvirt/libvirt-sock")

    @property
    def uri(self) -> str:
        """The libvirt URI of this daemon; usable by every process of the same user."""
        return f"qemu+unix:///{'system' if self.privileged else 'session'}?socket={self.socket}"

    @property
    def log(self) -> Path:
        """What the daemon has to say: warnings and errors."""
        return self.root / "log/daemon.log"

    @property
    def _short_root(self) -> Path:
        """The root, or a short link to it: a socket's path has at most 107 characters.

        A session daemon also makes sockets of its own deep below its folders, so it needs more room.
        """
        deepest = "/run/libvirt-sock-ro" if self.privileged else SESSION_MONITOR
        room = len(deepest)
        if len(os.fsencode(self.root)) + room <= SOCKET_PATH_LIMIT:
            return self.root
        return self._link

    @property
    def _link(self) -> Path:
        own = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/hotdesk-{os.geteuid()}"
        return Path("/run" if self.privileged else own) / f"hotdesk-{self._digest[:12]}"

    # ---- life

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command()],
                env=self.environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the daemon and its guests at once, as a power failure does."""
        if self._process is not None:
            self.end(self._process.pid)
            self._process.wait()
            self._process = None
        self.clean_up()

    def wait_until_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Return when the daemon answers; TimeoutError with the end of its log otherwise."""
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            gone = self._process is not None and self._process.poll() is not None
            if gone or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
                raise TimeoutError(f"The libvirt daemon below {self.root} does not answer. {said}".strip())
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the emulator driver answers now (the socket is there a little earlier)."""
        if not self.socket.exists():
            return False
        question = ["virsh", "--quiet", "--connect", self.uri, "version"]
        try:  # another process, because a call to a daemon that hangs would never return
            return subprocess.run(question, capture_output=True, timeout=5).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def kill_daemon(self) -> int:
        """SIGKILL the daemon only: guests go on, and another is started at once. The killed process's id."""
        pid = self.daemon_pid()
        if pid is None:
            raise RuntimeError("The private libvirt daemon is not running.")
        os.kill(pid, signal.SIGKILL)
        return pid

    def pause(self) -> None:
        """Make the daemon hang."""
        if (pid := self.daemon_pid()) is not None:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused daemon go on."""
        if (pid := self.daemon_pid()) is not None:
            os.kill(pid, signal.SIGCONT)

    def daemon_pid(self) -> int | None:
        """The daemon's process id as seen from outside, or None while it is being restarted."""
        return None if self._process is None else self.find_daemon(self._process.pid)

    # ---- for a supervisor that starts the process itself

    def prepare(self) -> None:
        """Write the configuration and clear away what an earlier run left."""
        self.clean_up()
        # Like a machine's /run, this does not survive; the emulator's probed abilities in `cache` do.
        for name in ("run", "lib", "etc/libvirt", "log", "cache", "home"):
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._short_root == self._link:
            self._make_link()
        folder = self.root / ("etc" if self.privileged else "etc/libvirt")
        log = "/var/log/libvirt/daemon.log" if self.privileged else f"{self._short_root}/log/daemon.log"
        host_uuid = uuid.uuid5(uuid.NAMESPACE_URL, str(self.root))
        (folder / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(host_uuid=host_uuid, log=log))
        first, last = self.ports
        qemu_conf = QEMU_CONF.format(
            first=first,
            last_display=last - 100,
            first_websocket=last - 99,
            last_websocket=last - 50,
            first_migration=last - 49,
            last=last,
        )
        if self._certificates is not None:
            self._certificates.mkdir(parents=True, exist_ok=True, mode=0o700)
            qemu_conf += SPICE_TLS_CONF.format(certificates=self._certificates)
        (folder / "qemu.conf").write_text(qemu_conf + (PRIVILEGED_QEMU_CONF if self.privileged else ""))

    def command(self) -> list[str]:
        """The process to start. As root its end is the end of all guests; without root call `end`."""
        if not self.privileged:
            return ["sh", "-c", SESSION_SCRIPT, "libvirtd-loop", str(self._short_root)]
        namespace = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        # tini reaps at once; some machines' first process does not, and destroying a guest takes seconds.
        return [*namespace, "tini", "-s", "--", "sh", "-c", NAMESPACE_SCRIPT, "libvirtd-loop", str(self.root)]

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment for the command: nothing in it may lead to a libvirt that is not ours."""
        foreign = ("XDG_", "LIBVIRT_", "DBUS_")
        kept = {key: value for key, value in base.items() if not key.startswith(foreign)}
        kept["PATH"] = f"{base.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        if self.privileged:
            return kept
        short = str(self._short_root)
        folders = {"RUNTIME_DIR": "run", "CONFIG_HOME": "etc", "DATA_HOME": "lib", "CACHE_HOME": "cache"}
        return kept | {"HOME": f"{short}/home"} | {f"XDG_{key}": f"{short}/{path}" for key, path in folders.items()}

    def find_daemon(self, command_pid: int) -> int | None:
        """The daemon among the descendants of the started command, or None while it is being restarted."""
        for pid in _descendants(command_pid):
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == "libvirtd":
                    return pid
            except OSError:
                continue
        return None

    def end(self, command_pid: int) -> None:
        """Kill the started command and everything that belongs to it; return when the guests are gone."""
        tree = [command_pid, *_descendants(command_pid)]
        with contextlib.suppress(ProcessLookupError):
            os.kill(command_pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        for pid in tree:  # the namespace's first process ends after all others in it
            while _is_alive(pid) and time.monotonic() < deadline:
                if pid == command_pid:
                    break  # our caller's child; it stays until it is waited for
                time.sleep(0.01)

    def clean_up(self) -> None:
        """End guests that outlived a session daemon; forget what is only true while it runs."""
        if not self.privileged:
            for pid in self._session_guests():
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root / "run", ignore_errors=True)
        if self._link.is_symlink():
            self._link.unlink()

    def _make_link(self) -> None:
        home = self._link.parent
        home.mkdir(mode=0o700, exist_ok=True)
        if home.stat().st_uid != os.geteuid():
            raise RuntimeError(f"{home} is somebody else's; a state folder with a shorter path does not need it.")
        self._link.symlink_to(self.root)

    def _session_guests(self) -> Iterator[int]:
        """Emulators that this session daemon started: libvirt names them after files below our folders."""
        ours = os.fsencode(self._short_root)
        for file in (self.root / "run/libvirt/qemu/run").glob("*.pid"):
            try:
                pid = int(file.read_text())
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (OSError, ValueError):
                continue
            if b"qemu" in command and ours in command:
                yield pid


def _is_alive(pid: int) -> bool:
    """Whether the process still runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _descendants(pid: int) -> Iterator[int]:
    """Children first, then theirs."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return
    yield from children
    for child in children:
        yield from _descendants(child)
