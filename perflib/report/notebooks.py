"""Which notebook is executed: the package's own, unless the user names another one; and the user's own copies of them.

Nothing that merely lies in the working directory is executed: a notebook of the user's is named by its file, or by the
folder it is in.

    find("report")                            the package's
    find("report", Path("ours"))              ours/report.ipynb if there is one, else the package's
    find("mine/report.ipynb")                 that file
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from perflib.errors import SuiteError
from perflib.store.shipped import copy as copy_files
from perflib.store.shipped import shipped

SUFFIX: Final = ".ipynb"


def packaged() -> Path:
    """The folder of the package's notebooks."""
    return shipped("notebooks")


def names(folder: Path | None = None) -> list[str]:
    """The notebooks in a folder, by default the package's."""
    return sorted(path.stem for path in (folder or packaged()).glob(f"*{SUFFIX}"))


def is_file_name(text: str) -> bool:
    """Whether this is the name of a file, as ./mine.ipynb, and not that of a notebook, as explore."""
    return bool(Path(text).suffix) or "/" in text or os.sep in text


def find(notebook: str | Path, folder: Path | None = None) -> Path:
    """The file of a notebook: as named, else the one of this name in `folder`, else the package's.

    Raises SuiteError.
    """
    if isinstance(notebook, Path) or is_file_name(notebook):
        path = Path(notebook)
        if not path.is_file():
            mend = "perflib notebooks copy makes copies of perflib's own to start from"
            raise SuiteError("there is no such notebook", where=str(notebook), mend=mend)
        read(path)
        return path
    if folder is not None and not names(folder):
        raise SuiteError("there are no notebooks here", where=str(folder), mend=f"perflib notebooks copy {folder}")
    for place in filter(None, (folder, packaged())):
        if (path := place / f"{notebook}{SUFFIX}").is_file():
            return path
    known = ", ".join(sorted({*names(folder), *names()}))
    raise SuiteError(
        f"no notebook {notebook!r}", where="--notebook", mend=f"there are {known}; a file of your own ends in {SUFFIX}"
    )


def read(path: Path) -> Any:
    """The notebook in this file, as nbformat's node of version 4. Raises SuiteError where the file holds none."""
    nbformat = nbformat_module()
    try:
        text = path.read_text("utf-8")
        if "nbformat" not in json.loads(text):
            raise ValueError("any other JSON would pass for a notebook of the oldest format")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notebook = nbformat.convert(nbformat.reader.reads(text), 4)
            nbformat.validate(notebook)
    except OSError as error:
        raise SuiteError(f"{error.strerror}", where=str(path), mend="choose another notebook") from None
    except Exception:  # nbformat raises whatever its steps stumble over in a file that is something else
        raise SuiteError("this is no Jupyter notebook", where=str(path), mend=f"name a {SUFFIX} file") from None
    about = notebook.metadata
    language = about.get("language_info", {}).get("name") or about.get("kernelspec", {}).get("language") or "python"
    if "python" not in language.lower():
        raise SuiteError(f"this notebook is written in {language}", where=str(path), mend="perflib runs Python")
    return notebook


def title(path: Path) -> str:
    """The first heading of a notebook, without its #."""
    lines = (line for cell in read(path).cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")


def copy(folder: Path, *, force: bool = False) -> list[Path]:
    """Put copies of the package's notebooks into this folder. Raises SuiteError before it overwrites any file."""
    return copy_files(
        {f"{name}{SUFFIX}": _as_here(packaged() / f"{name}{SUFFIX}") for name in names()}, folder, force=force
    )


def _as_here(source: Path) -> str:
    """A notebook whose language is this environment's, down to the version: JupyterLab would change it when it opens
    the file, and mark it as modified."""
    from ipykernel.ipkernel import IPythonKernel

    notebook = json.loads(source.read_text("utf-8"))
    notebook["metadata"]["language_info"] = IPythonKernel.language_info
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def nbformat_module() -> Any:
    """The module nbformat, without a grammar that jsonschema would build for most of a second and nobody asks for."""
    with _without("rfc3987_syntax"):
        import nbformat
        import nbformat.reader
    return nbformat


@contextmanager
def _without(module: str) -> Iterator[None]:
    """What is imported here does without an optional module that nobody has imported yet."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
