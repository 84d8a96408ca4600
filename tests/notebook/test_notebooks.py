"""Every notebook is stored without outputs, is thin, and runs top to bottom on a real small run."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

import perflib
from perflib.errors import SuiteError
from perflib.report.kernel import Kernel
from perflib.report.parameters import check, declared
from perflib.report.render import execute

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_thin_and_stored_without_outputs(name: str) -> None:
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in code) == 1
    for cell in code:
        assert not cell["outputs"]
        assert cell["execution_count"] is None
        assert len(cell["source"]) <= 25
    opening = "".join(notebook["cells"][0]["source"]).split("\n\n")
    assert opening[0].startswith("# "), "a title"
    assert len(opening[1]) > 60, "a paragraph of purpose"
    (parameters,) = (cell for cell in code if "parameters" in cell["metadata"].get("tags", []))
    assert all("  # type: " in line for line in parameters["source"]), "every parameter says its type and what it is"
    assert len(declared(FOLDER / f"{name}.ipynb")) == len(parameters["source"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"runn": "x"}, "has no parameter 'runn'.*known: run \\(str\\), baseline \\(str\\|None\\)"),
        ({"run": 3}, "parameter 'run' of notebook report is 3, not str"),
        ({"title": ["a"]}, "is \\['a'\\], not str\\|None"),
    ],
)
def test_a_parameter_that_is_unknown_or_of_another_type_is_refused_before_anything_runs(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match=said):
        execute("report", given, tmp_path / "r.ipynb")
    assert not (tmp_path / "r.ipynb").exists()


@pytest.mark.parametrize("given", [{}, {"runn": "x"}])
def test_a_kernel_that_was_started_before_ends_with_its_notebook(
    given: dict[str, Any], small_run: perflib.Run, tmp_path: Path
) -> None:
    kernel = Kernel()
    process = psutil.Process(kernel.provisioner.process.pid)
    with pytest.raises(SuiteError) if given else contextlib.nullcontext():
        execute("explore", {"run": str(small_run.path), **given}, tmp_path / "e.ipynb", kernel=kernel)
    process.wait(10)
    assert not process.is_running()


def test_types_are_strict_and_a_whole_number_is_a_float_too() -> None:
    quickstart, compare = FOLDER / "quickstart.ipynb", FOLDER / "compare.ipynb"
    check(quickstart, {"duration_s": 3, "rate_per_s": 2.5})
    check(compare, {"base": ["a", "b"], "margin_percent": {"p95": 15.0, "p99": None}})
    for notebook, given in (
        (quickstart, {"duration_s": "3"}),
        (quickstart, {"duration_s": True}),
        (compare, {"margin_percent": {"p95": "15"}}),
        (compare, {"force": 1}),
    ):
        with pytest.raises(SuiteError, match="known: "):
            check(notebook, given)


def test_the_quickstart_runs(tmp_path: Path) -> None:
    done = execute(
        "quickstart", {"duration_s": 1, "rate_per_s": 100, "data": str(tmp_path / "d")}, tmp_path / "q.ipynb"
    )
    text = json.dumps(done)
    assert text.count("image/png") >= 3
    kernel = perflib.open_run("latest", tmp_path / "d")
    assert kernel.suite.name == "in-kernel"
    assert kernel.rows(phase=None)["ok"].all()
    assert kernel.rows()["inflight"].max() == 32


def test_any_run_can_be_explored(small_run: perflib.Run, tmp_path: Path) -> None:
    done = execute("explore", {"run": str(small_run.path), "operation": "stats"}, tmp_path / "e.ipynb", of=[small_run])
    text = json.dumps(done)
    assert text.count('"image/png": "') == 4 and "jupyter.widget" not in text
    kept = json.loads((tmp_path / "e.ipynb").read_text())["metadata"]
    assert kept["papermill"]["parameters"] == {"run": str(small_run.path), "operation": "stats"}
    assert kept["perflib"]["runs"] == [{"run": small_run.id, "rows_sha256": small_run.rows_sha256()}]


@pytest.mark.parametrize("name", ["index", "dashboard"])
def test_pages_of_all_runs_run(name: str, small_run: perflib.Run, tmp_path: Path) -> None:
    shutil.copytree(small_run.path, tmp_path / "data" / "runs" / small_run.id)
    done = execute(name, {"data": str(tmp_path / "data")}, tmp_path / f"{name}.ipynb")
    assert small_run.id in "".join(str(output) for output in done.cells[-1].outputs)


def test_the_digest_of_the_rows_is_that_of_their_files(small_run: perflib.Run, tmp_path: Path) -> None:
    copy = shutil.copytree(small_run.path, tmp_path / "copy")
    assert perflib.open_run(copy).rows_sha256() == small_run.rows_sha256()
    next((copy / "rows").iterdir()).unlink()
    assert perflib.open_run(copy).rows_sha256() != small_run.rows_sha256()
