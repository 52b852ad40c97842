"""Inputs whose choices bring data for the page's script, and the field for NUMA pinning."""

import json
import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

PINNING = re.compile(r"[0-9,; ]{0,500}")
MOST_NODES = 64
Data = dict[str, Any]


class DataSelect(forms.Select):
    """A select box whose options carry data attributes; `data_of` gives them by the option's value."""

    data_of: Callable[[str], Data] = staticmethod(lambda value: {})

    def create_option(self, name: str, value: Any, *rest: Any, **more: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *rest, **more)
        option["attrs"] |= _attributes(self.data_of(str(value)))
        return option


class DataCheckboxes(forms.CheckboxSelectMultiple):
    """The same for a group of check boxes."""

    data_of: Callable[[str], Data] = staticmethod(lambda value: {})

    def create_option(self, name: str, value: Any, *rest: Any, **more: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *rest, **more)
        option["attrs"] |= _attributes(self.data_of(str(value)))
        return option


def _attributes(data: Data) -> dict[str, str]:
    return {
        f"data-{name.replace('_', '-')}": value if isinstance(value, str) else json.dumps(value)
        for name, value in data.items()
    }


class NumaPinning(forms.CharField):
    """For each virtual node the host's nodes it is pinned to: `0; 1` or `0,1; ;2`. The script draws it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, max_length=500, **options)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return "; ".join(",".join(map(str, nodes)) for nodes in value)
        return value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        if not text.strip(" ;"):
            return []
        parts = [part.replace(",", " ").split() for part in text.split(";")]
        if (
            not PINNING.fullmatch(text)
            or len(parts) > MOST_NODES
            or any(len(node) > 4 for part in parts for node in part)
        ):
            raise ValidationError(_("Name the host's nodes of each virtual node, as in “0; 1”."))
        return [[int(node) for node in part] for part in parts]

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return (initial or []) != self.to_python(data)
        except ValidationError:
            return True
