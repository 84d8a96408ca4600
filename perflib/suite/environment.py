"""${NAME} in a suite: values that are read from the environment and never stored."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from perflib.errors import SuiteError

READ: Final[dict[str, str]] = {}  # the variables that this process has read, so that secrets are known as such
VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def from_environment(text: str, where: str) -> str:
    """Fill in ${NAME} from the environment. Raises SuiteError if a variable is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise SuiteError(f"environment variable {match[1]} is not set", where=where, mend=f"export {match[1]}=…")
        READ[match[1]] = os.environ[match[1]]
        return READ[match[1]]

    return VARIABLE.sub(value, text)


def filled_from_environment(value: Any, where: str) -> Any:
    """The same for the texts anywhere in a value, names of fields left as they are."""
    if isinstance(value, str):
        return from_environment(value, where)
    if isinstance(value, Mapping):
        return {name: filled_from_environment(each, where) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [filled_from_environment(each, where) for each in value]
    return value
