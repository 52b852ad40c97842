from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The pages and the API."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from portal import record

        record.watch()
