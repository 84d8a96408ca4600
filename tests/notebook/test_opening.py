"""Each notebook runs top to bottom whatever the latest run is: it takes the latest that fits, or says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import papermill
import pytest

import perflib
from perflib.errors import NoRunError, RunError, SuiteError
from perflib.report.notebooks import copy
from perflib.report.parameters import check_cells
from perflib.report.render import execute
from perflib.verdicts.fitting import latest, latest_two
from tests.support.written import latencies, written

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_as_jupyter_would_store_it(name: str) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text()
    notebook = nbformat.reads(text, 4)
    nbformat.validate(notebook)
    assert nbformat.writes(notebook).rstrip("\n") == text.rstrip("\n"), "another minor version, order of keys or spaces"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_a_copy_says_the_language_as_the_kernel_of_this_environment_does(tmp_path: Path) -> None:
    from ipykernel.ipkernel import IPythonKernel

    for path in copy(tmp_path / "mine"):
        about = json.loads(path.read_text())["metadata"]
        assert about["language_info"] == IPythonKernel.language_info, "else JupyterLab marks it as modified at once"


@pytest.mark.parametrize(
    ("name", "command"),
    [("capacity", "perflib run capacity"), ("report", "perflib run")],
)
def test_without_a_run_that_fits_a_notebook_says_which_command_makes_one_and_ends_well(
    name: str, command: str, tmp_path: Path
) -> None:
    if name == "capacity":
        written(tmp_path / "data", latencies(50, 1))
    done = execute(name, {"data": str(tmp_path / "data")}, tmp_path / f"{name}.ipynb")
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    (said,) = (output.data["text/html"] for output in outputs)
    assert f"<code>{command}" in said


def test_latest_is_the_latest_that_fits(tmp_path: Path) -> None:
    runs = [written(tmp_path, latencies(50, seed), name=name) for seed, name in enumerate(("shop", "shop", "other"))]
    assert latest("requests", tmp_path) == runs[-1].id
    assert latest_two(tmp_path) == (runs[0].id, runs[1].id)
    assert [run.id for run in perflib.compare(data=tmp_path).candidate] == [runs[1].id]
    assert perflib.compare(None, runs[1], data=tmp_path).base[0].id == runs[0].id
    with pytest.raises(NoRunError, match=r"no earlier run of other; .*perflib run SUITE"):
        perflib.compare(None, runs[2], data=tmp_path)
    for need, command in (("steps", "capacity"), ("ladder", "overhead")):
        with pytest.raises(NoRunError, match=f"make one: perflib run {command}"):
            perflib.open_run("latest", tmp_path, having=need)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="perflib run overhead"):
        runs[0].overhead()


def test_parameters_are_checked_when_papermill_is_run_by_hand(tmp_path: Path) -> None:
    given = {"data": str(tmp_path), "newest": "12"}
    with pytest.raises(papermill.PapermillExecutionError, match="'newest' of this notebook is '12', not int") as raised:
        papermill.execute_notebook(FOLDER / "index.ipynb", tmp_path / "done.ipynb", given, progress_bar=False)
    assert "Traceback" not in str(raised.value), "one line, as in a terminal"


def test_a_cell_of_papermill_sets_only_parameters_that_there_are() -> None:
    declares = 'run = "latest"  # type: str  a run\nmost = 3  # type: int  how many'
    check_cells(["", declares, "# Parameters\nmost = 4\n"], {"run": "latest", "most": 4})
    check_cells([declares], {"run": object(), "most": 4})  # the notebook has opened the run by now
    with pytest.raises(SuiteError, match="no parameter 'mots'; known: run \\(str\\), most \\(int\\)"):
        check_cells([declares, "# Parameters\nmots = 4\n"], {"run": "latest", "most": 3, "mots": 4})
