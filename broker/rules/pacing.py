"""How many VMs of one host may be started, reset, made or deleted at once: as many as it was measured to bear.

The pace of a host rises while all it allows is under way and nothing suffers; it falls when the host reports that its
work stands still, and, unless it reports that nothing does, when steps fail or take longer than they usually do.
"""

from collections.abc import Iterable
from dataclasses import dataclass

LEAST = 2.0  # one guest that hangs never holds up a host
QUIET_PERCENT, HIGH_PERCENT = 20, 60
SLOW_FACTOR, SLOW_SECONDS = 3.0, 0.05  # together: what is more than jitter
DRIFT = 1.02  # what is usual is forgotten slowly, for hosts and images change
BOOT = "boot"
UNKNOWN_BOOT_SECONDS = 30.0
SHORTEST_PATIENCE_SECONDS, LONGEST_PATIENCE_SECONDS = 10.0, 300.0
PATIENCE_FACTOR = 3.0


@dataclass(frozen=True)
class Noticed:
    """A step that a worker took on a host; a `boot` is from the start of a guest until it can be used."""

    step: str
    seconds: float
    failed: bool = False


def first(cpu_threads: int) -> float:
    """The pace of a host that nothing is known of yet."""
    return max(LEAST, float(cpu_threads))


def after_steps(
    pace: float, usual: dict[str, float], noticed: Iterable[Noticed], *, full: bool, at_ease: bool
) -> tuple[float, dict[str, float]]:
    """The pace, and what each step usually takes in seconds. `full`: all that the pace allows was under way.

    What fails or takes long on a host that is `at_ease` does so because of its template: others need not wait for it.
    """
    usual = dict(usual)
    for one in noticed:
        before = usual.get(one.step)
        if one.failed:
            pace = pace if at_ease else pace / 2
            continue
        if one.step != BOOT:  # how long a guest boots is the template's business
            slow = before is not None and one.seconds > SLOW_FACTOR * before + SLOW_SECONDS
            if slow:
                pace = pace if at_ease else pace * 0.9
            elif full:
                pace = pace + 1 / pace
        usual[one.step] = one.seconds if before is None else min(one.seconds, before * DRIFT)
    return max(LEAST, pace), usual


def at_ease(pressure_percent: int | None) -> bool:
    """Whether next to nothing stood still at the last look; null when nobody has looked."""
    return pressure_percent is not None and pressure_percent < QUIET_PERCENT


def after_look(pace: float, pressure_percent: int, *, full: bool) -> float:
    """The pace after a look at the host: percent of the time in which work there stood still."""
    if pressure_percent > HIGH_PERCENT:
        return max(LEAST, pace * 0.7)
    if at_ease(pressure_percent) and full:
        return pace * 1.5
    return pace


def patience_seconds(usual: dict[str, float]) -> float:
    """How long a guest that boots keeps its turn from others: after that it strains the host no longer."""
    known = PATIENCE_FACTOR * usual[BOOT] if BOOT in usual else UNKNOWN_BOOT_SECONDS
    return min(LONGEST_PATIENCE_SECONDS, max(SHORTEST_PATIENCE_SECONDS, known))


def pressure_percent(*, stalled_percent: int | None, waiting_percent: int, busy_percent: int) -> int:
    """How much work on a host stands still, by its kernel's own account; estimated where that is out of reach.

    `waiting_percent`: of the time processors idled because of disks. Processors busy throughout count as half.
    """
    if stalled_percent is not None:
        return stalled_percent
    return min(100, max(waiting_percent, 2 * (busy_percent - 75), 0))
