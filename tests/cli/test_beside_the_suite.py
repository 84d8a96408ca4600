"""Files beside a suite that have the names of modules run nowhere, and its own functions are imported all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import perflib
from perflib.report.kernel import Kernel

NAMES = ("queue", "signal", "subprocess", "struct", "cloudpickle", "uvloop", "pyarrow", "duckdb", "pandas", "ipykernel")
HTTP = """
name = "beside"
[targets.api]
kind = "http"
url = "http://127.0.0.1:{port}"
start = ["{python}", "-P", "-m", "perflib.service", "--http", "{port}"]
ready = { http = "/health", timeout_s = 30 }
[[scenarios]]
name = "one"
target = "api"
operations = [{ name = "ping", path = "/ping" }]
load = { model = "closed", concurrency = 1, requests = 5 }
"""
FUNCTION = """
name = "beside"
[targets.shop]
kind = "callable"
function = "shop:buy"
[[scenarios]]
name = "one"
target = "shop"
operations = [{ name = "buy", args = [3] }]
load = { model = "closed", concurrency = 1, requests = 5 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a suite, with files that say that they ran, and break what imports them."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(
            "import pathlib\n"
            "(pathlib.Path(__file__).parent / 'ran').open('a').write(__name__)\n"
            "raise RuntimeError('it ran')\n"
        )
    return tmp_path


def run(folder: Path, suite: str, *, at: Path) -> perflib.Run:
    """Run a suite as a user does in a folder."""
    (folder / "suite.toml").write_text(suite)
    command = [sys.executable, "-m", "perflib", "run", str(folder / "suite.toml"), "--data", str(folder / "data")]
    done = subprocess.run(command, cwd=at, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return perflib.open_run("latest", folder / "data")


def test_coordinator_workers_and_guard_import_nothing_from_there(folder: Path) -> None:
    done = run(folder, HTTP, at=folder)
    assert done.status == "complete" and len(done.rows(phase=None)) == 5 and done.rows(phase=None)["ok"].all()
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("beside", [True, False])
def test_a_function_beside_the_suite_is_imported(folder: Path, tmp_path: Path, beside: bool) -> None:
    """From the folder of the suite, wherever the command was started; with what the module imports from there."""
    (folder / "shop.py").write_text(
        "import queue, prices\ndef buy(n):\n    assert queue.Queue and n * prices.PRICE == 6\n"
    )
    (folder / "prices.py").write_text("PRICE = 2\n")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    done = run(folder, FUNCTION, at=folder if beside else elsewhere)
    assert done.rows(phase=None)["ok"].tolist() == [True] * 5
    assert not (folder / "ran").exists()


def test_the_kernel_imports_nothing_from_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code = "import queue, signal, duckdb, pandas, sys\nassert '' not in sys.path, sys.path"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    with Kernel() as kernel:
        NotebookClient(notebook, km=kernel, timeout=60).execute()
    assert not (folder / "ran").exists()
