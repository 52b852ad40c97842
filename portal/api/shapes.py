"""What several kinds of rows have in common when they go in or out."""

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from broker import access
from broker.errors import Invalid
from broker.models import Host, MachineSettings, Template, TemplateVersion
from broker.rules.machines import MAX_DOWNTIME_MS, MEMORY_MIB, VCPUS
from portal.api.values import Body, Change

SEE = "view_inventory"
FITS = 2**31


def whole(low: int, high: int = FITS - 1, *, fits: int = FITS) -> Any:
    """A whole number from `low` to `high`, as the operation will say; here it must only fit into a column."""
    range_said = {"minimum": low, "maximum": high}
    return Annotated[int, Field(strict=True, ge=-fits, le=fits - 1, json_schema_extra=range_said)]


Natural = whole(0)
Positive = whole(1)
Memory = whole(*MEMORY_MIB)
Processors = whole(*VCPUS, fits=2**15)
Name = Annotated[str, Field(max_length=1000)]
Words = Annotated[str, Field(max_length=10_000)]
Latest = Annotated[int, Field(strict=True, ge=1)] | Literal["latest"]
Choice = Literal["inherit", "on", "off"]
ColorDepth = Literal["none", "16", "32"]
Effect = Literal["animation", "wallpaper", "font-smooth", "all"]
Effects = Annotated[list[Effect], Field(max_length=16)]
Policy = Literal["legacy", "minimal_downtime", "suspend_workload"]


def word_of(*words: str) -> Any:
    """A part of an address that only these words make sense in: any other leads nowhere, and is no wrong value."""
    return Annotated[str, WithJsonSchema({"type": "string", "enum": list(words)})]


class Named(Schema):
    id: UUID
    name: str


class IdOut(Schema):
    id: UUID


class Numa(Schema):
    """Virtual NUMA nodes; `pinning` names for each of them the host's nodes it is pinned to."""

    node_count: int
    tune_mode: str
    pinning: list[list[int]]


class NumaIn(BaseModel):
    """The same as it is given: an object and nothing that merely has such attributes."""

    model_config = ConfigDict(extra="forbid")

    node_count: Natural = 0
    tune_mode: Literal["strict", "preferred", "interleave"] = "interleave"
    pinning: list[list[Annotated[int, Field(strict=True, ge=0, le=1023)]]] = Field([], max_length=512)


class MachineOut(Schema):
    """MachineSettings as they go out."""

    description: str
    comment: str
    operating_system: str
    optimized_for: str
    memory_mib: int
    vcpus: int
    delete_protection: bool
    clipboard: bool
    file_transfer: bool
    smartcard: bool
    usb_filter: str
    fullscreen: bool
    remap_ctrl_alt_del: bool
    usb_autoshare: bool
    color_depth: str
    disabled_effects: list[str]
    start_running_on: str
    hosts: list[UUID]
    migration_mode: str
    migration_policy: str | None
    migration_downtime_ms: int | None
    auto_converge: str
    migrate_compressed: str
    host_cpu_passthrough: bool
    numa: Numa


class MachineIn(Body):
    """MachineSettings as they are given for something new; what is absent or null comes from the template."""

    description: Words | None = None
    comment: Words | None = None
    operating_system: str | None = Field(None, max_length=100)
    optimized_for: Literal["desktop", "server"] | None = None
    memory_mib: Memory | None = None
    vcpus: Processors | None = None
    delete_protection: StrictBool | None = None
    clipboard: StrictBool | None = None
    file_transfer: StrictBool | None = None
    smartcard: StrictBool | None = None
    usb_filter: str | None = Field(
        None, max_length=2000, description="class,vendor,product,version,allow joined by |"
    )
    fullscreen: StrictBool | None = None
    remap_ctrl_alt_del: StrictBool | None = None
    usb_autoshare: StrictBool | None = None
    color_depth: ColorDepth | None = None
    disabled_effects: Effects | None = None
    start_running_on: Literal["any", "specific"] | None = None
    hosts: list[UUID] | None = Field(None, max_length=1000)
    migration_mode: Literal["allow", "manual_only", "never"] | None = None
    migration_policy: Policy | None = None
    migration_downtime_ms: whole(0, MAX_DOWNTIME_MS, fits=2**63) | None = None
    auto_converge: Choice | None = None
    migrate_compressed: Choice | None = None
    host_cpu_passthrough: StrictBool | None = None
    numa: NumaIn | None = None


# What may be null in a change: null is a value of its own there.
NULLABLE = frozenset({"migration_policy", "migration_downtime_ms"})


class MachineChange(Change, MachineIn):
    """MachineSettings as they are changed."""

    MAY_BE_NULL = NULLABLE


def settings_given(request: HttpRequest, values: Body, *, without: set[str]) -> dict[str, Any]:
    """The settings of a body by the names of the model; Invalid for a null where there is none, or an unseen host."""
    given = values.model_dump(exclude_unset=True, exclude={*without, "numa", "hosts"})
    numa = getattr(values, "numa", None)
    if numa is not None:
        given |= {
            "numa_node_count": numa.node_count,
            "numa_tune_mode": numa.tune_mode,
            "numa_pinning": numa.pinning,
        }
    chosen = getattr(values, "hosts", None)
    if chosen is not None:
        given["hosts"] = [referred(request, Host, pk, "hosts") for pk in dict.fromkeys(chosen)]
    return given


def require_values(changes: dict[str, Any], nullable: frozenset[str] = NULLABLE) -> None:
    """Invalid for a change to null where null is no value."""
    empty = [name for name, value in changes.items() if value is None and name not in nullable]
    if empty:
        raise Invalid.fields([(name, _("This may not be null.")) for name in empty])


def settings_shown(row: MachineSettings) -> dict[str, Any]:
    """MachineSettings of a row whose hosts were prefetched."""
    names = [name for name in MachineSettings.SETTINGS if not name.startswith("numa_")]
    return {name: getattr(row, name) for name in names} | {
        "hosts": [host.pk for host in row.hosts.all()],
        "numa": {
            "node_count": row.numa_node_count,
            "tune_mode": row.numa_tune_mode,
            "pinning": row.numa_pinning,
        },
    }


def referred(request: HttpRequest, model: Any, pk: UUID | None, field: str, action: str = SEE) -> Any:
    """A row that the body names: not seeing it is a wrong value, not a wrong address."""
    row = access.visible(request.user, model, action).filter(pk=pk).first() if pk else None
    if row is None:
        text = _("There is no such %(kind)s.") if pk else _("Say which %(kind)s.")
        raise Invalid(text % {"kind": model._meta.verbose_name}, field=field)
    return row


def version_of(template: Template, number: int | str) -> TemplateVersion | None:
    """The version a body names; null for the latest."""
    if number == "latest":
        return None
    version = template.versions.filter(number=number).first()
    if version is None:
        raise Invalid(_("The template has no version %(n)s.") % {"n": number}, field="template_version")
    return version


def named(row: Any) -> dict[str, Any] | None:
    return None if row is None else {"id": row.pk, "name": row.name}
