"""Baselines: named copies of runs, to compare other runs with.

A baseline is a copy of a run (manifest, rows, resources, gauges, samples) in data/baselines/<name>/, of several runs
with the others in data/baselines/<name>/again/<run>/. Hard links are used if possible, so that it takes no space. It
stays after `perflib rm` of the run, and a CI job need only keep this folder. A change that is cut short is finished or
undone by the next command.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from perflib.errors import RunError
from perflib.store.compaction import finish
from perflib.store.lease import Lease, held
from perflib.store.manifest import FILE
from perflib.store.recording import Recording
from perflib.store.remote import folder_only
from perflib.store.runs import data_folder, delete, finish_removals, locate, strangers

_NAME: Final = re.compile(r"[A-Za-z0-9_][\w.-]{0,79}", re.ASCII)
_KEPT: Final = ("rows", "resources", "gauges", "samples", "journeys")
_AGAIN: Final = "again"  # the folder of further runs
# The ends of hidden names: a copy that is being written, one that is complete, and the baseline that it replaces.
_STEPS: Final = (".copy", ".ready", ".before")


def folder(data: str | Path | None = None) -> Path:
    return data_folder(data) / "baselines"


def set_baseline(name: str, runs: Recording | Sequence[Recording], data: str | Path | None = None) -> Recording:
    """Copy a run, or several of one version, to the baseline of this name, and replace an earlier one.

    Returns the first copy. Raises RunError for an invalid name, or for a run that is not complete or is damaged.
    """
    folder_only(data, "baseline set")
    if not _NAME.fullmatch(name) or name == "latest":
        raise RunError(
            f"{name!r} is not a valid name of a baseline", mend="use letters, digits, dots, dashes and underscores"
        )
    first, *others = [runs] if isinstance(runs, Recording) else runs
    for run in (first, *others):
        _check(run, name)
    parent = folder(data)
    parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for run in (first, *others):
            stack.enter_context(_unchanged(run))
        stack.enter_context(_named(parent, name))
        _recover(parent, name)
        copy, ready, before = (parent / f".{name}{end}" for end in _STEPS)
        _copy(Recording(first.path), copy)
        for run in others:
            _copy(Recording(run.path), copy / _AGAIN / run.id)
        copy.replace(ready)
        if (parent / name).exists():
            (parent / name).replace(before)
        ready.replace(parent / name)
        shutil.rmtree(before, ignore_errors=True)
    return Recording(parent / name)


def _check(run: Recording, name: str) -> None:
    """Raise RunError for a run that is not complete or is damaged."""
    if run.status != "complete":
        raise RunError(
            f"{run.id} is {run.status}", where=f"baseline {name}", mend="choose a run that is complete: perflib runs"
        )
    if run.damage:
        raise RunError("; ".join(run.damage), where=run.id, mend="choose another run: perflib runs")


def baselines(data: str | Path | None = None) -> dict[str, Recording]:
    """All baselines by name, of several runs the first, except those that cannot be read."""
    runs = {}
    recover(data)
    for path in sorted(folder(data).glob("[!.]*/run.json")):
        with contextlib.suppress(RunError):
            runs[path.parent.name] = Recording(path.parent)
    return runs


def further(path: Path) -> list[Path]:
    """The folders of a baseline's runs after the first, whose folder this is."""
    return sorted(each.parent for each in (path / _AGAIN).glob(f"[!.]*/{FILE}"))


def remove_baseline(name: str, data: str | Path | None = None) -> None:
    """Delete a baseline. Raises RunError if there is none of this name."""
    recover(data)
    path = folder(data) / name
    if not _NAME.fullmatch(name) or not path.is_dir():
        raise RunError(f"no baseline {name!r}", where=str(folder(data)), mend="list them: perflib baseline list")
    with _named(folder(data), name):
        if path.is_symlink() or (strange := next(strangers(path), None)):
            what = "it is a link" if path.is_symlink() else f"it has a file that perflib did not write: {strange!r}"
            raise RunError(what, where=str(path), mend="delete it yourself")
        delete(path)


def recover(data: str | Path | None = None) -> None:
    """Finish or undo each change of a baseline that was cut short, unless another process is making it just now."""
    parent = folder(data)
    for path in list(parent.glob(".*")):
        end = next((end for end in _STEPS if path.name.endswith(end)), None)
        if end is not None and path.is_dir():
            with contextlib.suppress(RunError, OSError):
                name = path.name[1:].removesuffix(end)
                with _named(parent, name):
                    _recover(parent, name)
    finish_removals(parent)


def _recover(parent: Path, name: str) -> None:
    """The baseline keeps its old content until the new one is complete, and has one of both at the end."""
    path = parent / name
    copy, ready, before = (parent / f".{name}{end}" for end in _STEPS)
    if not path.exists() and ready.exists():
        ready.replace(path)
    if not path.exists() and before.exists():
        before.replace(path)
    for left in (copy, ready, before):
        shutil.rmtree(left, ignore_errors=True)


def _copy(run: Recording, to: Path) -> None:
    """Copy the files of a run, without its spans, and read them back. Raises RunError, OSError."""
    files = [path for path, _ in run.parts if path.parent.name in _KEPT]
    for path in (run.path / FILE, *files):
        _keep(path, to / path.relative_to(run.path))
    damage = Recording(to).damage
    if damage:
        raise RunError("; ".join(damage), where=f"the copy of {run.id}", mend="set the baseline again")


@contextlib.contextmanager
def _unchanged(run: Recording) -> Iterator[None]:
    """Hold the lease of a run while it is copied. Where the folder cannot be written, nobody here can change it."""
    if not os.access(run.path, os.W_OK):
        yield
        return
    with held(run.path, "baseline", of=run.id):
        finish(run.path)
        yield


def _named(parent: Path, name: str) -> contextlib.AbstractContextManager[Lease]:
    """Hold the lease of the name of a baseline."""
    return held(parent, "baseline", file=f".{name}.lease", of=f"baseline {name}")


def locate_side(which: str | Path, data: str | Path | None = None) -> list[tuple[Path, str | None]]:
    """Like `runs.locate`, and also by the name of a baseline, with all its runs. Raises RunError if there is none."""
    recover(data)
    if isinstance(which, str) and _NAME.fullmatch(which) and (folder(data) / which / FILE).is_file():
        first = folder(data) / which
        return [(path, None) for path in (first, *further(first))]
    try:
        return [locate(which, data)]
    except RunError as error:
        if isinstance(which, str) and error.what.startswith("no run"):
            raise RunError(
                f"no run and no baseline {which!r}",
                where=error.where,
                mend="list them: perflib runs, perflib baseline list",
            ) from None
        raise


def _keep(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, to)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, to)
