"""How does a private Redis run? On a loopback port, with a password, and nobody relies on its data."""

import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

FIRST_PORT, PORTS = 5400, 1000  # below the ports that the kernel gives to outgoing connections
READY_WITHIN_S = 20.0

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
save ""
appendonly no
daemonize no
loglevel warning
logfile "{folder}/redis.log"
"""


class PrivateRedis:
    """A Redis below one folder; without a port, on a free one that follows from the folder's name."""

    def __init__(self, root: Path, port: int | None = None) -> None:
        self.root = root.resolve()
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.port = port or _free_port(self.root)
        self.password = self._password()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for Celery, Channels and the cache."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return self.root / "redis.log"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.prepare()
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *self.command()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the server and wait for it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """SIGKILL the server; its data is gone with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int | None:
        """The server's process id while this object runs it."""
        return self._process.pid if self._process else None

    def wait_until_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Return when the server answers; TimeoutError otherwise."""
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                raise TimeoutError(f"The private Redis on port {self.port} does not answer; see {self.log}.")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether this server, not some other one on the port, answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                said = b""
                while b"PONG" not in said and (more := connection.recv(1024)):
                    said += more
                return said.startswith(b"+OK") and b"PONG" in said
        except OSError:
            return False

    def prepare(self) -> None:
        """Write the configuration, password included, for the owner's eyes only."""
        file = self.root / "redis.conf"
        text = CONFIGURATION.format(port=self.port, password=self.password, folder=self.root)
        _write_private(file, text)

    def command(self) -> list[str]:
        """The process to start."""
        return [shutil.which("redis-server") or "/usr/bin/redis-server", str(self.root / "redis.conf")]

    def _password(self) -> str:
        file = self.root / "password"
        if not file.exists():
            _write_private(file, secrets.token_hex(24))
        return file.read_text()


def _write_private(file: Path, text: str) -> None:
    with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as target:
        target.write(text)


def _free_port(root: Path) -> int:
    start = int(hashlib.sha256(os.fsencode(root)).hexdigest(), 16)
    for step in range(PORTS):
        port = FIRST_PORT + (start + step) % PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("No free port for a private Redis.")
