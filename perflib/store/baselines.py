"""Baselines: named copies of runs, to compare other runs with.

A baseline is a copy of a run (manifest, rows, resources, gauges, samples) in data/baselines/<name>/. Hard links are
used if possible, so that it takes no space. It stays after `perflib rm` of the run, and a CI job need only keep this
folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from perflib.errors import RunError
from perflib.store.recording import Recording
from perflib.store.remote import folder_only
from perflib.store.runs import data_folder, locate

_NAME: Final = re.compile(r"[A-Za-z0-9_][\w.-]{0,79}", re.ASCII)
_KEPT: Final = ("run.json", "rows/*.parquet", "resources/*.parquet", "gauges/*.parquet", "samples/*.parquet")


def folder(data: str | Path | None = None) -> Path:
    return data_folder(data) / "baselines"


def set_baseline(name: str, run: Recording, data: str | Path | None = None) -> Recording:
    """Copy a run to the baseline of this name, and replace an earlier one.

    Raises RunError for an invalid name, or for a run that is not complete or is damaged.
    """
    folder_only(data, "baseline set")
    if not _NAME.fullmatch(name) or name == "latest":
        raise RunError(
            f"{name!r} is not a valid name of a baseline", mend="use letters, digits, dots, dashes and underscores"
        )
    if run.status != "complete":
        raise RunError(
            f"{run.id} is {run.status}", where=f"baseline {name}", mend="choose a run that is complete: perflib runs"
        )
    if run.damage:
        raise RunError("; ".join(run.damage), where=run.id, mend="choose another run: perflib runs")
    parent = folder(data)
    parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=parent))
    for path in (path for pattern in _KEPT for path in sorted(run.path.glob(pattern))):
        _keep(path, unfinished / path.relative_to(run.path))
    target = parent / name
    if target.exists():
        before = Path(tempfile.mkdtemp(prefix=".", suffix=".old", dir=parent))
        target.replace(before / "was")
        unfinished.replace(target)
        shutil.rmtree(before)
    else:
        unfinished.replace(target)
    target.chmod(0o755)
    return Recording(target)


def baselines(data: str | Path | None = None) -> dict[str, Recording]:
    """All baselines by name, except those that cannot be read."""
    runs = {}
    for path in sorted(folder(data).glob("[!.]*/run.json")):
        with contextlib.suppress(RunError):
            runs[path.parent.name] = Recording(path.parent)
    return runs


def remove_baseline(name: str, data: str | Path | None = None) -> None:
    """Delete a baseline. Raises RunError if there is none of this name."""
    if not _NAME.fullmatch(name) or not (folder(data) / name).is_dir():
        raise RunError(f"no baseline {name!r}", where=str(folder(data)), mend="list them: perflib baseline list")
    shutil.rmtree(folder(data) / name)


def locate_side(which: str | Path, data: str | Path | None = None) -> tuple[Path, str | None]:
    """Like `runs.locate`, and also by the name of a baseline. Raises RunError if there is none."""
    if isinstance(which, str) and _NAME.fullmatch(which) and (folder(data) / which / "run.json").is_file():
        return folder(data) / which, None
    try:
        return locate(which, data)
    except RunError as error:
        if isinstance(which, str) and error.what.startswith("no run"):
            raise RunError(
                f"no run and no baseline {which!r}",
                where=error.where,
                mend="list them: perflib runs, perflib baseline list",
            ) from None
        raise


def _keep(source: Path, to: Path) -> None:
    to.parent.mkdir(exist_ok=True)
    try:
        os.link(source, to)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, to)
