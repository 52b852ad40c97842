from typing import ClassVar

from django.apps import AppConfig
from django.contrib.staticfiles.apps import StaticFilesConfig
from django.core import checks


class PortalConfig(AppConfig):
    """The pages and the API."""

    name = "portal"
    default = True  # of those in this module
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from portal import browser_packages, record

        record.watch()
        checks.register(browser_packages.check)


class StaticFiles(StaticFilesConfig):
    """Django's own, without what no browser of today needs and imports what is not there."""

    ignore_patterns: ClassVar[list[str]] = [*StaticFilesConfig.ignore_patterns, "browser-es-module-loader"]
