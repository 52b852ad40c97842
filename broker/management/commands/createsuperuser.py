"""Make an administrator: Django's command, and the role that the rest of Hotdesk asks for."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.management.commands import createsuperuser

from broker import grants
from broker.roles import SUPERUSER


class Command(createsuperuser.Command):
    """`manage.py createsuperuser`."""

    help = "Create an administrator: an account with the role SuperUser on the whole system."

    def handle(self, *args: Any, **options: Any) -> None:
        """Whoever is made by it, and by nobody else meanwhile, gets the role."""
        before = set(get_user_model().objects.values_list("pk", flat=True))
        super().handle(*args, **options)
        for person in get_user_model().objects.filter(is_superuser=True).exclude(pk__in=before):
            grants.grant(role=SUPERUSER, to=person, on=None)
