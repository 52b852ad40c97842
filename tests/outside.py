"""A network from which the hosts cannot be reached, and a real Squid at its edge."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.running import wait_until

INSIDE, OUTSIDE = "198.18.77.1", "198.18.77.2"  # a range that is set aside for tests
PORT = 3129
SQUID = f"""\
http_port {INSIDE}:{PORT}
acl viewers src {OUTSIDE}/32
http_access allow viewers
http_access deny all
cache deny all
pid_filename none
shutdown_lifetime 0 seconds
"""


@dataclass(frozen=True)
class Outside:
    """`within` is what a command begins with to run out there."""

    within: tuple[str, ...]
    proxy: str
    log: Path

    def tunnels(self) -> str:
        """What the proxy let through, once that is over."""
        return self.log.read_text() if self.log.exists() else ""


@contextmanager
def outside() -> Iterator[Outside]:
    """A network namespace with one cable to this machine, whose other end only the proxy listens on."""
    assert os.geteuid() == 0, "This test makes a network namespace and runs Squid: it must be root."
    assert shutil.which("squid"), "squid must be installed: `make test` does it."
    name = f"hotdesk-{os.getpid()}"
    here, there = f"hd{os.getpid() % 100_000}a", f"hd{os.getpid() % 100_000}b"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _ip("addr", "add", f"{INSIDE}/30", "dev", here)
        _ip("link", "set", here, "up")
        for words in (("addr", "add", f"{OUTSIDE}/30", "dev", there), ("link", "set", there, "up")):
            _ip("-n", name, *words)
        with _squid() as log:
            yield Outside(("ip", "netns", "exec", name), f"http://{INSIDE}:{PORT}", log)
    finally:
        subprocess.run(["ip", "link", "del", here], capture_output=True)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"Network namespaces are needed here, and cannot be made: {done.stderr}"


@contextmanager
def _squid() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, settings = folder / "access.log", folder / "squid.conf"
        settings.write_text(f"{SQUID}access_log stdio:{log}\ncache_log {folder}/cache.log\ncoredump_dir {folder}\n")
        shutil.chown(folder, "proxy", "proxy")  # whom it becomes
        server = subprocess.Popen(
            ["squid", "-N", "-f", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: _listens(server), "Squid listens", 30)
            yield log
        finally:
            server.terminate()
            server.wait()


def _listens(server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "Squid ended"
    wanted = f":{PORT:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(words[1].endswith(wanted) and words[3] == "0A" for words in map(str.split, lines))
