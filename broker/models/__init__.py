"""What is: rows, constraints and the querysets that read as English."""

from broker.models.allocations import Allocation
from broker.models.base import write_all
from broker.models.certificates import Certificate
from broker.models.config import Setting
from broker.models.console_sessions import ConsoleSession
from broker.models.consoles import ConsoleOptions, ConsoleTicket
from broker.models.counts import attach_counts, unplaced, with_counts
from broker.models.desktops import UNASSIGNED, DesktopRequest, recent, verdicts
from broker.models.directory import DirectoryEntry
from broker.models.events import Event
from broker.models.hosts import Cluster, DataCenter, Host
from broker.models.jobs import Job, JobItem, with_progress
from broker.models.leases import Lease
from broker.models.machines import MachineSettings
from broker.models.permissions import Role, RoleAssignment
from broker.models.pools import Line, Pool
from broker.models.shifts import (
    HandoverPoint,
    Shift,
    ShiftAttendance,
    ShiftDuty,
    ShiftHandover,
    ShiftMember,
    ShiftOccurrence,
    ShiftPlan,
)
from broker.models.storage import StoragePool, StoragePoolOnHost, Volume
from broker.models.templates import Template, TemplateVersion
from broker.models.turns import Turn
from broker.models.vms import Nic, VirtualMachine

__all__ = [
    "UNASSIGNED",
    "Allocation",
    "Certificate",
    "Cluster",
    "ConsoleOptions",
    "ConsoleSession",
    "ConsoleTicket",
    "DataCenter",
    "DesktopRequest",
    "DirectoryEntry",
    "Event",
    "HandoverPoint",
    "Host",
    "Job",
    "JobItem",
    "Lease",
    "Line",
    "MachineSettings",
    "Nic",
    "Pool",
    "Role",
    "RoleAssignment",
    "Setting",
    "Shift",
    "ShiftAttendance",
    "ShiftDuty",
    "ShiftHandover",
    "ShiftMember",
    "ShiftOccurrence",
    "ShiftPlan",
    "StoragePool",
    "StoragePoolOnHost",
    "Template",
    "TemplateVersion",
    "Turn",
    "VirtualMachine",
    "Volume",
    "attach_counts",
    "recent",
    "unplaced",
    "verdicts",
    "with_counts",
    "with_progress",
    "write_all",
]
