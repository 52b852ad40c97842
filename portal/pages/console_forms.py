"""How a user opens desktops of a pool: the options on the desktop's page."""

from dataclasses import replace
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from broker.models import Pool
from broker.operations import consoles
from broker.rules.consoles import Options
from broker.states import ColorDepth, Effect


class ConsoleOptionsForm(forms.Form):
    """What a viewer is told; only what the pool has is asked for."""

    fullscreen = forms.BooleanField(label=gettext_lazy("Open in full screen"), required=False)
    remap_ctrl_alt_del = forms.BooleanField(
        label=gettext_lazy("Ctrl+Alt+End sends Ctrl+Alt+Del to the desktop"), required=False
    )
    usb_autoshare = forms.BooleanField(
        label=gettext_lazy("Share USB devices when they are plugged in"), required=False
    )
    smartcard = forms.BooleanField(label=gettext_lazy("Lend my smart card to the desktop"), required=False)
    use_proxy = forms.BooleanField(label=gettext_lazy("Connect through the SPICE proxy"), required=False)
    color_depth = forms.ChoiceField(label=gettext_lazy("Colour depth"), choices=ColorDepth.choices)
    disabled_effects = forms.MultipleChoiceField(
        label=gettext_lazy("Leave out on a slow line"),
        choices=Effect.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, data: Any = None, *, user: Any, pool: Pool) -> None:
        self.shown = consoles.options_of(user=user, of=pool)
        super().__init__(data, initial=vars(self.shown), auto_id="option-%s")
        self.user, self.pool = user, pool
        there = {"smartcard": pool.smartcard, "use_proxy": consoles.proxy_of(pool)}
        for name in there:
            if not there[name]:
                del self.fields[name]

    def save(self) -> None:
        """Remember what was changed; what was not asked for stays."""
        consoles.change_options(user=self.user, pool=self.pool, wanted=self._wanted())

    def _wanted(self) -> Options:
        effects = tuple(self.cleaned_data["disabled_effects"])
        return replace(self.shown, **{**self.cleaned_data, "disabled_effects": effects})
