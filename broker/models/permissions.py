"""Who was given which role on what: the record. Guardian's rows are its index."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import Q

from broker.models.base import Row


class RoleAssignment(Row):
    """A role of a user or a group on an object, or on the whole system where there is no object."""

    role = models.CharField(max_length=100)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="role_assignments")
    group = models.ForeignKey(Group, models.CASCADE, null=True, related_name="role_assignments")
    content_type = models.ForeignKey(ContentType, models.CASCADE, null=True)
    object_id = models.UUIDField(null=True)
    object = GenericForeignKey("content_type", "object_id")
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    granted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=("content_type", "object_id"), name="assignment_on_object")]
        constraints = [
            models.CheckConstraint(
                name="assignment_has_one_principal",
                condition=Q(user__isnull=False, group=None) | Q(user=None, group__isnull=False),
            ),
            models.UniqueConstraint(
                fields=("role", "user"),
                condition=Q(user__isnull=False, object_id=None),
                name="assignment_of_user_on_system_once",
            ),
            models.UniqueConstraint(
                fields=("role", "group"),
                condition=Q(group__isnull=False, object_id=None),
                name="assignment_of_group_on_system_once",
            ),
            models.UniqueConstraint(
                fields=("role", "user", "content_type", "object_id"),
                condition=Q(user__isnull=False),
                name="assignment_of_user_once",
            ),
            models.UniqueConstraint(
                fields=("role", "group", "content_type", "object_id"),
                condition=Q(group__isnull=False),
                name="assignment_of_group_once",
            ),
        ]
