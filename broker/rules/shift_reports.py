"""Reports of shifts: how long people waited, and how many desktops were in use in each hour of the day."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from zoneinfo import ZoneInfo

from broker.rules.shifts import Span

MOST_DAYS = 92
HOURS = 24
STEPS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60))  # by which waits are counted
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Waits:
    """What is known of waits; the lengths are null where nobody was served. `unserved` got nothing so far."""

    count: int = 0
    median: timedelta | None = None
    p95: timedelta | None = None
    longest: timedelta | None = None
    unserved: int = 0
    steps: tuple[int, ...] = (0,) * (len(STEPS) + 1)  # up to each of STEPS, and longer


@dataclass(frozen=True)
class Hour:
    """Desktops in use in one hour of the day: the mean of all days, and the most at any moment."""

    hour: int
    mean: float
    most: int


def midnight(day: date, zone: str) -> datetime:
    """The moment at which a day begins by the clock on the wall."""
    return _moment(day, 0, zone)


def _moment(day: date, hour: int, zone: str) -> datetime:
    last, hour = (day, hour) if hour < HOURS else (day + DAY, 0)
    return datetime.combine(last, time(hour), tzinfo=ZoneInfo(zone)).astimezone(UTC)


def waits(lengths: Iterable[timedelta | None]) -> Waits:
    """Half of those served waited no longer than the median, 95 of 100 no longer than p95; null got nothing."""
    given = list(lengths)
    served = sorted(max(one, timedelta()) for one in given if one is not None)
    if not served:
        return Waits(unserved=len(given))
    below = [bisect_right(served, step) for step in STEPS]
    steps = [most - fewer for most, fewer in zip([*below, len(served)], [0, *below], strict=True)]
    return Waits(
        count=len(served),
        median=_part(served, 0.5),
        p95=_part(served, 0.95),
        longest=served[-1],
        unserved=len(given) - len(served),
        steps=tuple(steps),
    )


def _part(ordered: Sequence[timedelta], part: float) -> timedelta:
    return ordered[ceil(part * len(ordered)) - 1]


def occupancy(uses: Iterable[Span], first: date, last: date, zone: str, now: datetime) -> list[Hour]:
    """Each hour of the day by the clock on the wall, over these days as far as they are past.

    An hour that clocks skip adds nothing; one that comes twice counts as one long hour.
    """
    end = min(_moment(last, HOURS, zone), now)
    turns = sorted(turn for use in uses if use.start < use.end for turn in ((use.start, 1), (use.end, -1)))
    seconds, used, most = [0.0] * HOURS, [0.0] * HOURS, [0] * HOURS
    at, in_use = 0, 0
    day = first
    while day <= last:
        for hour in range(HOURS):
            start, stop = _moment(day, hour, zone), min(_moment(day, hour + 1, zone), end)
            if start >= stop:
                continue
            # Whoever leaves at this moment leaves before the next one comes: they are sorted so.
            while at < len(turns) and turns[at][0] <= start:
                in_use += turns[at][1]
                at += 1
            peak, since, busy = in_use, start, 0.0
            while at < len(turns) and turns[at][0] < stop:
                moment, step = turns[at]
                busy += in_use * (moment - since).total_seconds()
                in_use, since = in_use + step, moment
                at += 1
                peak = max(peak, in_use)
            seconds[hour] += (stop - start).total_seconds()
            used[hour] += busy + in_use * (stop - since).total_seconds()
            most[hour] = max(most[hour], peak)
        day += DAY
    return [
        Hour(hour, round(used[hour] / seconds[hour], 2) if seconds[hour] else 0.0, most[hour])
        for hour in range(HOURS)
    ]
