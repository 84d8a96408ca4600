"""${NAME} in a suite: values that are read from the environment and never stored."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from perflib.errors import SuiteError
from perflib.suite.placeholders import literal

READ: Final[dict[str, str]] = {}  # the variables that this process has read, so that secrets are known as such
VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def from_environment(text: str, where: str) -> str:
    """Fill in ${NAME} from the environment. Raises SuiteError if a variable is not set."""
    return _filled(text, where, str)


def filled_from_environment(value: Any, where: str) -> Any:
    """The same anywhere in a request, whose {names} are filled in later; those in the environment stay as they are.

    ${{NAME}} stands for a literal ${NAME}.
    """
    if isinstance(value, str):
        return _filled(value, where, literal)
    if isinstance(value, Mapping):
        return {
            filled_from_environment(key, where): filled_from_environment(entry, where) for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [filled_from_environment(entry, where) for entry in value]
    return value


def _filled(text: str, where: str, written: Callable[[str], str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            mend = f"export {name}=…" + (f", or write ${{{{{name}}}}} for literal text" if written is literal else "")
            raise SuiteError(f"environment variable {name} is not set", where=where, mend=mend)
        READ[name] = os.environ[name]
        return written(READ[name])

    return VARIABLE.sub(value, text)
