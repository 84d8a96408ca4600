"""All runs: their folder and ids, and how a run is located, opened and deleted."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perflib.errors import NoRunError, RunError
from perflib.store import remote
from perflib.store.lease import held
from perflib.store.manifest import FILE
from perflib.store.recording import Recording
from perflib.suite.variants import SIDES

# The files that perflib writes in the folder of a run, and those of an unfinished write.
_OURS: Final = re.compile(
    r"run\.json|\.run\.json\.[\w.]+|\.lease\.json[\w.]*|\.spool|\.fetched\.json|logs/[^/]+\.log"
    r"|(rows|resources|spans|gauges|samples)/\.?part-[\w.-]+(\.parquet|\.tmp)|counts/\.?[\w.-]+\.(json|parquet|tmp)",
    re.ASCII,
)
_FURTHER: Final = re.compile(r"again/[^/]+/", re.ASCII)  # where a baseline of several runs has the others
_REMOVED: Final = ".removed"  # the end of a folder's name while it is being deleted


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
    finish_removals(folder)
    if which == "latest":
        known = run_ids(data)
        if not known:
            where = str(data if remote.is_url(data) else folder)
            raise NoRunError("there are no runs", where=where, mend="create one: perflib run")
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
    folder = data_folder(data) / "runs"
    finish_removals(folder)
    return [
        path.parent.name
        for path in sorted(
            folder.glob(f"[!.]*/{FILE}"), key=lambda p: (p.parent.name[:15], p.parent.stat().st_ctime_ns)
        )
    ]


def remove_run(which: str, data: str | Path | None = None) -> Recording:
    """Delete a run.

    Raises RunError if it is in progress or in use, if it is one side of an A/B test, if it is not in the folder of the
    runs, or if its folder has files that perflib did not write.
    """
    remote.folder_only(data, "rm")
    path, side = locate(which, data)
    runs = data_folder(data) / "runs"
    if side is not None:
        whole = which.rpartition("@")[0]
        raise RunError(
            "one side of an A/B test cannot be removed", where=which, mend=f"remove both: perflib rm {whole}"
        )
    if path.is_symlink() or path.resolve().parent != runs.resolve():
        raise RunError(
            "this folder is not among the runs, and is left as it is", where=str(path), mend="name its --data folder"
        )
    run = Recording(path)
    if run.status == "running":
        raise RunError(f"{run.id} is still running", mend="stop it first")
    with held(path, "rm", of=run.id):
        if strange := next(strangers(path), None):
            raise RunError(
                f"the folder has a file that perflib did not write: {strange!r}",
                where=str(path), mend="move that file elsewhere, or delete the folder yourself",
            )  # fmt: skip
        delete(path)
    return run


def strangers(folder: Path) -> Iterator[str]:
    """The files below a folder that are not those of a run, and its links, by their paths in it."""
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(base, name)
            place = _FURTHER.sub("", path.relative_to(folder).as_posix())
            if path.is_symlink() or (name in files and not _OURS.fullmatch(place)):
                yield place


def delete(folder: Path) -> None:
    """Delete the folder of a run. It loses its name first, so that a part of a run is never taken for a run."""
    gone = folder.with_name(f".{folder.name}{_REMOVED}")
    shutil.rmtree(gone, ignore_errors=True)
    folder.replace(gone)
    shutil.rmtree(gone)


def finish_removals(parent: Path) -> None:
    """Finish each `delete` in this folder that was cut short."""
    for gone in parent.glob(f".*{_REMOVED}"):
        if gone.is_dir() and not gone.is_symlink() and not any(strangers(gone)):
            shutil.rmtree(gone, ignore_errors=True)
