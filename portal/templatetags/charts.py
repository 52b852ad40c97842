"""Charts that the server draws. Each stands in a table beside its numbers, so nobody has to read the drawing."""

from collections.abc import Sequence
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()
WIDTH = 100.0
DRAWING = SafeString('preserveAspectRatio="none" aria-hidden="true" focusable="false"')


@register.simple_tag
def bar(parts: Sequence[tuple[str, float]], most: float) -> SafeString:
    """Parts, each with its look, side by side in a bar whose full width is `most`."""
    scale = WIDTH / most if most else 0.0
    drawn, at = [], 0.0
    for look, value in parts:
        width = max(0.0, min(value * scale, WIDTH - at))
        drawn.append((look, f"{at:.2f}", f"{width:.2f}"))
        at += width
    return format_html(
        '<svg class="bar-chart" viewBox="0 0 100 10" {}>{}</svg>',
        DRAWING,
        format_html_join("", '<rect class="{}" x="{}" width="{}" height="10"/>', drawn),
    )


@register.simple_tag
def columns(values: Sequence[Any], most: float) -> SafeString:
    """One column for each value, side by side; what is highest touches the top."""
    step = WIDTH / max(len(values), 1)
    drawn = [
        (f"{index * step + step * 0.15:.2f}", f"{40 - 40 * value / most if most else 40:.2f}", f"{step * 0.7:.2f}",
         f"{40 * value / most if most else 0:.2f}")
        for index, value in enumerate(values)
    ]  # fmt: skip
    return format_html(
        '<svg class="column-chart" viewBox="0 0 100 40" {}>{}'
        '<line class="base" x1="0" x2="100" y1="40" y2="40"/></svg>',
        DRAWING,
        format_html_join("", '<rect class="used" x="{}" y="{}" width="{}" height="{}"/>', drawn),
    )
