"""All runs: their folder and ids, and how a run is located, opened and deleted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from perflib.errors import RunError
from perflib.store import remote
from perflib.store.manifest import FILE
from perflib.store.recording import Recording
from perflib.suite.variants import SIDES


def data_folder(data: str | Path | None = None) -> Path:
    """The folder of the runs: as given, or data/ in the working directory, or data/ beside notebooks/ in a notebook.

    For a URL, the local folder that mirrors it.
    """
    if remote.is_url(data):
        return remote.cache(data)
    if data is not None:
        return Path(data)
    here = Path.cwd()
    return Path("..", "data") if here.name == "notebooks" else Path("data")


def locate(
    which: str | Path = "latest", data: str | Path | None = None, *, rows: bool = True
) -> tuple[Path, str | None]:
    """The folder of a run (by id, by path, or the latest), and the side of an A/B test if @a or @b follows.

    data: a folder, or a URL; for a URL, missing files of the run are downloaded first, only run.json if `rows` is
    False. Raises RunError if there is no such run.
    """
    whole, at, side = str(which).rpartition("@")
    if at and side in SIDES and not Path(which).is_dir():
        return locate(whole, data, rows=rows)[0], side
    if isinstance(which, Path) or os.sep in which or (Path(which) / FILE).is_file():
        return Path(which), None
    folder = data_folder(data) / "runs"
    if which == "latest":
        known = run_ids(data)
        if not known:
            where = str(data if remote.is_url(data) else folder)
            raise RunError("there are no runs", where=where, mend="create one: perflib run")
        which = known[-1]
    if remote.is_url(data):
        remote.Store(data).fetch(which, folder / which, rows=rows)
    if not (folder / which / FILE).is_file():
        raise RunError(f"no run {which!r}", where=str(folder), mend="list them: perflib runs")
    return folder / which, None


def open_recording(which: str | Path = "latest", data: str | Path | None = None, *, rows: bool = True) -> Recording:
    """A run by id, by path, or the latest; with @a or @b one side of an A/B test. Arguments and errors: `locate`."""
    return Recording(*locate(which, data, rows=rows))


def run_ids(data: str | Path | None = None) -> list[str]:
    """The ids of all runs, oldest first."""
    if remote.is_url(data):
        return remote.Store(data).ids()
    return [
        path.parent.name
        for path in sorted(
            (data_folder(data) / "runs").glob(f"*/{FILE}"),
            key=lambda p: (p.parent.name[:15], p.parent.stat().st_ctime_ns),
        )
    ]


def remove_run(which: str, data: str | Path | None = None) -> Recording:
    """Delete a run. Raises RunError if it is still in progress."""
    remote.folder_only(data, "rm")
    run = open_recording(which, data)
    if run.status == "running":
        raise RunError(f"{run.id} is still running", mend="stop it first")
    shutil.rmtree(run.path)
    return run
