"""What was measured: a value with its spread, its floor, and whether it is within the budget."""

import json
import math
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One row. `budget` is a most where less is better and a least where `more_is_better`; null where none is set.

    `of_floor`: the budget is for the value divided by its floor.
    """

    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    floor_is: str = ""
    budget: float | None = None
    more_is_better: bool = False
    of_floor: bool = False
    note: str = ""

    @property
    def counted(self) -> float:
        """What the budget is for."""
        return self.value / self.floor if self.of_floor and self.floor else self.value

    @property
    def met(self) -> bool | None:
        """Null where there is no budget."""
        if self.budget is None:
            return None
        return self.counted >= self.budget if self.more_is_better else self.counted <= self.budget

    def line(self) -> str:
        """As a row of the table."""
        spread = f" ({_figure(self.low)} … {_figure(self.high)})" if self.low is not None else ""
        floor = f"{_figure(self.floor)} {self.floor_is}" if self.floor is not None else ""
        ratio = f"{self.value / self.floor:.2f}" if self.floor else ""
        sign = "≥" if self.more_is_better else "≤"
        unit = "× floor" if self.of_floor else self.unit
        budget = f"{sign} {_figure(self.budget)} {unit}" if self.budget is not None else ""
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        cells = (self.what, f"{_figure(self.value)} {self.unit}{spread}", floor, ratio, budget, verdict, self.note)
        return "| " + " | ".join(cells) + " |"


HEAD = "| what | measured | floor | ratio | budget | | |\n|---|---|---|---|---|---|---|"


def median(values: Sequence[float]) -> dict[str, float]:
    """`value`, `low` and `high`: the median between the fastest and the slowest."""
    return {"value": statistics.median(values), "low": min(values), "high": max(values)}


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """How time grows with size: the slope between their logarithms, by least squares; 0 for not at all."""
    points = [(math.log(size), math.log(max(value, 1e-9))) for size, value in zip(sizes, seconds, strict=True)]
    mean_x, mean_y = (statistics.fmean(axis) for axis in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _y in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def keep(found: Sequence[Measured], file: Path, **about: Any) -> None:
    """As JSON, with the machine it was measured on."""
    rows = [asdict(one) | {"met": one.met} for one in found]
    content = {"machine": platform.platform(), "python": platform.python_version(), **about, "measured": rows}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False))


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
