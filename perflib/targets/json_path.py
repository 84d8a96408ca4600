"""JSON paths: `$.items[0].id` is read here, quickly; what RFC 9535 allows besides is left to a library."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from perflib.errors import SuiteError

Finder = Callable[[Any], Any]
MISSING: Final = object()  # what a path yields that leads nowhere
_PLAIN: Final = re.compile(r"\$(\.[^.\[\]*?@'\"\s]+|\[-?\d+\])*")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(-?\d+)\]")


def json_path(path: str) -> Finder:
    """A function that finds the path's value in a JSON value: the first, where the path fits several; else MISSING.

    Raises SuiteError for what is no path.
    """
    if _PLAIN.fullmatch(path):
        return _plain([int(index) if index else key for key, index in _STEP.findall(path)])
    compiled = _compiled(path)

    def find(value: Any) -> Any:
        if not isinstance(value, Mapping | list):
            return MISSING
        match = compiled.match(value)
        return MISSING if match is None else match.obj

    return find


def json_values(path: str) -> Finder:
    """The same, which finds all values that the path fits, as a list; MISSING in what is no JSON object or list."""
    compiled = _compiled(path)
    return lambda value: compiled.findall(value) if isinstance(value, Mapping | list) else MISSING


def _compiled(path: str) -> Any:
    import jsonpath

    try:
        return jsonpath.compile(path, strict=True)
    except jsonpath.JSONPathError as error:
        what, mend = f"cannot read path {path!r}: {error}", 'write it like "$.id" or "$.items[?@.open].id"'
        raise SuiteError(str(what).splitlines()[0], mend=mend) from None


def _plain(steps: list[str | int]) -> Finder:
    def find(value: Any) -> Any:
        for step in steps:
            if not isinstance(value, list if isinstance(step, int) else Mapping):
                return MISSING
            try:
                value = value[step]  # type: ignore[index]
            except (KeyError, IndexError):
                return MISSING
        return value

    return find


def equals(found: Any, wanted: Any) -> bool:
    """Whether two JSON values are the same. true is not 1, and 1 is 1.0."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(wanted, Mapping):
        same_keys = isinstance(found, Mapping) and found.keys() == wanted.keys()
        return same_keys and all(equals(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list | tuple):
        same_length = isinstance(found, list | tuple) and len(found) == len(wanted)
        return same_length and all(map(equals, found, wanted))
    return bool(found == wanted)
