"""API tokens from the shell: for programs whose people sign in without a password."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from broker.errors import Refused
from broker.states import Scope
from portal import tokens
from portal.models import User

MOST_DAYS = 100_000  # more than is ever allowed, and still a date


class Command(BaseCommand):
    """`token make USER --name … --scope … --days …`, `token list USER`, `token revoke USER ID`."""

    help = "Make an API token for somebody, list those of a person, or revoke one."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        make = actions.add_parser("make", help="print a new token; it is shown once")
        make.add_argument("--name", default="", help="what it is for")
        make.add_argument("--scope", action="append", choices=Scope.values, help="several times for several")
        make.add_argument("--days", type=int, help="for which it is valid; a day without it")
        revoke = actions.add_parser("revoke", help="make one worthless at once")
        for action in (make, actions.add_parser("list", help="the tokens that are valid"), revoke):
            action.add_argument("user", help="a user name")
        revoke.add_argument("token", type=int, help="its number, as `list` shows it")

    def handle(self, *args: Any, action: str, user: str, **options: Any) -> None:
        person = User.objects.filter(username=user).first()
        if person is None:
            raise CommandError(f"There is no user {user}.")
        try:
            getattr(self, f"_{action}")(person, options)
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal

    def _make(self, person: User, options: dict[str, Any]) -> None:
        if not person.is_active:
            raise CommandError(f"{person} may not sign in; enable the account first.")
        days = options["days"]
        expires = None if days is None else timezone.now() + timedelta(days=min(days, MOST_DAYS))
        scopes = options["scope"] or [Scope.EVERYTHING.value]
        self.stdout.write(tokens.make(user=person, name=options["name"], scopes=scopes, expires=expires)[1])

    def _list(self, person: User, options: dict[str, Any]) -> None:
        for token in tokens.valid(person).order_by("created_at", "pk"):
            used = token.last_used_at.isoformat(timespec="seconds") if token.last_used_at else "never"
            until = token.expires_at.isoformat(timespec="seconds")
            self.stdout.write(
                f"{token.pk}  {token.name or '-'}  {','.join(token.scopes)}  until {until}  used {used}"
            )

    def _revoke(self, person: User, options: dict[str, Any]) -> None:
        tokens.revoke(token=tokens.of_user(person, options["token"]))
