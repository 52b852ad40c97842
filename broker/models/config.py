"""Settings that administrators changed from their defaults."""

from django.db import models


class Setting(models.Model):
    """The value of one key of broker.config, as text."""

    key = models.CharField(max_length=100, primary_key=True)
    value = models.TextField()
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        default_permissions = ()
