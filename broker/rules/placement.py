"""On which host a VM is started, or why on none."""

from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext as _

from broker.states import HostStatus


@dataclass
class Candidate:
    """A host as placement sees it. `reserved_mib` grows as VMs are placed (I7)."""

    id: UUID
    name: str
    status: str
    status_label: str
    usable_mib: int
    reserved_mib: int

    @property
    def free_mib(self) -> int:
        return self.usable_mib - self.reserved_mib


def choose(memory_mib: int, candidates: list[Candidate], allowed: frozenset[UUID] | None = None) -> Candidate | None:
    """The usable host with most memory left; ties go by name so that the answer is always the same.

    `allowed`: the hosts it may start on; null for any (R073 to R075).
    """
    fit = [candidate for candidate in candidates if refusal(memory_mib, candidate, allowed) is None]
    return min(fit, key=lambda candidate: (-candidate.free_mib, candidate.name), default=None)


def refusal(memory_mib: int, candidate: Candidate, allowed: frozenset[UUID] | None = None) -> str | None:
    """Why the host cannot run a VM of this size, in a sentence; null when it can."""
    if allowed is not None and candidate.id not in allowed:
        return _("%(host)s: not among the hosts it may start on.") % {"host": candidate.name}
    if candidate.status != HostStatus.UP:
        return _("%(host)s: %(status)s.") % {"host": candidate.name, "status": candidate.status_label}
    if candidate.free_mib < memory_mib:
        return _("%(host)s: needs %(needed)s MiB, %(free)s MiB available.") % {
            "host": candidate.name,
            "needed": memory_mib,
            "free": max(candidate.free_mib, 0),
        }
    return None
