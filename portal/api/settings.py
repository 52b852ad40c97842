"""Settings that administrators change while Hotdesk runs."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import StrictBool, StrictInt

from broker import access, config
from portal.api.shapes import word_of
from portal.api.values import Body

router = Router(tags=["settings"])

Key = word_of(*config.KEYS)
Value = StrictBool | StrictInt | str


class SettingOut(Schema):
    key: str
    value: Value
    default: Value
    allowed: str
    help: str


class Settings(Schema):
    items: list[SettingOut]
    next: None
    count: int


class SettingIn(Body):
    value: Value


@router.get("/settings", response=Settings, summary="Settings")
def list_settings(request: HttpRequest) -> dict[str, Any]:
    """With what each may be; secrets are masked."""
    access.require_everywhere(request.user, "change_settings")
    return {"items": [show(key) for key in config.KEYS], "next": None, "count": len(config.KEYS)}


@router.get("/settings/{key}", response=SettingOut, summary="One setting")
def get_setting(request: HttpRequest, key: Key) -> dict[str, Any]:
    access.require_everywhere(request.user, "change_settings")
    config.known(key)
    return show(key)


@router.patch("/settings/{key}", response=SettingOut, summary="Change a setting")
def change_setting(request: HttpRequest, key: Key, values: SettingIn) -> dict[str, Any]:
    access.require_everywhere(request.user, "change_settings")
    config.put(key, str(values.value), by=request.user)
    return show(key)


def show(key: str) -> dict[str, Any]:
    """A setting as the contract writes it."""
    known, value = config.KEYS[key], config.get(key)
    return {
        "key": key,
        "value": config.MASK if known.secret and value else value,
        "default": config.MASK if known.secret and known.default else known.default,
        "allowed": known.allowed(),
        "help": str(known.help),
    }
