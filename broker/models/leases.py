"""Terms of office: which process does a thing that only one may do at a time."""

from django.db import models


class Lease(models.Model):
    """One office, such as running the beat or watching a host."""

    name = models.CharField(max_length=200, primary_key=True)
    holder = models.CharField(max_length=200, blank=True)
    term = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
