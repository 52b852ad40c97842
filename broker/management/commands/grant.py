"""Give a role from the shell: the first SuperUser, or a group's right on a pool."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError, CommandParser

from broker import grants
from broker.errors import Refused
from broker.models import Pool


class Command(BaseCommand):
    """`grant --user NAME --role SuperUser`, or with --pool NAME on that pool alone."""

    help = "Give a user or group a role on a pool, or on the whole system."

    def add_arguments(self, parser: CommandParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--user")
        who.add_argument("--group")
        parser.add_argument("--role", required=True, help="its name, as `SuperUser` or `UserRole`")
        parser.add_argument("--pool", help="the name of a pool; the whole system without it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            to = (
                get_user_model().objects.get(username=options["user"])
                if options["user"]
                else Group.objects.get(name=options["group"])
            )
            on = Pool.objects.get(name=options["pool"]) if options["pool"] else None
            grants.grant(role=options["role"], to=to, on=on)
        except (get_user_model().DoesNotExist, Group.DoesNotExist, Pool.DoesNotExist) as error:
            raise CommandError(f"{error} Only what exists can be given a role or carry one.") from error
        except Pool.MultipleObjectsReturned as error:
            raise CommandError(f"Several pools are named {options['pool']}; use the API to choose one.") from error
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal
