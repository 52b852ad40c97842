"""Turn each host's stream of domain events into wake-ups: one child process per host, each under a lease."""

import logging
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, close_old_connections

from broker import config, jobs, leases
from broker.drivers.hypervisor import DomainEvent, EventKind, HostUnreachable, event_stream
from broker.loops import host_health
from broker.loops.text_consoles import TextConsoles
from broker.models import Host, VirtualMachine
from broker.operations import deadlines
from broker.states import VmStatus

log = logging.getLogger(__name__)

LEASE_SECONDS = 10
LOOK_SECONDS = 2.0
CHANNELS_CLOSE_SECONDS = 1.0
# What workers do themselves is told as well. The monitors see in time what others did.
DEFINITIONS = ("defined", "undefined")
BEGINNINGS = ("started", "resumed")


class Command(BaseCommand):
    """`watch` looks after the children; `watch --host ID` is one of them."""

    # They would load all that the web is made of into each child: a second of a processor, for each host.
    requires_system_checks = ()
    help = "Listen to the hosts: without --host, one child process is kept for each host that is up."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", type=UUID, help="listen to this host, in this process")

    def handle(self, *args: Any, host: UUID | None = None, **options: Any) -> None:
        self.going = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        if host is None:
            self._look_after_children()
        else:
            self._listen(host)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.going = False

    def _look_after_children(self) -> None:
        children: dict[UUID, subprocess.Popen[bytes]] = {}
        while self.going:
            for host_id in self._hosts():
                child = children.get(host_id)
                if child is None or child.poll() is not None:
                    command = [sys.executable, sys.argv[0], "watch", "--host", str(host_id)]
                    children[host_id] = subprocess.Popen(command)
            time.sleep(LOOK_SECONDS)
        for child in children.values():
            child.terminate()
        for child in children.values():
            child.wait()

    def _hosts(self) -> list[UUID]:
        try:
            close_old_connections()
            return host_health.monitored()
        except OperationalError as error:
            log.warning("the database does not answer: %s", error)
            return []

    def _listen(self, host_id: UUID) -> None:
        """Until the host is lost or the lease is: the parent starts a new child then."""
        host = Host.objects.get(pk=host_id)
        office = f"watch {host_id}"
        if not leases.hold(office, seconds=LEASE_SECONDS):
            time.sleep(LOOK_SECONDS)
            return
        self.renew_at = time.monotonic() + LEASE_SECONDS / 3

        def keep_going() -> bool:
            if time.monotonic() > self.renew_at:
                self.renew_at = time.monotonic() + LEASE_SECONDS / 3
                self.going = self.going and leases.hold(office, seconds=LEASE_SECONDS)
            return self.going

        def wake_all() -> None:
            for vm_id in VirtualMachine.objects.filter(host=host).values_list("pk", flat=True):
                jobs.send("broker.converge", vm_id)

        if not host.uri.startswith("fake:"):
            consoles = threading.Thread(target=TextConsoles(host).run, args=(lambda: self.going,), daemon=True)
            consoles.start()
        try:
            event_stream.watch(
                host.uri,
                installation=config.installation(),
                on_connected=wake_all,
                on_event=react,
                keep_going=keep_going,
            )
        except HostUnreachable as error:
            log.warning("%s: %s", host, error)
            time.sleep(LOOK_SECONDS)
        finally:
            leases.release(office)


def react(event: DomainEvent) -> None:
    """A viewer came, or a channel was closed: write it down. Anything else that is news: the VM is looked at."""
    if event.kind == EventKind.GRAPHICS:
        if event.detail == "initialized":
            deadlines.record_viewers(vm_id=event.vm_id, viewers=1)
        elif event.detail == "disconnected":
            # A viewer has several channels, which close one by one: what is left is asked of the host.
            jobs.look_at_display(event.vm_id, seconds=CHANNELS_CLOSE_SECONDS)
        return
    if event.kind != EventKind.LIFECYCLE or not _is_as_wanted(event):
        jobs.wake_vm(event.vm_id)


def _is_as_wanted(event: DomainEvent) -> bool:
    """Whether a look would find what its worker knows: most events of a morning are of VMs that start as wanted."""
    if event.detail not in BEGINNINGS:
        return event.detail in DEFINITIONS
    running = VirtualMachine.objects.filter(pk=event.vm_id, run_mode__isnull=False, halted=False, suspended=False)
    return running.exclude(status=VmStatus.PAUSED).exists()
