"""Settings of the installation: key, value, default, what is allowed, and what it means."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy

from broker import access, config
from broker.models import Setting
from portal.manage.cells import Column
from portal.manage.people_forms import SettingForm
from portal.manage.properties import TEXT
from portal.manage.resource import Resource, Tab
from portal.manage.static_rows import StaticRows


@dataclass(frozen=True)
class Row:
    """One key as it is now; secrets are masked."""

    key: str
    value: str
    default: str
    allowed: str
    help: str

    @property
    def pk(self) -> str:
        return self.key

    def __str__(self) -> str:
        return self.key


class Settings(StaticRows, Resource):
    """The list of settings, for those who may change them."""

    kind = "settings"
    title = gettext_lazy("Settings")
    icon = "sliders-horizontal"
    order = "key"
    named = "key"
    example = gettext_lazy("key ~ Vm")
    select_one = gettext_lazy("Select one setting.")
    select_some = gettext_lazy("Select one setting.")
    edit_form = SettingForm
    edit_permission = "change_settings"
    columns = (
        Column("key", gettext_lazy("Key"), type=TEXT),
        Column("value", gettext_lazy("Value"), type=TEXT),
        Column("default", gettext_lazy("Default"), type=TEXT),
        Column("allowed", gettext_lazy("Allowed"), type=TEXT),
        Column("help", gettext_lazy("Meaning"), type=TEXT),
    )
    tabs = (Tab("general", gettext_lazy("General"), "manage/tabs/facts.html"),)
    everywhere = "change_settings"

    def all_rows(self) -> list[Row]:
        stored = dict(Setting.objects.values_list("key", "value"))
        return [
            Row(
                name,
                config.shown(name, key.read(name, stored[name]) if name in stored else key.default),
                config.shown(name, key.default),
                key.allowed(),
                str(key.help),
            )
            for name, key in config.KEYS.items()
        ]

    def may(self, user: Any, permission: str, rows: list[Any]) -> bool:
        return access.everywhere(user, permission)

    def count(self, user: Any) -> int:
        return len(config.KEYS)  # their values are not asked for
