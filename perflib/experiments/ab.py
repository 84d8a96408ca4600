"""A/B tests: two variants of a suite in one run, in alternating blocks in balanced random order, until every figure is
decided or the budget is used up.

compared = ab("shop.toml", b=["targets.api.start=['python', 'server.py', '--cache']"], budget_s=120)
compared.verdict; print(compared.sentence)
compare("latest@a", "latest@b")         # the same from the run; open_run("latest@b") is one side alone
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from perflib.errors import SuiteError, TargetError
from perflib.experiments.run import make
from perflib.load.generator import plan
from perflib.load.scenario import Ledger
from perflib.load.session import Turns
from perflib.store.metadata import python_call
from perflib.store.records import AbRecord
from perflib.suite.file import load_suite, select
from perflib.suite.model import Suite
from perflib.suite.redaction import redact_text
from perflib.suite.variants import SIDES, both
from perflib.verdicts.change import Change, margins_for
from perflib.verdicts.comparison import Comparison, compare
from perflib.verdicts.paired import Look
from perflib.verdicts.run import Run

FEWEST_PAIRS: Final = 3  # between two looks
LOOKS: Final = 10


def ab(
    suite: Suite | str | Path = "acceptance",
    a: Sequence[str] | Suite = (),
    b: Sequence[str] | Suite = (),
    *,
    only: Sequence[str] = (),
    quick: bool = False,
    data: str | Path | None = None,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    margin_percent: Mapping[str, float | None] | None = None,
    block_s: float = 1.0,
    budget_s: float = 60.0,
    looks: int = LOOKS,
    progress: bool = True,
) -> Comparison:
    """Run both sides in turns and compare them: is b worse than a?

    >>> compared = perflib.ab("shop.toml", b=["targets.api.timeout_s=5"], block_s=0.1, budget_s=1)
    >>> compared.title
    'shop: b against a'

    a, b      overrides of the suite ("targets.api.url=…"), or a Suite of its own for each side, with the same scenarios
    block_s   length of a turn, s; a turn ends when all its answers are there
    budget_s  time under load of each scenario, both sides together, s; the warm-up is not counted
    looks     how often, at most, to check whether all figures are decided; 1: use the whole budget

    The run has the scenarios and targets of both sides, with names like "browse@a". More looks make the intervals wider
    (`stats.spending_confidence`). Raises SuiteError, before anything is started, if the sides cannot run together;
    TargetError if nothing was loaded.
    """
    sides = [_side(suite, which, only, quick, overrides) for which in (a, b)]
    if seed is not None:
        sides = [replace(side, seed=seed) for side in sides]
    asked: dict[str, float] = {"block_s": block_s, "budget_s": budget_s, "looks": looks}
    for name, value in asked.items():
        if not 0 < value < math.inf:
            raise SuiteError(f"{name} = {value:g} is not possible", where="ab", mend="give a number above 0")
    step, looks = _steps(block_s, budget_s, looks)
    texts = {
        name: [] if isinstance(which, Suite) else [redact_text(text) for text in which]
        for name, which in zip(SIDES, (a, b), strict=True)
    }
    about = AbRecord(
        a=texts["a"],
        b=texts["b"],
        block_s=block_s,
        budget_s=budget_s,
        margin_percent=dict(margins_for(sides[0], margin_percent or {}).asked),
        scenarios={scenario.name: asdict(Look(looks=looks)) for scenario in sides[0].scenarios},
    )
    turns = Turns(about, _orders(sides[0].seed), _Enough(step), 2 * block_s * step * looks)
    source = None if isinstance(suite, Suite) else str(suite)
    command = python_call(source, only, quick, seed, overrides, "ab", _options(texts, asked))
    run = make(both(*sides, block_s=block_s), data=data, command=command, quick=quick, progress=progress, turns=turns)
    if run.status == "invalid" and not any(scenario.record.workers for scenario in run.scenarios):
        raise TargetError("; ".join(run.manifest.reasons), where=run.id)  # there is nothing to compare
    return compare(Run(run.path, "a"), Run(run.path, "b"))


class _Enough:
    """Decides when the A/B test of a scenario ends: when every figure is decided, or after the last pair."""

    def __init__(self, pairs_per_look: int) -> None:
        self._step = pairs_per_look

    def __call__(self, ledger: Ledger, scenario: str, pairs: int) -> str:
        """Why the test ends after this number of pairs, or "". run.json records the looks."""
        if pairs == 0 or pairs % self._step:
            return ""
        known = ledger.manifest.ab.scenarios if ledger.manifest.ab else {}
        look = Look(pairs, pairs // self._step, known[scenario]["looks"])
        known[scenario] = asdict(look)
        ledger.dir.save()
        path = ledger.dir.path
        last = look.look == look.looks
        changes = [] if last else compare(Run(path, "a"), Run(path, "b"), only=[scenario]).changes
        clear = not last and _clear(changes)
        if last or clear:
            known[scenario]["ended"] = "clear" if clear else "budget"
            ledger.dir.save()
        return "every figure is decided" if clear else "the time is up" if last else ""


def _clear(changes: Sequence[Change]) -> bool:
    judged = [change for change in changes if change.judged]
    return bool(judged) and all(change.verdict in ("pass", "fail") for change in judged)


def _side(
    suite: Suite | str | Path, which: Sequence[str] | Suite, only: Sequence[str], quick: bool, overrides: Sequence[str]
) -> Suite:
    if isinstance(which, Suite):
        return select(which, only=only, quick=quick)
    if isinstance(suite, Suite):
        if which or overrides:
            raise SuiteError(
                "overrides are for a suite's file", where="ab", mend="give one Suite for each side: a=…, b=…"
            )
        return select(suite, only=only, quick=quick)
    return load_suite(suite, overrides=[*overrides, *which], only=only, quick=quick)


def _steps(block_s: float, budget_s: float, looks: int) -> tuple[int, int]:
    """The number of pairs between two looks, and the number of looks within the budget.

    Raises SuiteError if the budget is too small for one look.
    """
    pairs = int(budget_s / (2 * block_s) + 1e-9)
    if pairs < FEWEST_PAIRS:
        mend = f"use a budget of at least {2 * FEWEST_PAIRS * block_s:g} s, or shorter blocks"
        raise SuiteError(
            f"{budget_s:g} s are {pairs} pairs of blocks of {block_s:g} s, which is not enough", where="ab", mend=mend
        )
    step = max(FEWEST_PAIRS, math.ceil(pairs / looks))
    return step, pairs // step


def _orders(seed: int) -> Iterator[tuple[int, int]]:
    """Random orders of the two sides in a pair; each side comes first equally often."""
    first = plan.rounds(2, random.Random(f"{seed}/ab"))
    return ((which, 1 - which) for which in first)


def _options(texts: Mapping[str, Sequence[str]], asked: Mapping[str, float]) -> list[str]:
    """The options of `perflib ab` that `perflib run` does not have."""
    sides = [word for side in SIDES for text in texts[side] for word in (f"--{side}", text)]
    return sides + [word for name, value in asked.items() for word in (f"--{name.removesuffix('_s')}", f"{value:g}")]
