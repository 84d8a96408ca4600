"""What a notebook takes: the parameters it declares, each with its type, checked before anything is executed.

A parameter is a line of the cell tagged `parameters`, in papermill's notation, and `papermill --help-notebook` prints
it:

    scenario = None  # type: str|None  a scenario's name, or None for the first one
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from perflib.errors import SuiteError
from perflib.report.notebooks import read


def declared(notebook: Path) -> dict[str, str]:
    """The type of each parameter, as it is written; "None" where none is."""
    tagged = next((cell for cell in read(notebook).cells if "parameters" in cell.metadata.get("tags", ())), None)
    if tagged is None:
        return {}
    from papermill.translators import PythonTranslator

    return {found.name: str(found.inferred_type_name) for found in PythonTranslator.inspect(tagged)}


def asked_for(**parameters: Any) -> dict[str, Any]:
    """Without those that were not asked for, which are None or False: the notebook's own defaults hold for them."""
    return {name: value for name, value in parameters.items() if value is not None and value is not False}


def check(notebook: Path, given: Mapping[str, Any]) -> None:
    """Raises SuiteError for a parameter that is not declared, or whose value is not of its type."""
    known = check_names(notebook, given)
    for name, value in given.items():
        if not _fits(value, known[name], notebook):
            raise SuiteError(
                f"parameter {name!r} of notebook {notebook.stem} is {value!r}, not {known[name]}",
                where=str(notebook),
                mend=f"known: {_listed(known)}",
            )


def check_names(notebook: Path, names: Iterable[str]) -> dict[str, str]:
    """The parameters that are declared, with their types. Raises SuiteError if one of these names is not among them."""
    known = declared(notebook)
    for name in names:
        if name not in known:
            mend = f"known: {_listed(known)}" if known else 'no cell that sets some has the tag "parameters"'
            raise SuiteError(f"notebook {notebook.stem} has no parameter {name!r}", where=str(notebook), mend=mend)
    return known


def _listed(known: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in known.items())


def _fits(value: Any, kind: str, notebook: Path) -> bool:
    """Strictly: no text for a number, no number for a text; a whole number is a float too."""
    if kind == "None":
        return True
    try:
        # The notebook's own text, which is code that is about to be executed anyway.
        TypeAdapter(eval(kind), config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        return False
    except (NameError, SyntaxError, TypeError, AttributeError, PydanticUserError):
        raise SuiteError(f"{kind!r} is no type", where=str(notebook), mend="write it like str|None") from None
    return True
