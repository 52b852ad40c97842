"""Look inside a guest: run commands in the root shell on its serial port, over libvirt."""

import re
import secrets
import threading
import time
from types import TracebackType
from typing import Self
from uuid import UUID

from broker.drivers.hypervisor.text_line import TextLine

# What is said before the shell has prompted may be lost: only then does it read the line itself.
PROMPT = r".*?# "


class SerialConsole:
    """A guest's serial console; use it with `with`, or call `close`."""

    def __init__(self, uri: str, domain: str) -> None:
        self._heard = b""
        self._news = threading.Condition()
        self._awake = False
        # Over libvirt's event loop: a thread that waits in a call for what is said may keep others from saying it.
        self._line = TextLine(uri, UUID(domain), on_bytes=self._hear, on_end=lambda: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the console; the guest does not notice."""
        self._line.close()

    def run(self, command: str, *, timeout_s: float = 60) -> str:
        """What the command printed. Waits for the shell first; fails when the command does."""
        deadline = time.monotonic() + timeout_s
        self._wake(deadline)
        mark = secrets.token_hex(6)
        # The shell echoes what it is told: quoted in the middle, the marks only match what is printed.
        self._say(f"echo \"begin\"'-{mark}'; {command}; echo \"end\"'-{mark}' $?\n")
        found = self._await(rf"begin-{mark}\r*\n(.*)end-{mark} (\d+)\r*\n{PROMPT}", deadline, command)
        output = found[1].decode(errors="replace").replace("\r", "").strip()
        if found[2] != b"0":
            raise AssertionError(f"`{command}` failed in the guest with status {found[2].decode()}: {output}")
        return output

    def send(self, command: str, *, timeout_s: float = 60) -> None:
        """Tell the shell something that it will not live to answer, such as `reboot -f`."""
        self._wake(time.monotonic() + timeout_s)
        self._say(f"{command}\n")
        self._awake = False

    def wait_for(self, text: str, *, timeout_s: float = 60) -> None:
        """Wait until the guest prints the text; what it printed before this call counts once."""
        self._await(re.escape(text), time.monotonic() + timeout_s, text)

    def _wake(self, deadline: float) -> None:
        """Ask until the shell answers: a guest that is still booting drops what it hears."""
        while not self._awake:
            mark = secrets.token_hex(6)
            # Ctrl-C first: of a line that came while it was booting it may have heard but one of two quotes.
            self._say(f"\x03\necho \"awake\"'-{mark}'\n")
            try:
                self._await(rf"awake-{mark}\r*\n{PROMPT}", min(deadline, time.monotonic() + 2), "the shell")
                self._awake = True
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def _say(self, text: str) -> None:
        self._line.send(text.encode())

    def _await(self, pattern: str, deadline: float, what: str) -> re.Match[bytes]:
        """The first match in what was heard; everything up to its end is forgotten."""
        with self._news:
            while not (found := re.search(pattern.encode(), self._heard, re.DOTALL)):
                if not self._news.wait(deadline - time.monotonic()):
                    said = self._heard[-500:].decode(errors="replace")
                    raise TimeoutError(f"No answer from the guest to {what!r}; it said: {said}")
            self._heard = self._heard[found.end() :]
            return found

    def _hear(self, data: bytes) -> None:
        with self._news:
            self._heard += data
            self._news.notify_all()
