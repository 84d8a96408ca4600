"""What was found in a run's rows is found once: for a Run object, and of many rows for whoever asks next, beside them
in counts/.

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

VERSION: Final = 4  # of what is kept; what another version kept is found anew

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
    """A fingerprint of this package as it is: what other code has computed is computed anew."""
    return stamp(sorted(Path(__file__).parents[1].rglob("*.py")))


def stamp(files: Iterable[Path], *about: Any) -> str:
    """A fingerprint of files as they are, and of what else the findings hang on."""
    each = []
    for path in files:
        seen = path.stat()
        each.append((path.name, seen.st_size, seen.st_mtime_ns))
    return hashlib.sha256(repr((VERSION, each, about)).encode()).hexdigest()[:16]


def kept(run_dir: Path, name: str, of: str, find: Callable[[], Any], worth: Callable[[Any], bool]) -> Any:
    """What `find` gives (JSON), or gave when it was last asked of the same; kept where it is worth it and the folder
    can be written, in place of what had this name."""
    file = run_dir / "counts" / f"{name}-{of}.json"
    with suppress(OSError, ValueError):
        return json.loads(file.read_text("utf-8"))
    found = find()
    if worth(found):
        with suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, json.dumps(found))
            for old in file.parent.glob(f"{name}-*.json"):
                if old != file:
                    old.unlink(missing_ok=True)
    return found
