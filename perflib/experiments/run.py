"""`perflib.run`: checks a suite, runs it, and returns the Run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perflib.load import interrupts
from perflib.load.preflight import check
from perflib.load.progress import View
from perflib.load.session import Session, Turns
from perflib.load.stop_rules import StopRule
from perflib.notebook.panel import view
from perflib.store import metadata
from perflib.suite.file import load_suite, select
from perflib.suite.model import Scenario, Suite

if TYPE_CHECKING:
    from perflib.formats.live import Exporter
    from perflib.verdicts.run import Run


def run(
    suite: Suite | str | Path = "acceptance",
    *,
    only: Sequence[str] = (),
    quick: bool = False,
    data: str | Path | None = None,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    progress: bool = True,
    command: str | None = None,
    client: Any = None,
    exporter: Exporter | None = None,
) -> Run:
    """Run a suite and return its Run. `status` says whether it is complete, `verdicts()` judges it.

    >>> made = perflib.run(suite)                          # a Suite, a built-in name, or a file like "checkout.toml"
    >>> made.status, len(made.verdicts())
    ('complete', 2)
    >>> made.rows("browse", columns=["operation", "ok"]).shape[1]
    2
    >>> shorter = perflib.run(suite, quick=True, seed=7)

    client: of a Dask cluster (`distributed.Client`, direct_to_workers=True), whose workers generate the load.
    data: the folder of the runs, or the URL of an object store, like "s3://bucket/prefix".
    exporter: shows the run's metrics while it is going on, see `perflib.formats.live`.

    Raises SuiteError for an invalid suite and RunError for a store that cannot be used, before anything is started. An
    interrupt ends the load, keeps the rows, and is raised again (KeyboardInterrupt) when the run directory is complete.
    The Stop button of the live panel ends the load in the same way, and the Run is returned with status "interrupted".
    """
    chosen = (
        select(suite, only=only, quick=quick)
        if isinstance(suite, Suite)
        else load_suite(suite, overrides=list(overrides), only=list(only), quick=quick)
    )
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    source = None if isinstance(suite, Suite) else str(suite)
    command = command or metadata.python_call(source, only, quick, seed, overrides)
    return make(chosen, data=data, command=command, quick=quick, progress=progress, client=client, exporter=exporter)


def make(
    suite: Suite,
    *,
    data: str | Path | None,
    command: str,
    quick: bool,
    progress: bool,
    turns: Turns | None = None,
    client: Any = None,
    repeat: tuple[str, int] | None = None,
    exporter: Exporter | None = None,
) -> Run:
    """Check a suite, run it and return its Run. See `run`."""
    check(suite)

    def watched(folder: Path) -> View:
        shown = view(folder, show=progress)
        return exporter.follow(shown, folder, suite.name) if exporter is not None else shown

    session = Session(suite, data, command, quick, watched, _limit_search, turns, client, repeat)
    with interrupts.raised():
        try:
            session.go()
        except KeyboardInterrupt:
            if not session.view.stopped:
                raise
        finally:
            session.end()
    from perflib.metrics import parts  # what judges a run is loaded when its load is over
    from perflib.verdicts.run import Run

    made = Run(session.dir.path)
    parts.measure_in_advance(made)
    return made


def _limit_search(scenario: Scenario, folder: Path) -> Sequence[StopRule]:
    if scenario.load.model != "steps":
        return []
    from perflib.experiments.limit_search import LimitSearch

    return [LimitSearch(scenario, folder)]
