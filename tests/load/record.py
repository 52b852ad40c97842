"""What was promised and what was done, as plain values that a checker can read and a test can plant faults in."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Wish:
    """A request for a desktop, as its row is now. `permitted`: its user may use the pool now."""

    id: UUID
    pool: UUID | None
    user: int
    name: str
    ticket: int
    slot: int
    state: str
    end_reason: str | None
    vm: UUID | None
    allocation: UUID | None
    certificate: UUID | None
    requested_at: datetime
    assigned_at: datetime | None
    ready_at: datetime | None
    returned_at: datetime | None
    ended_at: datetime | None
    permitted: bool


@dataclass(frozen=True)
class Machine:
    """A VM, as its row is now. `offered`: whoever is next in line would get it, if a host has room."""

    id: UUID
    name: str
    pool: UUID | None
    host: UUID | None
    hold: str | None
    run_mode: str | None
    run_number: int
    memory_mib: int
    ready: bool
    offered: bool
    files: frozenset[str]


@dataclass(frozen=True)
class Layer:
    """A certificate: what one run wrote on, and when that was made and destroyed."""

    id: UUID
    vm: UUID | None
    vm_name: str
    run_number: int
    file: str
    made_at: datetime
    before: str
    before_destroyed_at: datetime | None
    destroyed_at: datetime | None


@dataclass(frozen=True)
class Told:
    """A line of the events. `name`: of what was found."""

    at: datetime
    kind: str
    request: UUID | None
    vm: UUID | None
    pool: UUID | None
    name: str = ""


@dataclass(frozen=True)
class Line:
    """A pool. `most_per_user`: the most that its limit ever was."""

    id: UUID
    name: str
    prestarted_vms: int
    most_per_user: int


@dataclass(frozen=True)
class Machinery:
    """A host: what it may reserve, what was reserved and used, which runs are on, and which files there are.

    `most_used_mib` is null where nobody kept it.
    """

    id: UUID
    name: str
    usable_mib: int
    running: dict[UUID, int]
    files: frozenset[str]
    most_used_mib: int | None = None


@dataclass(frozen=True)
class Answer:
    """What somebody asked for, and was told.

    `key`: the Idempotency-Key; `subject`: whose right was given or taken; `refusal`: the code of a no; `met`: what
    others had written in the guest.
    """

    asked_at: datetime
    told_at: datetime
    person: str
    verb: str
    pool: str
    request: UUID | None = None
    key: str | None = None
    subject: str | None = None
    refusal: str | None = None
    met: tuple[str, ...] = ()

    def __str__(self) -> str:
        outcome = self.refusal or (self.request and f"request {self.request}") or "done"
        what = f"{self.verb} {self.pool}" + (f" for {self.subject}" if self.subject else "")
        return f"{self.asked_at:%H:%M:%S.%f} {self.person} {what}: {outcome}"


@dataclass
class Record:
    """Everything, once all is quiet."""

    wishes: list[Wish] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    events: list[Told] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    hosts: list[Machinery] = field(default_factory=list)
    macs: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    volumes: frozenset[str] = frozenset()
