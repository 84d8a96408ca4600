"""Which run is meant by "latest" where not every run will do: the latest that fits.

    latest("steps", data)      id of the latest run with a load that rises in steps
    latest_two(data)           the ids of the latest two runs of one suite, one side each

Only run.json is read for this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perflib.errors import NoRunError, PerflibError
from perflib.metrics.capacity import is_search
from perflib.metrics.overhead import is_ladder
from perflib.store.recording import Recording, ScenarioRun
from perflib.store.runs import open_recording, run_ids


@dataclass(frozen=True)
class Need:
    """What a run must have: in words, the command that makes such a run, and whether one scenario of it does."""

    words: str
    command: str
    fits: Callable[[ScenarioRun], bool]

    def met_by(self, run: Recording) -> bool:
        """Whether one of its scenarios does."""
        return any(self.fits(scenario) for scenario in run.scenarios)


NEEDS: Final = {
    "requests": Need("a load that was started", "perflib run", lambda scenario: scenario.record.start_ns is not None),
    "steps": Need("a load that rises in steps", "perflib run capacity", is_search),
    "ladder": Need("every way to call the reference service", "perflib run overhead", is_ladder),
}


def latest(having: str, data: str | Path | None = None) -> str:
    """The id of the latest run with what is needed, a key of NEEDS: a complete one, else any.

    Raises NoRunError where there is none.
    """
    need, unfinished = NEEDS[having], None
    for run in _newest_first(data):
        if need.met_by(run):
            if run.status == "complete":
                return run.id
            unfinished = unfinished or run.id
    if unfinished is not None:
        return unfinished
    raise NoRunError(f"there is no run with {need.words} yet", mend=f"make one: {need.command}")


def latest_two(data: str | Path | None = None, *, before: Sequence[Recording] = ()) -> tuple[str, str]:
    """Base and candidate: the latest complete run of a suite that has an earlier one, and that earlier one first.

    before: the candidate, where it is known. The runs of one `perflib run --repeat` are one side. Raises NoRunError
    where no suite was run twice.
    """
    later = {_suite(run): run for run in before}
    for run in _newest_first(data):
        if run.status != "complete" or run.manifest.ab is not None:
            continue
        if _suite(run) not in later and not before:
            later[_suite(run)] = run
        elif (after := later.get(_suite(run))) and _group(run) != _group(after) and _when(run) < _when(after):
            return run.id, after.id
    what = f"there is no earlier run of {before[0].suite.name}" if before else "there are no two runs of one suite yet"
    raise NoRunError(what, mend="make one before and one after your change: perflib run SUITE")


def _newest_first(data: str | Path | None) -> Iterator[Recording]:
    """The runs whose manifest and suite can be read."""
    for name in reversed(run_ids(data)):
        try:
            run = open_recording(name, data, rows=False)
            _ = run.suite
        except PerflibError:  # damaged, of another version, or removed just now
            continue
        yield run


def _suite(run: Recording) -> tuple[str, bool]:
    """What the runs of one suite share."""
    return run.suite.name, run.manifest.quick


def _when(run: Recording) -> str:
    """ISO 8601, always in UTC, so that an earlier one is less."""
    return run.manifest.started_at


def _group(run: Recording) -> str:
    """What the runs of one `perflib run --repeat` share."""
    return run.manifest.repeat.first if run.manifest.repeat else run.id
