"""Keep what must survive in one file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from broker.errors import Refused
from broker.operations import backups

SAID = """\
{rows} rows of {kinds} kinds, as of {made_at}, are in {file}.
It holds hashes of passwords and the settings with their secrets, and only you can read it: keep it as safe as the \
database. The secret key, sessions and the disks of templates and VMs are not in it."""


class Command(BaseCommand):
    """`backup FILE`, while Hotdesk runs."""

    help = "Write the database, with settings and certificates, to a file that `restore` reads."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            made = backups.make(file=file)
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal
        except OSError as error:
            raise CommandError(str(error)) from error
        kinds = sum(count > 0 for count in made.rows.values())
        text = SAID.format(rows=sum(made.rows.values()), kinds=kinds, made_at=made.made_at, file=file)
        self.stdout.write(text)
