"""The kinds of objects, in the order of the side navigation. A new kind is one module here and one line below."""

from typing import Any

from django.utils.translation import gettext as _

from broker import access
from broker.errors import NotFound
from portal.manage.kinds import (
    clusters,
    data_centers,
    events,
    groups,
    hosts,
    jobs,
    lock_outs,
    pools,
    roles,
    sessions,
    settings,
    storage,
    system,
    templates,
    users,
    vms,
)
from portal.manage.resource import Resource

RESOURCES: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        system.System(),
        data_centers.DataCenters(),
        clusters.Clusters(),
        hosts.Hosts(),
        storage.Storage(),
        templates.Templates(),
        templates.TemplateVersions(),
        pools.Pools(),
        vms.VirtualMachines(),
        sessions.Sessions(),
        users.Users(),
        groups.Groups(),
        lock_outs.LockOuts(),
        roles.Roles(),
        events.Events(),
        jobs.Jobs(),
        settings.Settings(),
    )
}


def find(kind: str, user: Any) -> Resource:
    """The kind of this name; NotFound when there is none, or none for this user (I6)."""
    resource = RESOURCES.get(kind)
    if resource is None or not resource.offered(user):
        raise NotFound(_("There is nothing at this address."))
    return resource


def offered(user: Any) -> list[Resource]:
    """What the side navigation shows."""
    administers = access.administers(user)
    shown = [one for one in RESOURCES.values() if one.in_navigation]
    return [one for one in shown if (one.offered(user) if one.everywhere else administers)]
