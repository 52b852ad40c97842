"""What can be allowed, and the built-in bundles of it: pure data."""

from django.utils.translation import gettext_lazy as _

# The same codenames exist on every protected model, so that a right on a data center reaches all below it.
ACTIONS = (
    ("use_pool", _("See a pool, take a desktop from it and use it")),
    ("view_inventory", _("See it in the Administration Portal")),
    ("create_pool", _("Create pools")),
    ("edit_pool", _("Edit pools")),
    ("remove_pool", _("Remove pools")),
    ("operate_vm", _("Start, stop and return virtual machines")),
    ("manage_hosts", _("Manage hosts")),
    ("manage_storage", _("Manage storage")),
    ("manage_templates", _("Manage templates")),
    ("manage_permissions", _("Manage permissions")),
)

ROLES: dict[str, frozenset[str]] = {
    "SuperUser": frozenset(code for code, _label in ACTIONS),
    "UserRole": frozenset({"use_pool"}),
}
