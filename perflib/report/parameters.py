"""What a notebook takes: the parameters it declares, each with its type, checked before anything is executed, and
once more in the kernel for a notebook that papermill executes by hand.

A parameter is a line of the cell tagged `parameters`, in papermill's notation, and `papermill --help-notebook` prints
it:

    scenario = None  # type: str|None  a scenario's name, or None for the first one
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from perflib.errors import SuiteError
from perflib.report.notebooks import read

_TYPED: Final = "# type: "
_PLAIN: Final = (str, int, float, bool, list, dict, type(None))  # what a parameter can be
_INJECTED: Final = "# Parameters\n"  # papermill's first line of the cell with the values that it was given


def declared(notebook: Path) -> dict[str, str]:
    """The type of each parameter, as it is written; "None" where none is."""
    tagged = next((cell for cell in read(notebook).cells if "parameters" in cell.metadata.get("tags", ())), None)
    return {} if tagged is None else _declared_by(tagged.source)


def _declared_by(source: str) -> dict[str, str]:
    from nbformat import NotebookNode
    from papermill.translators import PythonTranslator

    cell: Any = NotebookNode(source=source)  # type: ignore[no-untyped-call]
    return {found.name: str(found.inferred_type_name) for found in PythonTranslator.inspect(cell)}


def asked_for(**parameters: Any) -> dict[str, Any]:
    """Without those that were not asked for, which are None or False: the notebook's own defaults hold for them."""
    return {name: value for name, value in parameters.items() if value is not None and value is not False}


def check(notebook: Path, given: Mapping[str, Any]) -> None:
    """Raises SuiteError for a parameter that is not declared, or whose value is not of its type."""
    known = check_names(notebook, given)
    for name, value in given.items():
        if not _fits(value, known[name], str(notebook)):
            raise SuiteError(
                f"parameter {name!r} of notebook {notebook.stem} is {value!r}, not {known[name]}",
                where=str(notebook),
                mend=f"known: {_listed(known)}",
            )


def check_cells(cells: Sequence[str], values: Mapping[str, Any]) -> None:
    """In a kernel: check the values of the parameters that one of its executed cells declares with their types.

    Raises SuiteError as `check` does.
    """
    source = next((cell for cell in cells if _TYPED in cell), None)
    if source is None:
        return
    known = _declared_by(source)
    for cell in cells:
        given = _assigned(cell) if cell.startswith(_INJECTED) else []
        if unknown := next((name for name in given if name not in known), None):
            raise SuiteError(f"this notebook has no parameter {unknown!r}", mend=f"known: {_listed(known)}")
    for name, kind in known.items():
        if type(values.get(name)) not in _PLAIN:
            continue  # the notebook has made something else of it, such as a run of its id
        if name in values and not _fits(values[name], kind, "this notebook"):
            what = f"parameter {name!r} of this notebook is {values[name]!r}, not {kind}"
            raise SuiteError(what, mend=f"known: {_listed(known)}")


def _assigned(source: str) -> list[str]:
    """The names that the lines of a cell assign."""
    targets = [target for line in ast.parse(source).body if isinstance(line, ast.Assign) for target in line.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


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


def _fits(value: Any, kind: str, where: str) -> bool:
    """Strictly: no text for a number, no number for a text; a whole number is a float too."""
    if kind == "None":
        return True
    try:
        # The notebook's own text, which is code that is about to be executed anyway.
        TypeAdapter(eval(kind), config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        return False
    except (NameError, SyntaxError, TypeError, AttributeError, PydanticUserError):
        raise SuiteError(f"{kind!r} is no type", where=where, mend="write it like str|None") from None
    return True
