"""The same suite several times, each time with targets that are started anew: how much runs of one version differ.

runs = repeat("shop.toml", 5)                       # five runs
runs = repeat("shop.toml", 20, until={"p95": 5})    # at most twenty; until the p95 is known to ±5 %
compare("main", runs)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from perflib import stats
from perflib.errors import SuiteError
from perflib.experiments.run import make
from perflib.metrics.parts import measure_all
from perflib.store.metadata import python_call
from perflib.suite.compare import check_margins, figure_of, scope_of
from perflib.suite.file import load_suite, select
from perflib.suite.model import Suite
from perflib.verdicts.run import Run

FEWEST: Final = 3  # runs whose spread is an interval
MOST: Final = 20  # with `until` and no number of runs


def repeat(
    suite: Suite | str | Path = "acceptance",
    runs: int | None = None,
    *,
    until: Mapping[str, float] | None = None,
    only: Sequence[str] = (),
    quick: bool = False,
    data: str | Path | None = None,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    progress: bool = True,
    each: Callable[[Run], None] = lambda run: None,
) -> tuple[Run, ...]:
    """Run a suite several times, and return its runs. Every second time its scenarios are run in reverse.

    >>> first, second = perflib.repeat(suite, 2, quick=True)
    >>> second.manifest.repeat.number
    2

    runs     how often, at most 20 where `until` is given
    until    by figure, or "operation: figure": ends, after 3 runs at least, as soon as the 95 % interval of the runs'
             mean is within ± so many %
    each     is called with each run when it is complete

    Ends early after a run that is not complete. Raises SuiteError for an invalid suite and for figures that cannot be.
    """
    most = runs if runs is not None else MOST if until else FEWEST
    check_margins(until or {}, "until")
    if most < 1:
        raise SuiteError(f"{most} runs are not possible", where="repeat", mend="give 1 or more")
    chosen = (
        select(suite, only=only, quick=quick)
        if isinstance(suite, Suite)
        else load_suite(suite, overrides=list(overrides), only=list(only), quick=quick)
    )
    chosen = chosen if seed is None else replace(chosen, seed=seed)
    command = python_call(None if isinstance(suite, Suite) else str(suite), only, quick, seed, overrides)
    done: list[Run] = []
    for turned in _orders(chosen, most):
        first = done[0].id if done else ""
        made = make(turned, data=data, command=command, quick=quick, progress=progress, repeat=(first, len(done) + 1))
        done.append(made)
        each(made)
        if made.status != "complete" or (until and precise(done, until)):
            break
    return tuple(done)


def precise(runs: Sequence[Run], until: Mapping[str, float]) -> bool:
    """Whether each of these figures of every part of the runs is known to ± so many %."""
    if len(runs) < FEWEST:
        return False
    found: dict[tuple[Any, str], list[float]] = {}
    for run in runs:
        for part, measured in measure_all(run, [entry.name for entry in run.scenarios]).items():
            for key in until:
                if figure_of(key) in measured.figures and scope_of(key) in ("", part.scenario, part.operation):
                    found.setdefault((part, key), []).append(measured.figures[figure_of(key)].estimate)
    return bool(found) and all(_half_percent(values) <= until[key] for (_, key), values in found.items())


def _half_percent(values: Sequence[float]) -> float:
    """How far the interval of the runs' mean reaches, in % of it."""
    if min(values) <= 0 or not np.isfinite(values).all():
        return 0.0 if max(values) == 0 else math.inf
    logs = stats.mean_interval(np.log(values))
    return 100 * math.expm1(min(logs.high - logs.estimate, 700.0))


def _orders(suite: Suite, count: int) -> Iterator[Suite]:
    """The suite, and in reverse, in turn: what a scenario leaves behind is not always met by the same one."""
    turned = replace(suite, scenarios=suite.scenarios[::-1])
    return (turned if number % 2 else suite for number in range(count))
