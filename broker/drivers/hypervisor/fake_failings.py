"""The named ways in which a fake host fails."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from broker.drivers.hypervisor.interface import HypervisorError


@dataclass(frozen=True)
class Failings:
    """Shares are of 1 and drawn by lot; seconds are real ones. A host without any of them is a perfect one."""

    slow: float = 0.0  # seconds that every verb takes
    refuses: float = 0.0  # share of starts that are refused
    never_boots: float = 0.0  # share of starts whose guest is never ready
    crashes: float = 0.0  # share of starts whose guest crashes
    crashes_after: float = 5.0  # so many seconds after its start
    disappears: float = 0.0  # share of verbs with which the host falls silent
    away: float = 5.0  # for so many seconds
    lies: float = 0.0  # share of looks at a domain that report it as it was before its last change

    @classmethod
    def named(cls, given: Mapping[str, str]) -> "Failings":
        """From names and numbers in words; HypervisorError says which names there are."""
        known = [field.name for field in fields(cls)]
        try:
            values = {name: float(value) for name, value in given.items()}
        except ValueError as error:
            raise HypervisorError(f"A failing is given as a number: {error}.") from None
        unknown = ", ".join(sorted(values.keys() - set(known)))
        if unknown:
            raise HypervisorError(f"A fake host knows no {unknown}; it knows {', '.join(known)}.")
        return cls(**values)
