"""The serial line of a domain, both ways: for the one process of a host that listens to it all the time."""

import contextlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import libvirt

from broker.drivers.hypervisor import connection
from broker.drivers.hypervisor.connection import translation

CHUNK = 4096
MOST_PENDING = 64 * 1024  # bytes that a guest that reads nothing keeps waiting; what is typed beyond them is lost
WOULD_BLOCK = -2
OVER = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP


class TextLine:
    """An open line. `on_bytes` and `on_end` are called on the event loop's thread, and must not wait for anything.

    Whoever else had the line, of this host's own programs too, loses it: our rows say whose it is.
    """

    def __init__(
        self, uri: str, domain_id: UUID, *, on_bytes: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        self._on_bytes, self._on_end = on_bytes, on_end
        self._pending = bytearray()
        host = connection.handle(uri)
        try:
            self._stream = host.newStream(libvirt.VIR_STREAM_NONBLOCK)
            domain = host.lookupByUUID(domain_id.bytes)
            domain.openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
            self._stream.eventAddCallback(libvirt.VIR_STREAM_EVENT_READABLE | OVER, self._happened, None)
        except libvirt.libvirtError as error:
            raise translation(uri, error) from error

    def _happened(self, stream: libvirt.virStream, events: int, _opaque: Any) -> None:
        data: bytes | int = b""
        if events & libvirt.VIR_STREAM_EVENT_READABLE:
            with contextlib.suppress(libvirt.libvirtError):
                data = stream.recv(CHUNK)
                if data == WOULD_BLOCK:
                    return
        if isinstance(data, bytes) and data:
            self._on_bytes(data)
        else:
            self.close()
            self._on_end()

    def send(self, data: bytes) -> None:
        """Say something, or keep it until `flush`."""
        self._pending += data[: MOST_PENDING - len(self._pending)]
        self.flush()

    def flush(self) -> None:
        """Say what could not be said before."""
        while self._pending:
            try:
                sent = self._stream.send(bytes(self._pending[:CHUNK]))
            except libvirt.libvirtError:
                return  # it is over, and its end is told
            if sent <= 0:
                return
            del self._pending[:sent]

    def close(self) -> None:
        """Let go of the line; the guest does not notice. Again changes nothing."""
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.eventRemoveCallback()
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.abort()
