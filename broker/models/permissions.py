"""Which roles there are, and who was given which on what: the record. Guardian's rows are its index."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from broker.models.base import Row
from broker.roles import ACTIONS, DESCRIPTIONS, is_administrative


class Role(Row):
    """A bundle of actions. What the built-in ones allow is code, written here at every upgrade."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    actions = models.JSONField(default=list, help_text="codes of broker.roles.ACTIONS")
    built_in = models.BooleanField(default=False)

    class Meta:
        default_permissions = ()
        verbose_name = _("role")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def allowed(self) -> frozenset[str]:
        """Its actions, without those that an older or newer Hotdesk knew."""
        return frozenset(self.actions) & {code for code, _label in ACTIONS}

    @property
    def is_administrative(self) -> bool:
        return is_administrative(self.allowed)

    @property
    def labels(self) -> list[Any]:
        """What it allows, in the reader's words and always in the same order."""
        return [label for code, label in ACTIONS if code in self.actions]

    @property
    def about(self) -> Any:
        """What it is for, in the reader's words where it is built in."""
        return DESCRIPTIONS.get(self.name, self.description) if self.built_in else self.description


class RoleAssignment(Row):
    """A role of a user or a group on an object, or on the whole system where there is no object."""

    role = models.ForeignKey(Role, models.PROTECT, related_name="assignments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="role_assignments")
    group = models.ForeignKey(Group, models.CASCADE, null=True, related_name="role_assignments")
    content_type = models.ForeignKey(ContentType, models.CASCADE, null=True)
    object_id = models.UUIDField(null=True)
    object = GenericForeignKey("content_type", "object_id")
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    granted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()
        verbose_name = _("permission")
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

    def __str__(self) -> str:
        return f"{self.role} – {self.principal}"

    @property
    def principal(self) -> Any:
        """Whoever has it: a user or a group."""
        return self.user or self.group
