"""Runs: recordings that are judged. What `perflib.run` gives and `perflib.open_run` opens."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final

from perflib.errors import RunError
from perflib.stats import Outcome
from perflib.store.baselines import locate_side
from perflib.store.recording import Recording
from perflib.store.runs import locate, run_ids
from perflib.text import html_card
from perflib.verdicts.summary import summary
from perflib.verdicts.verdict import Verdict, overall, verdicts

_STATUS_OUTCOME: Final = {"complete": Outcome.PASS, "running": Outcome.INCONCLUSIVE}  # any other: INVALID


class Run(Recording):
    """One finished, broken or still running run.

    run = perflib.open_run("latest")
    run.verdicts(); run.summary(); run.rows("browse"); run.sql("select …"); run.manifest.host
    """

    def verdicts(self) -> list[Verdict]:
        """One per objective, in the suite's order."""
        return list(self._verdicts)

    @cached_property
    def _verdicts(self) -> list[Verdict]:
        return verdicts(self)

    @property
    def verdict(self) -> str:
        """The run in one word: invalid before fail before inconclusive before pass."""
        return overall(self, self._verdicts)

    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        return summary(self, self._verdicts)

    def _repr_html_(self) -> str:
        """What run.json says; verdicts take a look at all rows and are not computed for this."""
        rows = [
            (
                record.name,
                record.status,
                f"{record.requests:,}",
                "–" if record.seconds is None else f"{record.seconds:.1f}",
            )
            for record in self.manifest.scenarios
        ]
        lines = [f"started {self.manifest.started} UTC; {self.manifest.command}", *self.manifest.reasons]
        head = ("scenario", "status", "requests", "seconds")
        outcome = _STATUS_OUTCOME.get(self.status, Outcome.INVALID)
        return html_card(self.id, outcome, self.status, lines, [head, *rows] if rows else [])


def open_run(which: str | Path = "latest", data: str | Path | None = None, *, rows: bool = True) -> Run:
    """A run by id, by path, or the latest; with @a or @b one side of an A/B. Raises RunError where there is none.

    data: a folder, or a URL; then the run's files that are not on this machine are fetched first, without `rows` only
    its
    run.json.
    """
    return Run(*locate(which, data, rows=rows))


def open_runs(data: str | Path | None = None, *, rows: bool = True) -> tuple[list[Run], list[RunError]]:
    """The runs there are, oldest first, and why each folder that cannot be opened is left out."""
    runs, errors = [], []
    for name in run_ids(data):
        try:
            runs.append(open_run(name, data, rows=rows))
        except RunError as error:  # no run, damaged, or removed just now
            errors.append(error)
    return runs, errors


def open_side(which: str | Path, data: str | Path | None = None) -> Run:
    """A run by the name of a baseline, by id, by path, or the latest. Raises RunError where there is none."""
    return Run(*locate_side(which, data))
