"""Clusters: create, change, remove; what they choose for migration and consoles holds for VMs that choose nothing."""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from broker import grants
from broker.errors import Conflict, Invalid
from broker.models import Cluster, DataCenter
from broker.operations import edits
from broker.rules.consoles import proxy_problem


@transaction.atomic
def create(*, data_center: DataCenter, name: str, by: Any = None, **more: Any) -> Cluster:
    """Hosts among which VMs may move. `more`: words, proxy, plain displays, migration choices."""
    edits.require_name(name, Cluster.objects.filter(data_center=data_center))
    _require_proxy(more.get("spice_proxy", ""))
    cluster = Cluster.objects.create(data_center=data_center, name=name, **more)
    edits.record("created", cluster, by=by)
    return cluster


def _require_proxy(address: str) -> None:
    problem = proxy_problem(address) if address else None
    if problem:
        raise Invalid(problem, field="spice_proxy")


def _require_certificates(cluster: Cluster) -> None:
    """Nothing could be opened on a host without one."""
    names = ", ".join(cluster.hosts.filter(spice_subject="").order_by("name").values_list("name", flat=True)[:10])
    if names:
        text = _("%(names)s cannot encrypt displays yet: `manage.py certificates` makes what is missing.")
        raise Conflict(text % {"names": names}, field="allow_plain_spice", code="NO_CERTIFICATE")


@transaction.atomic
def change(
    *, cluster: Cluster, changes: dict[str, Any], expected: dict[str, Any] | None = None, by: Any = None
) -> None:
    """Change its name, words and choices; running VMs follow at their next start."""
    cluster = edits.lock(cluster)
    if changes.get("name", cluster.name) != cluster.name:
        others = Cluster.objects.filter(data_center=cluster.data_center_id).exclude(pk=cluster.pk)
        edits.require_name(changes["name"], others)
    _require_proxy(changes.get("spice_proxy", ""))
    if cluster.allow_plain_spice and not changes.get("allow_plain_spice", True):
        _require_certificates(cluster)
    changed = edits.apply(cluster, changes, expected=expected)
    if changed:
        edits.record("changed", cluster, by=by, fields=", ".join(changed))


@transaction.atomic
def remove(*, cluster: Cluster, by: Any) -> None:
    """Remove an empty cluster; Conflict naming what it still holds."""
    cluster = edits.lock(cluster)
    if cluster.pools.exists():
        names = ", ".join(cluster.pools.order_by("name").values_list("name", flat=True)[:10])
        text = _("One or more VM-Pools are still associated with it: %(names)s.")
        raise Conflict(text % {"names": names}, code="IN_USE")
    held = [*cluster.hosts.order_by("name")[:10], *cluster.vms.order_by("name")[:10]]
    if held:
        text = _("%(name)s still holds %(names)s.")
        raise Conflict(text % {"name": cluster, "names": ", ".join(map(str, held))}, code="IN_USE")
    edits.record("removed", cluster, by=by)
    grants.forget(cluster)
    cluster.delete()
