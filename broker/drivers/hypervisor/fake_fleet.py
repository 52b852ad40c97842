"""Fake hosts that many processes share: a fleet lives in the memory of one process, behind a socket.

`python -m broker.drivers.hypervisor.fake_fleet SOCKET` is that process. The URI of a host names the socket, and how
the host is and fails: `fake:///run/fleet.sock?host=h1&boot_seconds=2&never_boots=0.1`. All hosts of a fleet share
storage. What crosses the socket is pickled, so connecting must be allowed by HOTDESK_FAKE_HOSTS, and the socket lies
in a folder that nobody else may enter.
"""

import argparse
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from broker.drivers.hypervisor.fake import FakeHypervisor
from broker.drivers.hypervisor.fake_failings import Failings
from broker.drivers.hypervisor.interface import DomainEvent, HostUnreachable, HypervisorError

ALLOWED = "HOTDESK_FAKE_HOSTS"
LOOK_SECONDS = 0.1
NATURE: dict[str, Callable[[str], float]] = {"boot_seconds": float, "boots_at_once": int, "memory_mib": int}

Question = tuple[str, str, tuple[Any, ...], dict[str, Any]]


class Fleet:
    """The hosts by their URIs, made when they are first asked anything."""

    def __init__(self, seed: int) -> None:
        self._lots = random.Random(seed)
        self._lock = threading.RLock()
        self._hosts: dict[str, FakeHypervisor] = {}
        self._volumes: dict[str, list[str]] = {}
        self._backing: dict[str, str] = {}

    def answer(self, question: Question) -> Any:
        """What the host says; a HypervisorError as a value."""
        uri, verb, args, kwargs = question
        try:
            with self._lock:
                host = self._hosts.get(uri) or self._made(uri)
            time.sleep(host.failings.slow)
            with self._lock:
                return getattr(host, verb)(*args, **kwargs)
        except HypervisorError as error:
            return error

    def _made(self, uri: str) -> FakeHypervisor:
        given = dict(parse_qsl(urlsplit(uri).query))
        given.pop("host", None)
        nature: dict[str, Any] = {name: read(given.pop(name)) for name, read in NATURE.items() if name in given}
        host = FakeHypervisor(
            volume_table=self._volumes,
            backing_of=self._backing,
            failings=Failings.named(given),
            lots=random.Random(self._lots.random()),
            **nature,
        )
        self._hosts[uri] = host
        return host


def serve(socket: Path, *, seed: int) -> None:
    """Answer whoever connects, until the process is ended."""
    fleet = Fleet(seed)
    with Listener(str(socket), "AF_UNIX", backlog=1024) as listener:
        while True:
            threading.Thread(target=_converse, args=(listener.accept(), fleet), daemon=True).start()


def _converse(connection: Connection, fleet: Fleet) -> None:
    with connection, suppress(EOFError, OSError):
        while True:
            connection.send(fleet.answer(connection.recv()))


def allowed() -> bool:
    """Whether this process may connect to fake hosts."""
    return os.environ.get(ALLOWED) == "1"


@cache
def host(uri: str) -> "FakeHost":
    """The one driver of this process for the URI; HypervisorError where fake hosts are not allowed."""
    if not allowed():
        raise HypervisorError(f"Fake hosts are for load tests: set {ALLOWED}=1 to allow them.")
    return FakeHost(uri)


class FakeHost:
    """A host of a fleet, as a driver. One connection for each thread; what a fork brought along is not used."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._socket = urlsplit(uri).path
        self._mine = threading.local()

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("_"):
            raise AttributeError(verb)
        return partial(self._ask, verb)

    def _ask(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        try:
            connection = self._connection()
            connection.send((self._uri, verb, args, kwargs))
            answer = connection.recv()
        except (EOFError, OSError) as error:
            self._mine.connection = None
            raise HostUnreachable(f"{self._socket}: {error or 'the fleet is gone'}") from error
        if isinstance(answer, HypervisorError):
            raise answer
        return answer

    def _connection(self) -> Any:
        if getattr(self._mine, "process", None) != os.getpid():
            self._mine.process, self._mine.connection = os.getpid(), None
        if self._mine.connection is None:
            self._mine.connection = Client(self._socket, "AF_UNIX")
        return self._mine.connection


def watch(
    uri: str,
    *,
    on_connected: Callable[[], None],
    on_event: Callable[[DomainEvent], None],
    keep_going: Callable[[], bool],
) -> None:
    """As `event_stream.watch`: a host's events until `keep_going` says no; HostUnreachable when it is silent."""
    told = [number for number, _event in host(uri).events_after(0)]
    seen = max(told, default=0)
    on_connected()
    while keep_going():
        for number, event in host(uri).events_after(seen):
            seen = number
            on_event(event)
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Keep a fleet of fake hosts behind a socket.")
    parser.add_argument("socket", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="the same lots for the same questions")
    given = parser.parse_args()
    serve(given.socket, seed=given.seed)
