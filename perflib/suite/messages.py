"""Pydantic's first complaint as one line: file, key, what is wrong, how to mend it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from perflib.errors import SuiteError

_UNION_TAGS = ("str", "int", "float", "callable", "dict", "ErrorBurst")


def one_line(error: ValidationError, where: str, tables: Mapping[str, type]) -> SuiteError:
    """The first error in our words. `tables`: the dataclass behind each key that holds a table; "" is the outermost."""
    first = error.errors()[0]
    loc = [
        part
        for part in first["loc"]
        if isinstance(part, int) or not (part in _UNION_TAGS or "[" in part or part.startswith("function-"))
    ]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    place = f"{where}: {key}" if key else where
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, SuiteError):
        return SuiteError(inner.what, where=f"{place}: {inner.where}" if inner.where else place, mend=inner.mend)
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = fields_at(loc, tables)
        close = difflib.get_close_matches(str(loc[-1]), known, n=1)
        mend = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return SuiteError(f"unknown key {loc[-1]!r}", where=place, mend=mend)
    if first["type"] in ("missing", "missing_argument"):
        return SuiteError(f"{loc[-1]!r} is missing", where=place, mend=f"add {loc[-1]} = …")
    message = first["msg"][0].lower() + first["msg"][1:]
    return SuiteError(
        message.replace("input should be", "must be"), where=place, mend=f"found {_short(first.get('input'))}"
    )


def fields_at(loc: list[int | str], tables: Mapping[str, type]) -> list[str]:
    """The keys that the table at that place may have."""
    held = [part for part in loc[:-1] if isinstance(part, str) and part in tables]
    fields: Mapping[str, Any] = tables[held[-1] if held else ""].__dataclass_fields__  # type: ignore[attr-defined]
    return [{"from_per_s": "from", "to_per_s": "to"}.get(name, name) for name in fields if name != "folder"]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
