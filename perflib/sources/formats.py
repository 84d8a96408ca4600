"""The formats that `perflib init` reads: the one list to which a further one is added.

Each format is one file with a `FORMAT`. Those of other packages are found in the entry point group `perflib.sources`.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points
from pathlib import Path

from perflib.errors import SuiteError
from perflib.sources import access_log, curl, function, har, mcp, openapi, postman, replay
from perflib.sources.format import Format
from perflib.sources.given import Given
from perflib.sources.writer import Written

_OWN = (openapi, har, postman, curl, access_log, replay, function, mcp)  # asked in this order


@functools.cache
def formats() -> dict[str, Format]:
    """All formats by name, those of other packages last."""
    own = [module.FORMAT for module in _OWN]
    others = [entry.load() for entry in entry_points(group="perflib.sources")]
    return {each.name: each for each in (*own, *others)}


def suite_of(given: Given, name: str | None = None) -> tuple[Format, Written]:
    """The suite, and the format that it is made from: the one of this name, or the first that recognises it.

    Raises SuiteError.
    """
    known = formats()
    if name is not None and name not in known:
        raise SuiteError(f"no format {name!r}", where="--from", mend=f"formats are {', '.join(known)}")
    chosen = known[name] if name else next((each for each in known.values() if each.recognises(given)), None)
    if chosen is None:
        raise _unknown(given, known)
    return chosen, chosen.write(given)


def _unknown(given: Given, known: dict[str, Format]) -> SuiteError:
    first = given.words[0]
    if given.is_file:
        titles = "; ".join(f"{name}: {each.title}" for name, each in known.items())
        return SuiteError("the format is not recognised", where=given.name, mend=f"name it with --from ({titles})")
    if Path(first).is_dir():
        return SuiteError("a folder", where=first, mend="name a file in it")
    mend = "give a file, a URL or command of an MCP server, or module:function"
    return SuiteError("no such file or command", where=first, mend=mend)
