"""What can be allowed, and the built-in bundles of it: pure data."""

from django.utils.translation import gettext_lazy as _

# The same codenames exist on every protected model, so that a right on a data center reaches all below it.
ACTIONS = (
    ("use_pool", _("See a pool, take a desktop from it and use it")),
    ("view_inventory", _("See it in the Administration Portal")),
    ("create_pool", _("Create pools")),
    ("edit_pool", _("Edit pools, add VMs to them and detach VMs from them")),
    ("remove_pool", _("Remove pools")),
    ("operate_vm", _("Start, stop, open and return virtual machines")),
    ("create_vm", _("Create virtual machines")),
    ("edit_vm", _("Edit and rebuild virtual machines")),
    ("remove_vm", _("Remove virtual machines")),
    ("manage_data_centers", _("Manage data centers")),
    ("manage_clusters", _("Manage clusters")),
    ("manage_hosts", _("Manage hosts")),
    ("manage_storage", _("Manage storage")),
    ("manage_templates", _("Manage templates, and publish virtual machines as template versions")),
    ("manage_permissions", _("Manage permissions")),
    ("manage_users", _("Manage users and groups")),
    ("change_settings", _("Change settings")),
)

ROLES: dict[str, frozenset[str]] = {
    "SuperUser": frozenset(code for code, _label in ACTIONS),
    "UserRole": frozenset({"use_pool"}),
}
