"""Values as TOML text: one line each, with escapes for characters that an editor may not show."""

from __future__ import annotations

import math
import re
import tomllib
from typing import Any, Final

import tomlkit

_DEEPEST: Final = 40


def toml(value: Any, depth: int = 0) -> str:
    """The value in one line of TOML; "" for values that TOML does not have, like null. Lists and tables omit them."""
    match value:
        case list() if depth <= _DEEPEST:
            return f"[{', '.join(filter(None, (toml(entry, depth + 1) for entry in value)))}]"
        case dict() if depth <= _DEEPEST:
            entries = {toml_key(str(key)): toml(entry, depth + 1) for key, entry in value.items()}
            inside = ", ".join(f"{key} = {entry}" for key, entry in entries.items() if entry)
            return f"{{ {inside} }}" if inside else "{}"
        case int() if abs(value) >= 2**63:
            return ""
        case float() if not math.isfinite(value):
            return ""
        case bool() | int() | float() | str():
            return _printable(tomlkit.item(value).as_string())
    return ""


def toml_key(key: str) -> str:
    """The key in TOML, without quotes if possible."""
    return _printable(tomlkit.key(key).as_string())


def is_exact(value: Any) -> bool:
    """Whether TOML has the value as it is: null, huge numbers and lone surrogates are lost in it."""
    try:
        return bool(tomllib.loads(f"value = {toml(value)}")["value"] == value)
    except (tomllib.TOMLDecodeError, RecursionError):
        return False


def _printable(toml_text: str) -> str:
    """The text as a TOML string, with escapes for characters that an editor may not show."""

    def escaped(match: re.Match[str]) -> str:
        character, code = match[0], ord(match[0])
        if 0xD800 <= code <= 0xDFFF:
            return "\ufffd"  # half of a surrogate pair, which cannot be written to a file
        return character if character.isprintable() else f"\\U{code:08x}"

    return re.sub(r"[^ -~]", escaped, toml_text)
