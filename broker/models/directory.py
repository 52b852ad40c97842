"""Who came from the directory of the organization."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q

from broker.models.base import Row


class DirectoryEntry(Row):
    """A user or a group that the directory keeps. `key` is what it is there, whatever it is called.

    `lost_at` is since when a user was disabled because the directory no longer has the person.
    """

    key = models.CharField(max_length=200, unique=True)
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="directory_entry")
    group = models.OneToOneField(Group, models.CASCADE, null=True, related_name="directory_entry")
    lost_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                name="directory_entry_is_of_one",
                condition=Q(user__isnull=False, group=None) | Q(user=None, group__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return str(self.user or self.group)
