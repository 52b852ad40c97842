"""The broker as a Django app."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BrokerConfig(AppConfig):
    """Rows, rules, operations and loops."""

    name = "broker"

    def ready(self) -> None:
        from broker import audit

        audit.watch()
        post_migrate.connect(_keep_roles_true, sender=self)


def _keep_roles_true(sender: AppConfig, **_: Any) -> None:
    """What the built-in roles allow is code, and guardian's rows are its index: an upgrade writes both anew."""
    from django.contrib.auth.management import create_permissions

    from broker import grants

    create_permissions(sender, verbosity=0)  # Django's own turn may come after ours
    grants.write_built_in_roles()
