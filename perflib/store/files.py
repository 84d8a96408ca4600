"""Atomic writing of files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, text: str | Iterable[str], *, durable: bool = False) -> None:
    """Write a file under a temporary name and rename it, so that readers never see half of it. Raises OSError.

    The temporary name contains the process id, so that two processes can write the same file.
    text: whole, or in pieces
    durable: return only when it is on disk, under its name
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines([text] if isinstance(text, str) else text)
        if durable:
            sync(unfinished)
        unfinished.replace(path)
        if durable:
            sync(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk. Some systems cannot do so for folders."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder, on Windows
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)
