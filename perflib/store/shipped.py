"""What comes with perflib beside its code, the notebooks and the example shop; and the user's own copies of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
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


def copy(texts: Mapping[str, str], folder: Path, *, force: bool = False) -> list[Path]:
    """Write files, by their names, into a folder, which is made. Raises SuiteError before it overwrites any file."""
    if folder.exists() and not folder.is_dir():
        raise SuiteError("this is a file", where=str(folder), mend="name a folder")
    copies = {folder / name: text for name, text in texts.items()}
    existing = [path for path in copies if os.path.lexists(path)]
    if existing and not force:
        others = f", and so do {len(existing) - 1} more" if len(existing) > 1 else ""
        mend = "--force overwrites, or name another folder"
        raise SuiteError(f"exists already{others}", where=str(existing[0]), mend=mend)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in copies.items():
        path.write_text(text, "utf-8")  # and not the mode of the original: what is installed may be read-only
    return list(copies)
