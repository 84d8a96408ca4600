"""What comparisons of a suite's runs judge: the table [compare] of a suite.

[compare]
figures = ["p50", "p95", "p99", "errors"]
margins = { p95 = 15, "buy: p95" = 30, "list: p50" = false }
exit = { inconclusive = 0, worse = 1 }
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.fields import CONFIG, Seq
from perflib.suite.messages import in_one_line

FIGURES: Final = ("p50", "p95", "p99", "mean", "throughput", "errors", "memory", "cpu")
USUAL: Final = ("p50", "p95", "throughput", "errors")  # judged without being asked for
OF_PROCESSES: Final = ("memory", "cpu")  # judged as well where each side has several runs, for two processes differ
KNOWN: Final = f"known: {', '.join(FIGURES)}"
Margin = float | Literal[False]
Word = Literal["inconclusive", "worse"]
Code = Literal[0, 1, 3]


@in_one_line("compare")
@dataclass(frozen=True, config=CONFIG)
class Compare:
    """What comparisons of this suite's runs judge, how much worse still passes, and which exit code follows.

    >>> Compare(figures=["p95", "errors"], margins={"p95": 15}, exit={"worse": 1}).margin_percent
    {'p95': 15.0}
    """

    figures: Seq[str] = ()  # what is judged; default: p50, p95, throughput, errors; of several runs a side memory, cpu
    margins: Mapping[str, Margin] = Field(default_factory=dict)  # how much worse passes, %; errors: points; false: any
    exit: Mapping[Word, Code] = Field(default_factory=dict)  # codes of `inconclusive`, `worse`: 0, 1 or 3; default: 3

    def __post_init__(self) -> None:
        for name in self.figures:
            if name not in FIGURES:
                raise SuiteError(f"there is no figure {name!r}", where="figures", mend=KNOWN)
        check_margins(self.margin_percent, "margins")

    @property
    def margin_percent(self) -> dict[str, float | None]:
        """The margins as `perflib.compare` takes them: None for a figure that is not judged."""
        return {key: None if value is False else float(value) for key, value in self.margins.items()}


def check_margins(margins: Mapping[str, float | None], where: str = "margin") -> None:
    """Raise SuiteError for a margin of a figure that does not exist, or one that cannot be."""
    for key, value in margins.items():
        figure = figure_of(key)
        if figure not in FIGURES:
            raise SuiteError(f"there is no metric {figure!r}", where=where, mend=KNOWN)
        if value is not None and not 0 <= value < math.inf:
            raise SuiteError(f"a margin of {value:g} is not possible", where=f"{where} {key}", mend="give 0 or more")
        if value is not None and value >= 100 and figure == "throughput":
            what = f"{figure} cannot fall by {value:g} %"
            raise SuiteError(what, where=f"{where} {key}", mend="give less than 100")


def figure_of(key: str) -> str:
    """figure_of("buy: p95") == figure_of("p95") == "p95"."""
    return key.rpartition(":")[2].strip()


def scope_of(key: str) -> str:
    """The operation or scenario that a margin is of: "buy" of "buy: p95"; "" where it is of all."""
    return key.rpartition(":")[0].strip()
