"""Read and change settings from the shell (R058)."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from broker import config
from broker.errors import Refused


class Command(BaseCommand):
    """`settings list`, `settings get KEY`, `settings set KEY=VALUE`."""

    help = "List the settings with what they may be, read one, or change one."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list")
        actions.add_parser("get").add_argument("key")
        setting = actions.add_parser("set")
        setting.add_argument("key", metavar="KEY=VALUE")
        setting.add_argument("value", nargs="?", help="unless it stands behind the key and '='")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, f"_{action}")(**{name: options[name] for name in ("key", "value") if name in options})
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal

    def _list(self) -> None:
        for name, known in config.KEYS.items():
            value = config.shown(name, config.get(name))
            self.stdout.write(f"{name}={value}  ({known.allowed()}) {known.help}")

    def _get(self, key: str) -> None:
        config.known(key)
        self.stdout.write(config.shown(key, config.get(key)))

    def _set(self, key: str, value: str | None) -> None:
        if value is None:
            key, given, value = key.partition("=")
            if not given:
                raise CommandError("Say which value: settings set KEY=VALUE.")
        config.put(key, value)
