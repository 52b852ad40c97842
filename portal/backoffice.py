"""The back office: Django's own admin at /backoffice/, for people who administer the whole system.

It shows raw rows to look something up. What has a state, or rules about it, is read here and changed elsewhere.
"""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.contrib.auth.views import redirect_to_login
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from guardian.models import GroupObjectPermission, UserObjectPermission

from broker import access
from broker.roles import EVERYTHING
from portal.models import User

HIDDEN = ("password", "digest", "secret")


class BackOffice(admin.AdminSite):
    """Open to whoever may do everything everywhere: by role, and not by Django's flags."""

    site_header = site_title = "Hotdesk"
    site_url = "/"

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        return user.is_authenticated and access.actions_on(user, None) == EVERYTHING

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """People sign in at our own page; for those who may not come in it is not there (I6)."""
        if request.user.is_authenticated:
            raise Http404
        return redirect_to_login(request.GET.get("next", "/"))


class Rows(admin.ModelAdmin):
    """Rows to look at: nothing is added, changed or deleted behind the back of an operation."""

    show_full_result_count = False
    list_per_page = 50

    def get_list_display(self, request: HttpRequest) -> list[str]:
        fields = [field for field in self.model._meta.concrete_fields if field.name not in HIDDEN]
        return [field.name for field in fields if not isinstance(field, models.TextField | models.JSONField)][:8]

    def get_list_select_related(self, request: HttpRequest) -> bool:
        return True

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in self.model._meta.concrete_fields if field.name in HIDDEN]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_module_permission(self, request: HttpRequest) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class People(Rows, UserAdmin):
    """Accounts."""

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return list(HIDDEN)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ("username", "first_name", "last_name", "email", "is_active", "groups", "last_login", "date_joined")
        return [(None, {"fields": fields})]


class Groups(Rows, GroupAdmin):
    """Groups."""


class Grants(Rows):
    """What guardian knows: the index of the roles that were given."""


site = BackOffice(name="backoffice")
site.register(User, People)
site.register(Group, Groups)
for model in (UserObjectPermission, GroupObjectPermission):
    site.register(model, Grants)
for model in apps.get_app_config("broker").get_models():
    if not model._meta.auto_created:
        site.register(model, Rows)
