"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under another name beside it, then give it its own: no reader ever sees half of it. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)
