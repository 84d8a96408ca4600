"""What a notebook takes: the parameters it declares, each with its type, checked before anything is executed.

A parameter is a line of the cell tagged `parameters`, in papermill's own notation, which `papermill --help-notebook` prints:

    scenario = None  # type: str|None  a scenario's name, or None for the first one
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from perflib.errors import SuiteError


def declared(notebook: Path) -> dict[str, str]:
    """The type of each parameter, as it is written; "None" where none is."""
    import papermill

    return {name: str(about["inferred_type_name"]) for name, about in papermill.inspect_notebook(str(notebook)).items()}


def check(notebook: Path, given: Mapping[str, Any]) -> None:
    """Raises SuiteError for a parameter that is not declared, or whose value is not of its type."""
    known = declared(notebook)
    listed = ", ".join(f"{name} ({kind})" for name, kind in known.items())
    for name, value in given.items():
        if name not in known:
            raise SuiteError(
                f"notebook {notebook.stem} has no parameter {name!r}", where=str(notebook), mend=f"known: {listed}"
            )
        if not _fits(value, known[name]):
            raise SuiteError(
                f"parameter {name!r} of notebook {notebook.stem} is {value!r}, not {known[name]}",
                where=str(notebook),
                mend=f"known: {listed}",
            )


def _fits(value: Any, kind: str) -> bool:
    """Strictly: no text for a number, no number for a text; a whole number is a float too."""
    if kind == "None":
        return True
    try:
        # The notebook's own text, which is code that is about to be executed anyway.
        TypeAdapter(eval(kind), config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        return False
    except (NameError, SyntaxError, TypeError):
        raise SuiteError(
            f"{kind!r} is no type", where="a notebook's parameters", mend="write it like str|None"
        ) from None
    return True
