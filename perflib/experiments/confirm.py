"""Runs both sides of a comparison again, in turn, before it fails: what one pair of runs shows may be chance.

compared = compare("main", "latest")
compared = confirm(compared, 5, folders=("../main", "."))     # each side in the folder that has its version
"""

from __future__ import annotations

import random
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from perflib.errors import RunError, SuiteError
from perflib.load.generator import plan
from perflib.stats import Outcome
from perflib.store.runs import data_folder, open_recording
from perflib.verdicts.comparison import Comparison, compare
from perflib.verdicts.run import Run

DOUBTFUL: Final = (Outcome.FAIL, Outcome.WORSE)
_ENDED: Final = (0, 1, 3)  # exit codes of a run that is complete


def confirm(
    compared: Comparison,
    runs: int = 5,
    *,
    folders: tuple[str | Path, str | Path] = (".", "."),
    margin_percent: Mapping[str, float | None] | None = None,
    data: str | Path | None = None,
    force: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """The comparison of so many new runs a side, where this one fails or is worse; else this one.

    >>> compared = perflib.compare(run, run)
    >>> perflib.confirm(compared, runs=2) is compared     # nothing is worse: nothing is run again
    True

    runs      of each side, at least 2. The runs that were compared do not count: they were chosen for how they differ
    folders   in which base and candidate are run, by the commands of their run.json
    tell      is called with each run's id

    Raises SuiteError where both sides would be the same version, and RunError where a run does not end well.
    """
    if compared.verdict not in DOUBTFUL:
        return compared
    if runs < 2:
        raise SuiteError(f"{runs} runs a side have no spread", where="--confirm", mend="give 2 or more")
    commands = [_command(run) for run in (compared.base[0], compared.candidate[0])]
    places = [Path(folder).resolve() for folder in folders]
    if commands[0] == commands[1] and places[0] == places[1]:
        raise SuiteError(
            "both sides are run by the same command in the same folder, which has one version only",
            where="--confirm",
            mend="name a folder that has the base's version: --base-in ../main",
        )
    where = str(data) if data is not None else str(data_folder().resolve())
    made: tuple[list[Run], list[Run]] = ([], [])
    orders = plan.rounds(2, random.Random(compared.candidate[0].id))
    for first, _ in zip(orders, range(runs), strict=False):
        for side in (first, 1 - first):
            made[side].append(_run(commands[side], places[side], where))
            tell(made[side][-1].id)
    return compare(made[0], made[1], margin_percent=margin_percent, data=data, force=force)


def _command(run: Run) -> list[str]:
    """The arguments of `perflib` that repeat a run. Raises RunError where it cannot be repeated by a command."""
    words = shlex.split(run.manifest.command)
    if words[:2] != ["perflib", "run"]:
        raise RunError(f"{run.id} was not made by perflib run", where="--confirm", mend="compare several runs a side")
    return words[1:]


def _run(command: Sequence[str], folder: Path, data: str) -> Run:
    words = [sys.executable, "-m", "perflib", *command, "--data", data]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in _ENDED:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"perflib {shlex.join(command)} ended with code {done.returncode}: {why}", where=str(folder))
    return Run(open_recording(done.stdout.split()[-1], data).path)
