"""One host over libvirt: domains. What it does with storage is in `libvirt_storage`."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt
import libvirt_qemu

from broker.drivers.hypervisor import (
    acceleration,
    capabilities,
    connection,
    domain_xml,
    guest_messages,
    pressure,
    vnc_viewers,
)
from broker.drivers.hypervisor.connection import translated
from broker.drivers.hypervisor.domain_xml import ParsedDomain
from broker.drivers.hypervisor.interface import (
    AccelerationVerdict,
    AnotherRun,
    DomainFacts,
    DomainMissing,
    DomainState,
    HostFacts,
    HostUsage,
    HypervisorError,
    NotOurDomain,
    VmSpec,
)
from broker.drivers.hypervisor.libvirt_images import LibvirtImages

AGENT_SECONDS = 2
VNC_SECONDS = 10  # a password of our own, to take the place of whoever looks
STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainState.OFF,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.CRASHED,
}
# An emulator that died is reported as shut off, with its reason.
CRASHES = {libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON}
FORGET_ALL = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


class LibvirtHypervisor(LibvirtImages):
    """One host, by its libvirt URI."""

    @translated
    def facts(self) -> HostFacts:
        """What the host is and has."""
        host = self._host
        # getInfo() counts the memory of the first NUMA node only.
        memory = host.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        capable = host.getCapabilities()
        sockets, cores = capabilities.sockets_and_cores(capable)
        return HostFacts(
            hostname=host.getHostname(),
            memory_mib=memory["total"] // 1024,
            cpu_threads=host.getInfo()[2],
            libvirt_version=_version(host.getLibVersion()),
            qemu_version=_version(host.getVersion()),
            kvm_offered=capabilities.kvm_offered(capable),
            cpu_model=capabilities.cpu_model(capable),
            cpu_sockets=sockets,
            cpu_cores=cores,
            numa_nodes=capabilities.numa_nodes(capable),
        )

    @translated
    def usage(self) -> HostUsage:
        """How much of its memory and of its processors' time is used."""
        host = self._host
        memory = host.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        spare = sum(memory.get(kind, 0) for kind in ("free", "buffers", "cached"))
        times = host.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
        total = sum(times.values())
        return HostUsage(
            memory_used_mib=max(memory["total"] - spare, 0) // 1024,
            cpu_busy_ns=total - times.get("idle", 0) - times.get("iowait", 0),
            cpu_total_ns=total,
            cpu_waiting_ns=times.get("iowait", 0),
            stalled_percent=pressure.stalled_percent(self.uri),
        )

    @translated
    def domains(self, installation: str) -> list[DomainFacts]:
        """All domains that carry the mark of this installation."""
        found = []
        for domain in self._host.listAllDomains(0):
            try:
                parsed, state = _read(domain)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                continue  # gone since it was listed
            if _is_ours(domain, parsed, installation):
                found.append(_facts(domain, parsed, state))
        return found

    @translated
    def domain(self, vm_id: UUID, installation: str) -> DomainFacts | None:
        """The domain of one VM; null when it is not defined."""
        domain = self._find(vm_id, installation)
        return None if domain is None else _facts(domain, *_read(domain))

    @translated
    def define(self, spec: VmSpec) -> None:
        """Define the domain, or replace its inactive definition."""
        self._find(spec.id, spec.installation)
        self._refuse_name_of_another(spec)
        console_log, config_drive = spec.console_log, spec.config_drive
        self._host.defineXML(
            domain_xml.domain(
                spec,
                disk_path=self.path(spec.disk),
                console_log_path=None if console_log is None else self.path(console_log),
                config_drive_path=None if config_drive is None else self.path(config_drive),
                # At rest too: somebody may start it by hand.
                password=secrets.token_urlsafe(32),
            )
        )

    @translated
    def start(self, spec: VmSpec) -> DomainFacts:
        """Define and start; the facts of the running domain if this very run is on already."""
        facts = self.domain(spec.id, spec.installation)
        if facts is None or facts.domain_id is None:
            self.define(spec)
            domain = self._require(spec.id, spec.installation)
            try:
                # A saved state belongs to an earlier run: never resume it.
                domain.createWithFlags(libvirt.VIR_DOMAIN_START_FORCE_BOOT)
            except libvirt.libvirtError:
                if not domain.isActive():  # else somebody was faster, and the run number says who
                    raise
            facts = _facts(domain, *_read(domain))
        if facts.run != spec.run:
            raise HypervisorError(f"{spec.name} is on already, with run {facts.run} instead of {spec.run}.")
        return facts

    @translated
    def undefine(self, vm_id: UUID, installation: str) -> None:
        """Forget the domain and all that libvirt keeps of it; no error when it is not there."""
        domain = self._find(vm_id, installation)
        if domain is None:
            return
        if domain.isActive():
            raise HypervisorError(f"{domain.name()} is on and cannot be undefined.")
        try:
            domain.undefineFlags(FORGET_ALL)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise

    @translated
    def shutdown(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Ask the guest to shut down; no error when it is off or not defined."""
        domain = self._find(vm_id, installation, run)
        if domain is None:
            return
        try:
            # Without flags libvirt asks the agent where it is connected, and else presses the power button.
            domain.shutdownFlags(0)
        except libvirt.libvirtError:
            if _is_active(domain):
                raise

    @translated
    def reboot(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Ask the guest to reboot; reset it where it cannot be asked."""
        domain = self._require(vm_id, installation, run)
        try:
            domain.reboot(0)
        except libvirt.libvirtError:
            domain.reset(0)

    @translated
    def destroy(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Turn it off at once; no error when it is off or not defined."""
        domain = self._find(vm_id, installation, run)
        if domain is None:
            return
        try:
            domain.destroy()
        except libvirt.libvirtError:
            if _is_active(domain):
                raise

    @translated
    def suspend(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Pause it in the host's memory; no error when it is paused already."""
        domain = self._require(vm_id, installation, run)
        if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            domain.suspend()

    @translated
    def resume(self, vm_id: UUID, installation: str, *, run: int | None = None) -> None:
        """Let it go on; no error when it runs already."""
        domain = self._require(vm_id, installation, run)
        if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            domain.resume()

    @translated
    def processor_times(self, installation: str) -> dict[UUID, int]:
        """Nanoseconds that the processors of each domain that is on have run since it was started."""
        stats = self._host.getAllDomainStats(
            libvirt.VIR_DOMAIN_STATS_CPU_TOTAL, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
        )
        return {UUID(domain.UUIDString()): found["cpu.time"] for domain, found in stats if "cpu.time" in found}

    @translated
    def viewers(self, vm_id: UUID, installation: str, *, run: int | None = None) -> int:
        """How many viewers the display has now; 0 for a domain that is off or not defined."""
        domain = self._find(vm_id, installation, run)
        if domain is None or not domain.isActive():
            return 0
        if domain_xml.vnc_address(domain.XMLDesc(0)) is not None:
            return len(_ask_qemu(domain, "query-vnc").get("clients", ()))
        channels = _ask_qemu(domain, "query-spice").get("channels", ())
        # One viewer opens several channels under one number.
        return len({channel["connection-id"] for channel in channels})

    @translated
    def tell(self, vm_id: UUID, installation: str, text: str, *, run: int | None = None) -> None:
        """Show a message to whoever sits at the guest, through its agent; HypervisorError where it cannot."""
        domain = self._require(vm_id, installation, run)
        if not _read(domain)[0].agent_connected:
            raise HypervisorError(f"{domain.name()} has no guest agent.")
        system = guest_messages.system_of(self._ask_agent(domain, guest_messages.WHICH_SYSTEM))
        self._ask_agent(domain, guest_messages.command(system, text))

    def _ask_agent(self, domain: libvirt.virDomain, command: str) -> str:
        # The time limit of a command does not hold for the greeting that libvirt sends the agent before it.
        domain.agentSetResponseTimeout(AGENT_SECONDS)
        return str(libvirt_qemu.qemuAgentCommand(domain, command, AGENT_SECONDS, 0))

    @translated
    def guest_agent_answers(self, vm_id: UUID, installation: str) -> bool:
        """Whether the agent in the guest answers a ping within two seconds; False when it is off."""
        domain = self._find(vm_id, installation)
        # libvirt knows whether the agent has its channel open: no need to wait where nobody listens.
        if domain is None or not _read(domain)[0].agent_connected:
            return False
        try:
            self._ask_agent(domain, '{"execute": "guest-ping"}')
        except libvirt.libvirtError as error:
            if error.get_error_domain() in connection.LOST_DOMAINS:
                raise
            return False
        return True

    @translated
    def set_ticket(
        self,
        vm_id: UUID,
        installation: str,
        *,
        password: str,
        valid_seconds: int,
        disconnect: bool,
        run: int | None = None,
    ) -> None:
        """Make `password` the display's only ticket for so many seconds; 0 is already past."""
        domain = self._require(vm_id, installation, run)
        until = datetime.now(UTC) + timedelta(seconds=valid_seconds) if valid_seconds else domain_xml.LONG_AGO
        live = domain.XMLDesc(0)
        if domain_xml.parse(live).domain_id is None:
            raise HypervisorError(f"{domain.name()} is off: it has no display.")
        vnc = domain_xml.vnc_address(live)
        if disconnect and vnc is not None:
            passing = secrets.token_hex(4)
            soon = datetime.now(UTC) + timedelta(seconds=VNC_SECONDS)
            self._update_ticket(domain, live, passing, soon, disconnect=False)
            vnc_viewers.throw_out(*vnc, passing)
        self._update_ticket(domain, live, password, until, disconnect=disconnect)

    def _update_ticket(
        self, domain: libvirt.virDomain, live: str, password: str, until: datetime, *, disconnect: bool
    ) -> None:
        device = domain_xml.ticket(live, password=password, valid_until=until, disconnect=disconnect)
        try:
            domain.updateDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            failure = connection.translation(self.uri, error)
            # Its text could quote the document with the password: only the cleaned one is passed on.
            raise type(failure)(str(failure).replace(password, "…")) from None

    def probe_acceleration(
        self, image: Path | None, storage_pool: str, seconds: int, *, look_at_modules: bool = True
    ) -> AccelerationVerdict:
        """Find out whether KVM really runs guests; `look_at_modules=False` makes only a real boot count."""
        return acceleration.probe(self, image, storage_pool, seconds, look_at_modules=look_at_modules)

    def _find(self, vm_id: UUID, installation: str, run: int | None = None) -> libvirt.virDomain | None:
        """The domain of this UUID, which must be ours, and if it is on then with this run."""
        try:
            domain = self._host.lookupByUUIDString(str(vm_id))
            parsed = domain_xml.parse(domain.XMLDesc(0))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            return None
        if not _is_ours(domain, parsed, installation):
            raise NotOurDomain(f"{domain.name()} ({vm_id}) does not carry the mark of {installation}.")
        if run is not None and parsed.domain_id is not None and parsed.mark is not None and parsed.mark.run != run:
            raise AnotherRun(f"{domain.name()} is on with run {parsed.mark.run} instead of {run}.")
        return domain

    def _require(self, vm_id: UUID, installation: str, run: int | None = None) -> libvirt.virDomain:
        domain = self._find(vm_id, installation, run)
        if domain is None:
            raise DomainMissing(f"{vm_id} is not defined on this host.")
        return domain

    def _refuse_name_of_another(self, spec: VmSpec) -> None:
        try:
            other = self._host.lookupByName(spec.name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            return
        if other.UUIDString() != str(spec.id):
            raise NotOurDomain(f"The name {spec.name} belongs to another domain ({other.UUIDString()}).")


def _read(domain: libvirt.virDomain) -> tuple[ParsedDomain, DomainState]:
    """The domain's XML and state, which two calls tell: they may disagree while it starts or stops."""
    for _attempt in range(3):
        parsed = domain_xml.parse(domain.XMLDesc(0))
        state, reason = domain.state()
        if (parsed.domain_id is None) == (state == libvirt.VIR_DOMAIN_SHUTOFF):
            break
    # A daemon that was started anew does not know how a run ended: certainly not by a shutdown that it saw.
    forgotten = reason == libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN and parsed.mark is not None and parsed.mark.run
    if state == libvirt.VIR_DOMAIN_SHUTOFF and (reason in CRASHES or forgotten):
        return parsed, DomainState.CRASHED
    return parsed, STATES[state]


def _ask_qemu(domain: libvirt.virDomain, question: str) -> Any:
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps({"execute": question}), 0))
    return answer.get("return", {})


def _facts(domain: libvirt.virDomain, parsed: ParsedDomain, state: DomainState) -> DomainFacts:
    return DomainFacts(
        vm_id=UUID(domain.UUIDString()),
        name=parsed.name,
        run=0 if parsed.mark is None else parsed.mark.run,
        state=state,
        domain_id=parsed.domain_id,
        display_port=parsed.display_port,
        display_tls_port=parsed.display_tls_port,
    )


def _is_ours(domain: libvirt.virDomain, parsed: ParsedDomain, installation: str) -> bool:
    # The id too: a copy somebody made of our domain is not ours.
    mark = parsed.mark
    return mark is not None and (mark.installation, mark.vm_id) == (installation, domain.UUIDString())


def _is_active(domain: libvirt.virDomain) -> bool:
    try:
        return bool(domain.isActive())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
