"""One libvirt handle per process and URI, opened within a time limit, and libvirt's errors in our words.

A frozen daemon blocks `libvirt.open()` for ever, so opening happens in a thread that may be left behind. Once
open, keepalive messages end the calls of a daemon that stops answering after about four seconds; they need an
event loop, which a thread of this module runs for the whole process.
"""

import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import libvirt

from broker.drivers.hypervisor.interface import (
    DomainMissing,
    HostUnreachable,
    HypervisorError,
    VolumeMissing,
)

OPEN_SECONDS = 5.0
ABANDON_SECONDS = 60.0
KEEPALIVE_INTERVAL_SECONDS = 1
KEEPALIVE_COUNT = 3

LOST_CODES = {
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_SYSTEM_ERROR,
}
LOST_DOMAINS = {libvirt.VIR_FROM_REMOTE, libvirt.VIR_FROM_RPC}

_lock = threading.Lock()
_connections: dict[str, libvirt.virConnect] = {}
_openings: dict[str, "_Opening"] = {}
_loop_process: int | None = None


class _Opening:
    """An attempt to connect, in a thread of its own."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._abandoned = False
        self._connection: libvirt.virConnect | None = None
        self._error: libvirt.libvirtError | None = None
        self.done = threading.Event()
        threading.Thread(target=self._open, name=f"open {uri}", daemon=True).start()

    @property
    def is_old(self) -> bool:
        """Whether it has waited so long that its peer has probably forgotten it."""
        return time.monotonic() - self._begun > ABANDON_SECONDS

    def result(self) -> libvirt.virConnect:
        """The handle, or HostUnreachable after OPEN_SECONDS or when the daemon refuses."""
        if not self.done.wait(OPEN_SECONDS):
            raise HostUnreachable(f"{self._uri} did not answer within {OPEN_SECONDS:.0f} seconds.")
        if self._error is not None:
            raise HostUnreachable(_text(self._error))
        return self._connection

    def abandon(self) -> None:
        """Nobody wants the result any more: should it come, it is closed."""
        with self._lock:
            self._abandoned = True

    def _open(self) -> None:
        try:
            connection = libvirt.open(self._uri)
            _keep_alive(connection)
        except libvirt.libvirtError as error:
            self._error = error
        else:
            with self._lock:
                if self._abandoned:
                    connection.close()
                self._connection = connection
        self.done.set()


def handle(uri: str) -> libvirt.virConnect:
    """The open handle of this process for the URI, opened or reopened where needed."""
    _run_event_loop()
    with _lock:
        connection = _connections.get(uri)
        if connection is not None and is_alive(connection):
            return connection
        _connections.pop(uri, None)
        opening = _openings.get(uri)
        # An attempt that still waits is joined, so that a frozen host costs one thread and not one per call.
        if opening is not None and opening.is_old:
            opening.abandon()
            opening = None
        if opening is None:
            opening = _openings[uri] = _Opening(uri)
    try:
        connection = opening.result()
    finally:
        with _lock:
            if opening.done.is_set() and _openings.get(uri) is opening:
                del _openings[uri]
    with _lock:
        return _connections.setdefault(uri, connection)


def open_own(uri: str) -> libvirt.virConnect:
    """A handle that the caller alone uses, and closes."""
    _run_event_loop()
    opening = _Opening(uri)
    try:
        return opening.result()
    except HostUnreachable:
        opening.abandon()
        raise


def is_alive(connection: libvirt.virConnect) -> bool:
    """Whether the handle believes that its daemon is there; a daemon just lost may still count as alive."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


class _OnHost(Protocol):
    """What a class must have for its methods to be `translated`."""

    uri: str


Self = TypeVar("Self", bound=_OnHost)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def translated(
    method: Callable[Concatenate[Self, Parameters], Result],
) -> Callable[Concatenate[Self, Parameters], Result]:
    """Raise libvirt's errors as kinds of HypervisorError; forget the handle when the connection is lost."""

    @functools.wraps(method)
    def call(self: Self, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return method(self, *args, **kwargs)
        except libvirt.libvirtError as error:
            raise translation(self.uri, error) from error

    return call


def translation(uri: str, error: libvirt.libvirtError) -> HypervisorError:
    """Our kind of error for one of libvirt's."""
    code = error.get_error_code()
    with _lock:
        connection = _connections.get(uri)
        dead = connection is not None and not is_alive(connection)
        if dead or (error.get_error_domain() in LOST_DOMAINS and code in LOST_CODES):
            _connections.pop(uri, None)
            return HostUnreachable(_text(error))
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return DomainMissing(_text(error))
    if code == libvirt.VIR_ERR_NO_STORAGE_VOL:
        return VolumeMissing(_text(error))
    return HypervisorError(_text(error))


def _text(error: libvirt.libvirtError) -> str:
    return str(error.get_error_message() or error)


def _keep_alive(connection: libvirt.virConnect) -> None:
    try:
        connection.setKeepAlive(KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        # A driver that lives in this process has no peer to lose.
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise


def _run_event_loop() -> None:
    global _loop_process
    # Before the lock, which a thread that did not follow us through the fork may have held.
    if _loop_process not in (None, os.getpid()):
        # Our copy of the loop would read replies from the parent's sockets.
        raise HypervisorError("This process was forked after its parent had connected to a hypervisor.")
    with _lock:
        if _loop_process is not None:
            return
        _loop_process = os.getpid()
        libvirt.registerErrorHandler(_say_nothing, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_loop_for_ever, name="libvirt events", daemon=True).start()


def _loop_for_ever() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _say_nothing(context: None, error: tuple[object, ...]) -> None:
    """Errors are raised, so libvirt need not print them as well."""
