"""Names in braces: which texts have them, and how they are written.

{name}          the value of that name, encoded as its place needs it
{name|raw}      the same, not encoded
{name|form}     what perflib makes itself, in this form: {now|unix}, {random|1..100}
{{name}}        a literal {name}, and so is {{name|form}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

RAW: Final = "raw"
RAW_PATH: Final = re.compile(rf"(?:\$\{{\w+\}}|\{{[A-Za-z_]\w*\|{RAW}\}})")  # begins a path that a value begins
_NAME: Final = r"[A-Za-z_]\w*(?:\|[^{}\r\n]*)?"
PLACEHOLDER: Final = re.compile(rf"\{{\{{({_NAME})\}}\}}|(?<!\$)\{{({_NAME})\}}")  # the first form is a literal
_SINGLE: Final = re.compile(rf"\{{({_NAME})\}}")


def variables_in(value: Any) -> set[str]:
    """What is in braces anywhere in a value: variables_in({"a": "{sku}-{n|raw}-{now|unix}"}) has sku, n, now|unix."""
    if isinstance(value, str):
        return {value_name(name) for _, name in PLACEHOLDER.findall(value) if name}
    if isinstance(value, Mapping):
        return set().union(*(variables_in(k) | variables_in(v) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return set().union(*map(variables_in, value))
    return set()


def value_name(written: str) -> str:
    """The name under which a row has the value of what is written in braces."""
    return written.removesuffix(f"|{RAW}")


def literal(text: str) -> str:
    """A template that yields the text: its braces are doubled where they would be filled in."""
    return _SINGLE.sub(r"{{\1}}", text)
