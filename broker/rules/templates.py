"""What can become a template: which images, with which settings."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from broker.drivers.hypervisor import ImageFacts
from broker.rules.consoles import rdp_address_problem
from broker.rules.machines import MEMORY_MIB, VCPUS, Problem
from broker.states import ReadyWhen

FORMATS = ("qcow2", "raw")
GIB = 1024**3
START_TIMEOUT_SECONDS = (5, 3600)


@dataclass(frozen=True)
class Source:
    """Where an image comes from. A path is read by the host; a VM's own disk may stand on its template."""

    path: str
    may_have_backing: bool


def settings_problems(values: dict[str, Any]) -> list[Problem]:
    """Everything that is wrong with the standard settings of a version, as (field, sentence)."""
    found = []
    ranges = {
        "memory_mib": MEMORY_MIB,
        "vcpus": VCPUS,
        "ready_delay_seconds": (0, 3600),
        "start_timeout_seconds": START_TIMEOUT_SECONDS,
    }
    for field, (low, high) in ranges.items():
        if not low <= values[field] <= high:
            text = _("This must be a whole number from %(low)s to %(high)s.")
            found.append((field, text % {"low": low, "high": high}))
    problem = rdp_address_problem(values["rdp_address"])
    if problem:
        found.append(("rdp_address", problem))
    if values["ready_when"] == ReadyWhen.SERIAL and not values["ready_text"]:
        found.append(("ready_text", _("Give the text that appears on the serial console when the guest is ready.")))
    return found


def path_problem(path: str) -> str | None:
    """Why this cannot be the path of an image on a host."""
    if not path.startswith("/") or "/../" in f"{path}/" or path.endswith("/") or any(ord(c) < 32 for c in path):
        return _("Give the whole path of a file on the host, such as /var/lib/images/desktop.qcow2.")
    return None


def image_problem(facts: ImageFacts, source: Source, *, max_gib: int, available_bytes: int) -> str | None:
    """Why an image cannot be imported, in a sentence; null when it can."""
    if facts.format not in FORMATS:
        text = _("%(path)s is %(format)s; only qcow2 and raw images can be imported.")
        return text % {"path": source.path, "format": facts.format or _("of no known format")}
    if facts.backing_path and not source.may_have_backing:
        text = _("%(path)s stands on another image (%(backing)s). Flatten it first.")
        return text % {"path": source.path, "backing": facts.backing_path}
    if facts.capacity_bytes < 1:
        return _("%(path)s holds an empty disk.") % {"path": source.path}
    if facts.capacity_bytes > max_gib * GIB:
        size = -(-facts.capacity_bytes // GIB)
        return _("The disk has %(size)s GiB; at most %(most)s GiB can be imported (MaxImageGiB).") % {
            "size": size,
            "most": max_gib,
        }
    if facts.length_bytes > available_bytes:
        return _("The image needs %(needed)s MiB and %(free)s MiB are free in the storage pool.") % {
            "needed": facts.length_bytes // 1024**2,
            "free": available_bytes // 1024**2,
        }
    return None
