"""Filling {names} into requests, reading fields out of answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Row = Mapping[str, Any]
Text = Callable[[Row], str]
PLACEHOLDER = re.compile(r"\{\{[A-Za-z_]\w*\}\}|\{([A-Za-z_]\w*)\}")  # the first form is a literal {name}


class UnfilledError(Exception):
    """A request that cannot be built: nothing fills one of its names, or what does cannot be written."""


def variables_in(value: Any) -> set[str]:
    """Names in braces anywhere in a value: variables_in({"a": "{sku}-{n}"}) == {"sku", "n"}."""
    if isinstance(value, str):
        return {name for name in PLACEHOLDER.findall(value) if name}
    if isinstance(value, Mapping):
        return set().union(*(variables_in(k) | variables_in(v) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return set().union(*map(variables_in, value))
    return set()


def text_template(text: str, escape: Callable[[str], str] = str, escape_fixed: Callable[[str], str] = str) -> Text:
    """text_template("/items/{id}")({"id": 7}) == "/items/7". {{id}} stands for a literal {id}.

    escape         of what is filled in
    escape_fixed   of what stands between
    """
    fixed, names, at = [""], [], 0
    for match in PLACEHOLDER.finditer(text):
        fixed[-1] += text[at : match.start()]
        if match[1] is None:
            fixed[-1] += match[0][1:-1]
        else:
            names.append(match[1])
            fixed.append("")
        at = match.end()
    fixed[-1] += text[at:]
    fixed = [escape_fixed(part) for part in fixed]

    def fill(row: Row) -> str:
        pieces = [fixed[0]]
        for name, rest in zip(names, fixed[1:], strict=True):
            pieces += escape(str(row[name])), rest
        return "".join(pieces)

    return fill


def value_template(value: Any) -> Callable[[Row], Any]:
    """The same for any JSON value; a string that is one placeholder keeps the type of what fills it."""
    if isinstance(value, str):
        whole = PLACEHOLDER.fullmatch(value)
        if whole and whole[1]:
            name = whole[1]
            return lambda row: row[name]
        return text_template(value)
    if isinstance(value, Mapping):
        items = [(value_template(k), value_template(v)) for k, v in value.items()]
        return lambda row: {key(row): item(row) for key, item in items}
    if isinstance(value, list | tuple):
        entries = [value_template(v) for v in value]
        return lambda row: [entry(row) for entry in entries]
    return lambda row: value
