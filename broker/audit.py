"""What people change, field by field: django-auditlog keeps before and after of each.

Only what administrators edit is kept, not what the broker writes while it works, and no secrets.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models.signals import pre_save

from broker.models import (
    Cluster,
    DataCenter,
    Host,
    MachineSettings,
    Pool,
    Role,
    RoleAssignment,
    Shift,
    ShiftMember,
    ShiftPlan,
    StoragePool,
    Template,
    VirtualMachine,
)
from broker.orders import origin
from broker.rules.deadlines import TIME_FIELDS

MOST = 100
WORDS = ["name", "description", "comment"]
SETTINGS = list(MachineSettings.SETTINGS)
OF_POOLS = [
    *("cluster", "type", "template", "template_version", "prestarted_vms", "max_vms_per_user"),
    *("override_spice_proxy", "spice_proxy", "central_data", *TIME_FIELDS),
]
OF_CLUSTERS = [
    "data_center",
    "spice_proxy",
    "allow_plain_spice",
    "spice_ca",
    "migration_policy",
    "auto_converge",
    "migrate_compressed",
]

AUDITED: dict[Any, dict[str, Any]] = {
    DataCenter: {"include_fields": WORDS},
    Cluster: {"include_fields": WORDS + OF_CLUSTERS},
    Host: {"include_fields": [*WORDS, "cluster", "uri", "display_address", "memory_mib"]},
    StoragePool: {"include_fields": [*WORDS, "data_center", "target_path"]},
    Template: {"include_fields": [*WORDS, "data_center", "operating_system", "optimized_for"]},
    Pool: {"include_fields": ["name", *SETTINGS, *OF_POOLS], "m2m_fields": {"hosts"}},
    VirtualMachine: {"include_fields": ["name", "pool", *SETTINGS], "m2m_fields": {"hosts"}},
    ShiftPlan: {"include_fields": ["pool", "name", "time_zone", "early_minutes", "grace_minutes", "at_end"]},
    Shift: {"include_fields": ["name", "weekdays", "starts", "ends"]},
    ShiftMember: {"include_fields": ["shift", "user", "group"]},
    Role: {"include_fields": ["name", "description", "actions"]},
    RoleAssignment: {"include_fields": ["role", "user", "group", "object_id"]},
    Group: {"include_fields": ["name"]},
}
OF_PEOPLE = ["username", "first_name", "last_name", "email", "is_active"]


def watch() -> None:
    """Begin to keep changes; once, when the apps are loaded."""
    for model, fields in AUDITED.items():
        auditlog.register(model, **fields)
    auditlog.register(get_user_model(), include_fields=OF_PEOPLE, m2m_fields={"groups"})
    pre_save.connect(_sign, sender=LogEntry, dispatch_uid="broker.audit")


def _sign(instance: LogEntry, **_rest: Any) -> None:
    """Say who asked for it, and from where, as events do."""
    now = origin.get()
    if now is None:
        return
    actor = now.actor()
    instance.actor = actor if actor is not None and actor.pk else None
    instance.remote_addr = now.address
    instance.cid = str(now.order_id)


@dataclass(frozen=True)
class Change:
    """One field that was changed; what many hold, as groups, is told as words in `after`."""

    field: str
    before: str
    after: str


def changes_of(order_id: UUID, keys: set[UUID]) -> list[Change]:
    """What one request changed on the rows of these keys, field by field."""
    rows = LogEntry.objects.filter(cid=str(order_id), object_pk__in=[str(key) for key in keys])
    found = []
    for row in rows.order_by("pk")[:MOST]:
        for field, change in (row.changes or {}).items():
            if isinstance(change, dict):
                found.append(Change(field, "", f"{change.get('operation')}: {', '.join(change.get('objects', []))}"))
            else:
                found.append(Change(field, *(_word(one) for one in change)))
    return found


def _word(value: Any) -> str:
    return "" if value in (None, "None") else str(value)
