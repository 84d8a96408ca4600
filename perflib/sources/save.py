"""Writes the file of a suite, and never over another one."""

from __future__ import annotations

from pathlib import Path

from perflib.errors import SuiteError


def must_be_new(path: Path) -> None:
    """Raise SuiteError if the file exists."""
    if path.exists():
        raise SuiteError("there is such a file already", where=str(path), mend="choose another file, or delete it")


def save_new(text: str, path: Path) -> None:
    """Write a new file. Raises SuiteError if it exists or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        must_be_new(path)
        raise
    except OSError as error:
        mend = "choose another file"
        raise SuiteError(f"cannot write it: {error.strerror}", where=str(path), mend=mend) from None
