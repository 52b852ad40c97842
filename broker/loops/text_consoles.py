"""Hold the text consoles of one host, beside what listens to it: a page has no way to the hypervisor."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from uuid import UUID

from django.db import Error, close_old_connections
from redis.exceptions import RedisError

from broker.drivers.hypervisor import HypervisorError
from broker.drivers.hypervisor.text_line import TextLine
from broker.models import ConsoleSession, Host
from broker.operations import console_sessions
from broker.states import ConsoleKind
from broker.text_wires import AtHost, Said

log = logging.getLogger(__name__)

MOST_LINES = 64
MOST_WAITING = 2000  # chunks that Redis is behind with; what lines write beyond them is lost
LOOK_SECONDS = 0.5
PAUSE_SECONDS = 1.0


class TextConsoles:
    """The open lines of one host, by session."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.wires = AtHost(host.pk)
        self.lines: dict[UUID, TextLine] = {}
        self.written: queue.Queue[tuple[UUID, bytes | None]] = queue.Queue(MOST_WAITING)
        self.looked_at = 0.0

    def run(self, keep_going: Callable[[], bool]) -> None:
        """Until told otherwise, in a thread of its own; another writes down what the lines say."""
        threading.Thread(target=self._tell, name="text consoles tell", daemon=True).start()
        while keep_going():
            try:
                for said in self.wires.listen():
                    self._hear(said)
                self._look()
            except (RedisError, Error) as error:
                log.warning("the text consoles of %s wait: %s", self.host, error)
                time.sleep(PAUSE_SECONDS)
        for line in self.lines.values():
            line.close()

    def _hear(self, said: Said) -> None:
        if said.data is None:
            self._open(said.session_id)
        elif said.session_id in self.lines:
            self.lines[said.session_id].send(said.data)

    def _open(self, session_id: UUID) -> None:
        """The rows say whose line it is, and not whoever asks."""
        close_old_connections()
        sessions = ConsoleSession.objects.in_force().filter(pk=session_id, kind=ConsoleKind.TEXT, vm__host=self.host)
        vm_id = sessions.values_list("vm", flat=True).first()
        if vm_id is None or len(self.lines) >= MOST_LINES:
            self._write(session_id, None)
            return
        try:
            line = TextLine(
                self.host.uri,
                vm_id,
                on_bytes=lambda data: self._write(session_id, data),
                on_end=lambda: self._write(session_id, None),
            )
        except HypervisorError as error:
            log.warning("the text console of VM %s cannot be opened: %s", vm_id, error)
            self._write(session_id, None)
            return
        self._write(session_id, b"")
        self.lines[session_id] = line

    def _write(self, session_id: UUID, data: bytes | None) -> None:
        try:
            self.written.put_nowait((session_id, data))
        except queue.Full:
            log.warning("a text console writes faster than it can be shown")

    def _tell(self) -> None:
        while True:
            self.wires.tell(*self.written.get())

    def _look(self) -> None:
        """Say what waits, and let go of the lines whose sessions are over."""
        for line in self.lines.values():
            line.flush()
        if not self.lines or time.monotonic() - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = time.monotonic()
        close_old_connections()
        for session_id in set(self.lines) - console_sessions.keep(set(self.lines), seen=False):
            self.lines.pop(session_id).close()
