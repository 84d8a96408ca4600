"""What comes with perflib beside its code, the notebooks and the example shop; and the user's own copies of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from perflib.errors import ReportError, SuiteError


def shipped(name: str) -> Path:
    """A folder that comes with perflib: inside the package once it is installed, beside it in a checkout.

    Raises ReportError if it is missing.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise ReportError(f"{name} is missing in perflib", where=str(package), mend="install perflib-workbench again")


def copy(files: Iterable[Path], folder: Path, *, force: bool = False) -> list[Path]:
    """Put copies of files into a folder, which is made. Raises SuiteError before it overwrites any file."""
    if folder.exists() and not folder.is_dir():
        raise SuiteError("this is a file", where=str(folder), mend="name a folder")
    copies = {folder / path.name: path for path in files}
    existing = [path for path in copies if os.path.lexists(path)]
    if existing and not force:
        others = f", and so do {len(existing) - 1} more" if len(existing) > 1 else ""
        mend = "--force overwrites, or name another folder"
        raise SuiteError(f"exists already{others}", where=str(existing[0]), mend=mend)
    folder.mkdir(parents=True, exist_ok=True)
    for path, source in copies.items():
        path.write_bytes(source.read_bytes())  # and not its mode: what is installed may be read-only
    return list(copies)
