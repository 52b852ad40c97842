"""What happens to the machine that a demo runs on: each torment begins, lasts a while, and is over."""

import os
import random
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from broker.lab.supervisor import read_processes
from tests.postgresql import PrivatePostgresql
from tests.running import Hotdesk, descendants, kill

KINDS = ("web", "allocate", "consoles", "hypervisor", "beat", "watch", "redis", "libvirtd")
STORAGE_MIB = 256
JUMP_S = 60
CLOCK = Path(__file__).with_name("clock.c")


class Storage:
    """A small file system for the images of a demo, which can be filled without harm to the machine. Only as root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted = os.geteuid() == 0

    def __enter__(self) -> "Storage":
        self.folder.mkdir(parents=True)
        if self.mounted:
            options = ["-t", "tmpfs", "-o", f"size={STORAGE_MIB}m,mode=755", "hotdesk", str(self.folder)]
            subprocess.run(["mount", *options], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Until nothing more can be written."""
        with self.ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(2**20)):
                    continue
            except OSError:
                return


class Clock:
    """The clock of all programs that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._file.write_bytes(struct.pack("q", 0))
        library = folder / "clock.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK)], check=True)
        self.environment = {"HOTDESK_CLOCK": str(self._file), "LD_PRELOAD": str(library)}

    def move(self, seconds: int) -> None:
        """So far from the true time."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))


class Torments:
    """One after the other, drawn by lot; `undo` ends whatever may last."""

    def __init__(
        self, hotdesk: Hotdesk, storage: Storage, clock: Clock, postgresql: PrivatePostgresql | None, seed: int
    ) -> None:
        self._hotdesk, self._storage, self._clock, self._postgresql = hotdesk, storage, clock, postgresql
        self._lots = random.Random(f"{seed}/torments")
        self._kinds: dict[str, Callable[[], object]] = {
            **{f"kill {kind}": lambda kind=kind: kill(hotdesk, kind) for kind in KINDS},
            "kill a guest": self._kill_guest,
            "freeze libvirtd": self._freeze,
            "move the clock": self._move_clock,
        }
        if storage.mounted:
            self._kinds["fill the disk"] = self._fill_disk
        if postgresql is not None:
            self._kinds["restart postgresql"] = self._restart_postgresql
        self._hand: list[str] = []
        self.moved_clock = False

    def one(self) -> str:
        """Do the next: each kind once before any comes again. Its name."""
        if not self._hand:
            self._hand = list(self._kinds)
            self._lots.shuffle(self._hand)
        name = self._hand.pop()
        self._kinds[name]()
        return name

    def pause(self) -> float:
        """Seconds of peace before the next."""
        return self._lots.uniform(0.5, 4)

    def undo(self) -> None:
        """Nothing lasts."""
        self._clock.move(0)
        self._storage.ballast.unlink(missing_ok=True)

    def _last(self, least: float, most: float) -> None:
        time.sleep(self._lots.uniform(least, most))

    def _kill_guest(self) -> None:
        guests = [pid for pid in descendants(self._hotdesk.pid("libvirtd-loop")) if "qemu-system" in _program(pid)]
        if guests:
            os.kill(self._lots.choice(guests), signal.SIGKILL)

    def _freeze(self) -> None:
        frozen = read_processes(self._hotdesk.state).get("libvirtd")
        if frozen is None:
            return
        os.kill(frozen.pid, signal.SIGSTOP)
        self._last(5, 15)
        if frozen.alive:
            os.kill(frozen.pid, signal.SIGCONT)

    def _fill_disk(self) -> None:
        self._storage.fill()
        self._last(3, 8)
        self._storage.ballast.unlink()

    def _move_clock(self) -> None:
        self.moved_clock = True
        self._clock.move(self._lots.choice([-JUMP_S, JUMP_S]))
        self._last(3, 8)
        self._clock.move(0)

    def _restart_postgresql(self) -> None:
        assert self._postgresql is not None
        self._postgresql.stop()
        self._last(0, 3)
        self._postgresql.start()


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except OSError:
        return ""
