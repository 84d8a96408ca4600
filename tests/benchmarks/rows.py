"""The rows of the calibration's table, and shares of simulations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from perflib.stats import Interval


@dataclass(frozen=True)
class Row:
    measure: str
    goal: str
    measured: str
    simulations: int


@dataclass
class Hits:
    """How often intervals with two finite bounds contained the truth; those with an open bound are counted apart."""

    closed: int = 0
    contained: int = 0
    open: int = 0

    def add(self, interval: Interval, truth: float) -> None:
        if math.isfinite(interval.low) and math.isfinite(interval.high):
            self.closed += 1
            self.contained += interval.low <= truth <= interval.high
        else:
            self.open += 1

    def __str__(self) -> str:
        still_open = f" ({share(self.open, self.open + self.closed)} open)" if self.open else ""
        return f"{share(self.contained, self.closed)}{still_open}"


def joined(hits: Iterable[Hits]) -> str:
    return " / ".join(map(str, hits))


def share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %" if of else "none"
