"""A real remote-viewer on a screen that nobody sees."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from broker.lab import guest
from tests.running import wait_until

GUEST_PIXELS = 300_000  # of the 786,432 that Tiny Linux shows
ESTABLISHED = "01"


@contextmanager
def screen() -> Iterator[str]:
    """A display for programs with windows, whose number its server finds."""
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    # It would begin anew whenever its last program leaves, and refuse whoever comes just then.
    command += ["-noreset"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        number = server.stdout.readline().strip()  # said once it takes programs
        assert number, "Xvfb ended"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


class RemoteViewer:
    """The program that opens a connection file, begun with other words in front where it runs elsewhere."""

    def __init__(self, display: str, folder: Path, text: str, *, within: Sequence[str] = ()) -> None:
        self.file = folder / "desktop.vv"
        self.file.write_text(text)
        self.log = folder / "viewer.log"
        self.picture = folder / "screen.png"
        self.environment = {
            **{"DISPLAY": display, "HOME": str(folder), "NO_AT_BRIDGE": "1", "LC_ALL": "C.UTF-8"},
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*within, "remote-viewer", str(self.file)], env=self.environment, stdout=log, stderr=log
            )

    def __enter__(self) -> "RemoteViewer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def said(self) -> str:
        """What it complained about."""
        return self.log.read_text(errors="replace")

    def shows_the_guest(self) -> bool:
        """Whether the guest's picture is on the screen."""
        assert self.process.poll() is None, f"the viewer ended: {self.said()}"
        subprocess.run(["import", "-window", "root", str(self.picture)], env=self.environment, check=True)
        return _colours(self.picture).get(guest.BACKGROUND.lstrip("#").upper(), 0) > GUEST_PIXELS

    def wait_for_the_guest(self) -> None:
        wait_until(self.shows_the_guest, "the guest's picture is on the screen", 60, pause=0.5)

    def ports(self) -> set[int]:
        """Where it is connected to."""
        own = f"/proc/{self.process.pid}"
        sockets = set()
        for descriptor in Path(f"{own}/fd").iterdir():
            try:
                sockets.add(os.readlink(descriptor))
            except FileNotFoundError:
                continue
        found = set()
        for line in Path(f"{own}/net/tcp").read_text().splitlines()[1:]:
            words = line.split()
            remote, state, inode = words[2], words[3], words[9]
            if state == ESTABLISHED and f"socket:[{inode}]" in sockets:
                found.add(int(remote.split(":")[1], 16))
        return found


def _colours(picture: Path) -> dict[str, int]:
    """How often each colour stands in a picture, for the most frequent ones."""
    command = ["convert", str(picture), "-depth", "8", "-format", "%c", "histogram:info:-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, int] = {}
    for line in text.splitlines():
        count, rest = line.strip().split(":", 1)
        colour = rest.split("#")[1][:6]
        found[colour] = found.get(colour, 0) + int(count)
    return found
