"""Every notebook is stored without outputs, is thin, and runs top to bottom on a real small run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import perflib
from perflib.report import execute

FOLDER = Path(__file__).parents[1] / "notebooks"
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
    (parameters,) = (cell for cell in code if "parameters" in cell["metadata"].get("tags", []))
    assert all("#" in line for line in parameters["source"]), "every parameter says what it is"


def test_the_quickstart_runs(tmp_path: Path) -> None:
    done = execute(
        "quickstart", {"duration_s": 1, "rate_per_s": 100, "data": str(tmp_path / "d")}, tmp_path / "q.ipynb"
    )
    text = json.dumps(done)
    assert text.count("image/png") >= 3
    steady = perflib.open_run("latest", tmp_path / "d")
    assert steady.manifest["suite"]["name"] == "in-kernel"
    assert steady.rows(phase=None)["ok"].all()
    assert steady.rows()["inflight"].max() == 32


def test_any_run_can_be_explored(small_run: perflib.Run, tmp_path: Path) -> None:
    done = execute("explore", {"run": str(small_run.path), "operation": "stats"}, tmp_path / "e.ipynb")
    assert json.dumps(done).count("image/png") == 8
