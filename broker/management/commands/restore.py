"""Fill a database from a backup: after a loss, on another machine, or to move from SQLite to PostgreSQL."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from broker.errors import Refused
from broker.operations import backups

SAID = """\
{rows} rows were restored, as of {made_at}, from {engine} to this database, and brought up to date.
Everybody signs in again. Start Hotdesk: it ends and cleans what runs on the hosts, for nobody knows who used it \
since. Manual pools keep the layers of their users."""


class Command(BaseCommand):
    """`restore FILE`, while nothing of Hotdesk runs."""

    help = "Fill a database without tables, or without accounts, from a file that `backup` wrote."
    requires_migrations_checks = False
    requires_system_checks = ()  # they would look for tables

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--replace", action="store_true", help="forget everything that is in the database now")

    def handle(self, *args: Any, file: Path, replace: bool, **options: Any) -> None:
        try:
            made = backups.restore(file=file, replace=replace)
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal
        rows = sum(made.rows.values())
        self.stdout.write(SAID.format(rows=rows, made_at=made.made_at, engine=made.engine))
        for kind, count in sorted(made.rows.items()):
            if count:
                self.stdout.write(f"{count:8} {kind}")
