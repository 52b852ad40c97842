"""What happens to the domains of one host, as it happens: for a process that does nothing else."""

import contextlib
import queue
from collections.abc import Callable
from typing import Any
from uuid import UUID

import libvirt

from broker.drivers.hypervisor import connection, fake_fleet
from broker.drivers.hypervisor.connection import translation
from broker.drivers.hypervisor.interface import DomainEvent, EventKind, HostUnreachable

LOOK_SECONDS = 0.5

LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: "pmsuspended",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}
GRAPHICS = {
    libvirt.VIR_DOMAIN_EVENT_GRAPHICS_CONNECT: "connected",
    libvirt.VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE: "initialized",
    libvirt.VIR_DOMAIN_EVENT_GRAPHICS_DISCONNECT: "disconnected",
}
AGENT = {
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED: "connected",
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED: "disconnected",
}
CLOSED = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "an error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "the daemon ended",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "the daemon does not answer",
}

# Callbacks run on the event loop's thread, which also keeps the connection alive: they only put into this
# queue. A text instead of an event says why the connection is closed.
Inbox = queue.SimpleQueue[DomainEvent | str]


def watch(
    uri: str,
    *,
    on_connected: Callable[[], None],
    on_event: Callable[[DomainEvent], None],
    keep_going: Callable[[], bool],
    installation: str,
) -> None:
    """Call `on_event`, in this thread, for each event of any domain until `keep_going` says no.

    HostUnreachable as soon as the connection is lost. `on_connected` is called once nothing can be missed any
    more. Domains of others are passed on too, and the receiver knows which ids are its own: to see whose a
    domain is would cost a call for each event. `installation` is for drivers that can choose at the source.
    """
    if uri.startswith("fake:"):
        fake_fleet.watch(uri, on_connected=on_connected, on_event=on_event, keep_going=keep_going)
        return
    host = connection.open_own(uri)
    try:
        inbox = Inbox()
        _register(host, inbox)
        on_connected()
        while keep_going():
            try:
                event = inbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                if not connection.is_alive(host):
                    raise HostUnreachable("The connection is lost.") from None
                continue
            if isinstance(event, str):
                raise HostUnreachable(f"The connection is lost: {event}.")
            on_event(event)
    except libvirt.libvirtError as error:
        raise translation(uri, error) from error
    finally:
        _close(host)


def _register(host: libvirt.virConnect, inbox: Inbox) -> None:
    """Fill the inbox with what libvirt tells."""

    def put(kind: EventKind, domain: libvirt.virDomain, detail: str) -> None:
        inbox.put(DomainEvent(kind, UUID(domain.UUIDString()), detail))

    def lifecycle(_host: Any, domain: Any, event: int, _detail: int, _opaque: None) -> None:
        put(EventKind.LIFECYCLE, domain, LIFECYCLE.get(event, str(event)))

    def reboot(_host: Any, domain: Any, _opaque: None) -> None:
        put(EventKind.LIFECYCLE, domain, "rebooted")

    def agent(_host: Any, domain: Any, state: int, _reason: int, _opaque: None) -> None:
        put(EventKind.AGENT, domain, AGENT.get(state, str(state)))

    def graphics(_host: Any, domain: Any, phase: int, *_rest: Any) -> None:
        put(EventKind.GRAPHICS, domain, GRAPHICS.get(phase, str(phase)))

    def closed(_host: Any, reason: int, _opaque: None) -> None:
        inbox.put(CLOSED.get(reason, "somebody closed it"))

    host.registerCloseCallback(closed, None)
    host.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
    host.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot, None)
    host.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS, graphics, None)
    host.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, agent, None)


def _close(host: libvirt.virConnect) -> None:
    with contextlib.suppress(libvirt.libvirtError):  # it may be lost already
        host.unregisterCloseCallback()
        host.close()
