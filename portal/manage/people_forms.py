"""Forms about users, groups, and the settings of the whole installation."""

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker import access, config
from broker.config import Choice, Number, Switch
from broker.operations import groups, roles, users
from broker.roles import ACTIONS
from portal.manage import forms as base
from portal.manage.forms import ManageForm
from portal.manage.inventory_forms import one_section
from portal.manage.machine_forms import NOT_LATER

NAMES = ("first_name", "last_name", "email", "is_active")


class UserForm(ManageForm):
    """An account that can sign in."""

    username = base.text(gettext_lazy("User name"), max_length=150)
    first_name = base.text(gettext_lazy("First name"), max_length=150)
    last_name = base.text(gettext_lazy("Last name"), max_length=150)
    email = base.text(gettext_lazy("E-mail"), max_length=254)
    is_active = base.switch(gettext_lazy("May sign in"))
    password = forms.CharField(
        label=gettext_lazy("Password"),
        required=False,
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    groups = forms.ModelMultipleChoiceField(
        Group.objects.none(),
        label=gettext_lazy("Groups"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    sections = one_section("username", "first_name", "last_name", "email", "password", "groups", "is_active")

    def prepare(self) -> None:
        chosen: Any = self.fields["groups"]
        chosen.queryset = Group.objects.order_by("name", "pk")
        self.title = _("New User") if self.row is None else _("Edit User")
        if self.row is not None:
            self.fixed["username"] = NOT_LATER
            self.fields["password"].help_text = _("Leave it blank to keep the present one.")

    def initial_values(self) -> dict[str, Any]:
        return {"is_active": True}

    def fields_of_row(self) -> tuple[str, ...]:
        return NAMES

    def present(self) -> dict[str, Any]:
        return {**super().present(), "groups": sorted(group.name for group in self.row.groups.all())}

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        return {
            **values,
            "username": self.row.username,
            "groups": list(self.row.groups.values_list("pk", flat=True)),
        }

    def save(self) -> str:
        values = self.values()
        chosen, password = list(values.pop("groups")), values.pop("password")
        if self.row is None:
            user = users.create(password=password, groups=chosen, by=self.user, **values)
        else:
            user = self.row
            users.change(
                user=user,
                changes=values,
                groups=chosen,
                password=password or None,
                expected=self.expected(),
                by=self.user,
            )
        return _("User %(user)s was saved.") % {"user": user.username}


class GroupForm(ManageForm):
    """A group, and who is in it."""

    name = base.text(gettext_lazy("Name"), max_length=150)
    users = forms.ModelMultipleChoiceField(
        get_user_model().objects.none(),
        label=gettext_lazy("Users"),
        required=False,
        widget=forms.SelectMultiple(attrs={"size": 12}),
    )
    sections = one_section("name", "users")

    def prepare(self) -> None:
        chosen: Any = self.fields["users"]
        chosen.queryset = get_user_model().objects.order_by("username", "pk")
        self.title = _("New Group") if self.row is None else _("Edit Group")

    def present(self) -> dict[str, Any]:
        return {"name": self.row.name, "users": sorted(one.username for one in self.row.user_set.all())}

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "users": list(self.row.user_set.values_list("pk", flat=True))}

    def save(self) -> str:
        values = self.values()
        people = list(values["users"])
        if self.row is None:
            groups.create(name=values["name"], users=people, by=self.user)
        else:
            changes = {"name": values["name"], "users": people, "expected": self.expected()}
            groups.change(group=self.row, by=self.user, **changes)
        return _("Group %(group)s was saved.") % {"group": values["name"]}


class RoleForm(ManageForm):
    """A role, and what it allows: of the actions that one has oneself."""

    name = base.text(gettext_lazy("Name"), max_length=100)
    description = base.words(gettext_lazy("Description"))
    actions = forms.MultipleChoiceField(
        label=gettext_lazy("Allows"), required=False, widget=forms.CheckboxSelectMultiple
    )
    sections = one_section("name", "description", "actions")

    def prepare(self) -> None:
        self.title = _("New Role") if self.row is None else _("Edit Role")
        own = access.actions_on(self.user, None) | frozenset(self.row.actions if self.row is not None else ())
        chosen: Any = self.fields["actions"]
        chosen.choices = [(code, label) for code, label in ACTIONS if code in own]

    def save(self) -> str:
        values = self.values()
        if self.row is None:
            roles.create(by=self.user, **values)
        else:
            roles.change(role=self.row, changes=values, expected=self.expected(), by=self.user)
        return _("Role %(role)s was saved.") % {"role": values["name"]}


class SettingForm(ManageForm):
    """The value of one key."""

    value = base.text(gettext_lazy("Value"), max_length=1000)
    sections = one_section("value")

    def prepare(self) -> None:
        key = config.KEYS[self.row.key]
        self.title = _("Setting %(key)s") % {"key": self.row.key}
        self.note = key.help
        field = self.fields["value"]
        words = {"allowed": key.allowed(), "default": config.shown(self.row.key, key.default) or "–"}
        field.help_text = _("Allowed: %(allowed)s. Default: %(default)s.") % words
        if isinstance(key, Switch):
            field.widget = forms.Select(choices=[("true", _("true")), ("false", _("false"))])
        elif isinstance(key, Choice):
            field.widget = forms.Select(choices=[(one, one) for one in key.choices])
        elif isinstance(key, Number):
            field.widget = forms.NumberInput(attrs={"min": key.low, "max": key.high})
        elif key.secret:
            field.widget = forms.PasswordInput(attrs={"autocomplete": "off"})

    def present(self) -> dict[str, Any]:
        key = config.KEYS[self.row.key]
        return {"value": "" if key.secret else config.shown(self.row.key, config.get(self.row.key))}

    def save(self) -> str:
        config.put(self.row.key, self.cleaned_data["value"], by=self.user)
        return _("Setting %(key)s was saved.") % {"key": self.row.key}
