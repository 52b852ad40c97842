from django.apps import AppConfig


class BrokerConfig(AppConfig):
    """The desktop broker."""

    name = "broker"
    default_auto_field = "django.db.models.BigAutoField"
