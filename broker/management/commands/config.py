"""Read and change settings from the shell (R058)."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from broker import config
from broker.errors import Refused


class Command(BaseCommand):
    """`config` lists, `config KEY` reads, `config KEY VALUE` changes."""

    help = "List the settings with their ranges, read one, or change one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", nargs="?")
        parser.add_argument("value", nargs="?")

    def handle(self, *args: Any, key: str | None, value: str | None, **options: Any) -> None:
        if key is None:
            for name, known in config.KEYS.items():
                text = f"{name}={config.get(name)}  ({known.low} to {known.high}) {known.help}"
                self.stdout.write(text)
            return
        if key not in config.KEYS:
            raise CommandError(f"There is no setting {key}. There are: {', '.join(config.KEYS)}.")
        if value is None:
            self.stdout.write(str(config.get(key)))
            return
        try:
            config.put(key, value)
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal
