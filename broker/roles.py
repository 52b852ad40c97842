"""What can be allowed, and the built-in bundles of it: pure data. Custom roles are rows made of the same actions."""

from django.utils.translation import gettext_lazy as _

# The same codenames exist on every protected model, so that a right on a data center reaches all below it.
ACTIONS = (
    ("use_pool", _("See a pool, take a desktop from it and use it")),
    (
        "lead_shifts",
        _("Plan shifts, see who waits and who has which desktop, return desktops of others, mark faulty ones"),
    ),
    ("view_inventory", _("See objects in the Administration Portal")),
    ("create_pool", _("Create pools")),
    ("edit_pool", _("Edit pools, add VMs to them and detach VMs from them")),
    ("remove_pool", _("Remove pools")),
    ("operate_vm", _("Start, stop, open and return virtual machines")),
    ("watch_desktops", _("Look at desktops that others use; they see that somebody does, and who")),
    ("create_vm", _("Create virtual machines")),
    ("edit_vm", _("Edit and rebuild virtual machines")),
    ("remove_vm", _("Remove virtual machines")),
    ("manage_data_centers", _("Manage data centers")),
    ("manage_clusters", _("Manage clusters")),
    ("manage_hosts", _("Manage hosts")),
    ("manage_storage", _("Manage storage")),
    ("manage_templates", _("Manage templates, and publish virtual machines as template versions")),
    ("assign_users", _("Give and take roles that only allow using pools")),
    ("manage_permissions", _("Give and take roles that allow no more than one's own")),
    ("manage_roles", _("Compose roles")),
    ("manage_users", _("Manage users and groups")),
    ("change_settings", _("Change settings")),
)

# What makes a person a user of pools, and nothing more. A role of anything else is an administrator role.
OF_USERS = frozenset({"use_pool"})

SUPERUSER = "SuperUser"
EVERYTHING = frozenset(code for code, _label in ACTIONS)
# To run machines takes no look at what people write on them: no role but that of those who may do everything
# comes with it, and whoever helps others at their desktops is given it on purpose.
OF_WATCHERS = frozenset({"watch_desktops"})
# These reach beyond any object: they mean something on the system as a whole only.
OF_SYSTEM = frozenset({"manage_roles", "manage_users", "change_settings"})
OF_POOLS = frozenset({"use_pool", "view_inventory", "create_pool", "edit_pool", "remove_pool", "operate_vm"})
OF_CLUSTERS = OF_POOLS | {
    "lead_shifts",
    "create_vm",
    "edit_vm",
    "remove_vm",
    "manage_clusters",
    "manage_hosts",
    "assign_users",
    "manage_permissions",
}

ROLES: dict[str, frozenset[str]] = {
    SUPERUSER: EVERYTHING,  # R131
    "DataCenterAdmin": EVERYTHING - OF_SYSTEM - OF_WATCHERS - {"manage_storage"},  # R133
    "ClusterAdmin": OF_CLUSTERS,  # R134, R135
    "VmPoolAdmin": OF_POOLS | {"assign_users"},  # R136 to R141
    "HelpDeskLead": frozenset({"use_pool", "lead_shifts"}),
    "UserRole": frozenset({"use_pool"}),
    "ReadOnlyAdmin": frozenset({"view_inventory"}),
}

DESCRIPTIONS = {
    SUPERUSER: _("Manages every aspect of the system."),
    "DataCenterAdmin": _("Manages a data center with everything in it, except its storage."),
    "ClusterAdmin": _("Manages a cluster: its hosts, pools and virtual machines."),
    "VmPoolAdmin": _("Creates, edits and removes pools, and assigns their users."),
    "HelpDeskLead": _("Plans and leads the shifts of a pool, and may return the desktops of others."),
    "UserRole": _("Takes desktops and uses them."),
    "ReadOnlyAdmin": _("Sees everything and changes nothing."),
}


def is_administrative(actions: frozenset[str]) -> bool:
    """Whether a role of these actions is more than a user's."""
    return not actions <= OF_USERS
