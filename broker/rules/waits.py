"""How long somebody in line will wait: a range with a ground, rounded up, or nothing at all."""

import math
from dataclasses import dataclass

from django.utils.translation import gettext as _

WINDOW_SECONDS = 3600  # what came back longer ago says nothing about now
FEWEST = 3  # returns, or starts, that make a ground
FARTHEST_SECONDS = 8 * 3600  # what lies beyond is no estimate
# Of ten people one waits longer than the high end, and two wait less than the low end.
LATE, EARLY = 1.2816, -0.8416


@dataclass(frozen=True)
class Ground:
    """What the last hour, and the limits of the pool, say. Times are seconds; null for what is not known.

    `coming`: VMs that are free or will be without anybody returning one. `planned`: when the one for this place comes
    back at the latest, because its time ends.
    """

    returns: int = 0
    starts: int = 0
    start_mean: float | None = None
    start_longest: float | None = None
    clean_longest: float | None = None
    coming: int = 0
    planned: float | None = None


@dataclass(frozen=True)
class Wait:
    """Whole seconds; `low` is 0 where only the latest time is known."""

    low: int
    high: int


NONE = Wait(0, 0)  # for whoever is served at once


def estimate(place: int, ground: Ground) -> Wait | None:
    """From now until the desktop of whoever stands at this place, 1 for the next, is ready; null without a ground."""
    if ground.starts < FEWEST or ground.start_mean is None or ground.start_longest is None:
        return None
    longest_start = ground.start_longest + (ground.clean_longest or 0.0)
    missing = place - ground.coming
    if missing <= 0:
        return _range(ground.start_mean, longest_start)
    ends: list[tuple[float, float]] = []
    if ground.returns >= FEWEST:
        ends.append(_until(missing, ground.returns))
    if ground.planned is not None:
        ends.append((0.0, max(ground.planned, 0.0)))
    if not ends:
        return None
    high = min(end[1] for end in ends)
    low = min(max(end[0] for end in ends), high)
    return _range(low and low + ground.start_mean, high + longest_start)


def _until(missing: int, returns: int) -> tuple[float, float]:
    """The time until so many more come back, given how many did in the window.

    Returns that come at random: the ratio of the two counts' times is log-normal to a good approximation.
    """
    middle = missing / returns * WINDOW_SECONDS
    spread = math.sqrt(1 / missing + 1 / returns)
    return middle * math.exp(EARLY * spread), middle * math.exp(LATE * spread)


def _range(low: float, high: float) -> Wait | None:
    rounded = Wait(_rounded_up(low), _rounded_up(high))
    return rounded if rounded.high <= FARTHEST_SECONDS else None


def _rounded_up(seconds: float) -> int:
    """To a step that promises no more than is known: minutes, then five, then fifteen of them."""
    step = 60 if seconds <= 600 else 300 if seconds <= 3600 else 900
    return math.ceil(seconds / step) * step


def in_words(wait: Wait) -> str:
    """The range as people say it."""
    low, high = wait.low // 60, wait.high // 60
    if not low:
        return _("%(minutes)s min at the latest") % {"minutes": high}
    if low == high:
        return _("about %(minutes)s min") % {"minutes": high}
    return _("about %(low)s to %(high)s min") % {"low": low, "high": high}


def ground_in_words(ground: Ground) -> str:
    """What the range is based on, for whoever asks why."""
    match ground.returns >= FEWEST, ground.planned is not None:
        case True, True:
            return _("Based on the returns of the last hour and the time limits of the pool.")
        case True, False:
            return _("Based on the returns of the last hour.")
        case False, True:
            return _("Based on the time limits of the pool.")
    return _("Based on how long desktops took to start in the last hour.")
