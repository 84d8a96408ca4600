"""Caches for results computed from a run's rows: in the Run object and, if there are many rows, on disk in counts/.

That folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from perflib.store.files import write_atomically

VERSION: Final = 5  # version of the cached data; data of another version is computed again

_Owner = TypeVar("_Owner")
_Found = TypeVar("_Found")
_Given = ParamSpec("_Given")


def once(find: Callable[Concatenate[_Owner, _Given], _Found]) -> Callable[Concatenate[_Owner, _Given], _Found]:
    """Cache what a function returns of an object and these arguments, on that object, for as long as it lives."""

    @wraps(find)
    def found(owner: _Owner, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
        cached, key = vars(owner).setdefault("_cached", {}), (find, *args, *kwargs.items())
        if key not in cached:
            cached[key] = find(owner, *args, **kwargs)
        return cast(_Found, cached[key])

    return found


@cache
def code() -> str:
    """A fingerprint of this package's code: results of other code are computed again."""
    return stamp(sorted(Path(__file__).parents[1].rglob("*.py")))


def stamp(files: Iterable[Path], *about: Any) -> str:
    """A fingerprint of files, and of other values on which results depend."""
    versions = []
    for path in files:
        status = path.stat()
        versions.append((path.name, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr((VERSION, versions, about)).encode()).hexdigest()[:16]


def load_or_compute(
    run_dir: Path, name: str, fingerprint: str, compute: Callable[[], Any], store_if: Callable[[Any], bool]
) -> Any:
    """The result of `compute` (JSON), from the cache if it has one with this fingerprint.

    A new result is stored if `store_if` returns true of it and the folder can be written. It replaces older ones of
    this name.
    """
    file = run_dir / "counts" / f"{name}-{fingerprint}.json"
    with suppress(OSError, ValueError):
        return json.loads(file.read_text("utf-8"))
    result = compute()
    if store_if(result) and not file.parent.is_symlink():  # the folder of somebody else's run may lead anywhere
        with suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, json.dumps(result))
            for old in file.parent.glob(f"{name}-*.json"):
                if old != file:
                    old.unlink(missing_ok=True)
    return result
