"""How a notebook begins: its parameters are checked, and where there is no run for it, it says so and ends well.

with opening():
    run = open_run(run, data, having="steps")

A notebook that papermill executes by hand gets its parameters as a cell, so that only the kernel can check them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perflib.errors import NoRunError
from perflib.notebook.panel import shell, somebody_looks
from perflib.report.parameters import check_cells
from perflib.text.html import View


class _EndedError(Exception):
    """No more of this notebook can be executed, and nothing is wrong with it."""


@contextmanager
def opening() -> Iterator[None]:
    """Check the notebook's parameters; where there is no run of the kind it needs, say so and end the notebook.

    Use it in a cell of its own: what follows in later cells is not executed then.

    Raises SuiteError for a parameter that the notebook does not declare, or whose value is not of its type.
    """
    here = shell()
    if here is not None:
        check_cells(here.user_ns.get("In", ()), here.user_ns)
    try:
        yield
    except NoRunError as missing:
        if here is None:
            raise
        from IPython.display import display

        said = View("missing", said=f"{missing.what[0].upper()}{missing.what[1:]}.", mend=missing.mend)
        display(said)  # type: ignore[no-untyped-call]
        _end(here)


def _end(here: Any) -> None:
    """Execute no further cell. For who looks on, "Run All" stops here; whoever runs the notebook later can go on."""
    if somebody_looks():
        here.set_custom_exc((_EndedError,), lambda *_, **__: None)
        raise _EndedError from None
    here.input_transformers_cleanup.append(lambda lines: [])
