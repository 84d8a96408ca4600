"""Which notebook is executed: the package's, or the user's own where it is named; and copies to start from."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import perflib
from perflib.cli import main
from perflib.errors import SuiteError
from perflib.report import notebooks, parameters
from perflib.report.kernel import Kernel
from perflib.report.render import execute, report

OWN = "A cell that only my own notebook has."
ANALYSIS = """
scenario = run.scenarios[0]
section("My own section", charts.throughput(scenario), scenario.percentiles().frame[["p50_ms"]], "<i>Mine</i>")
"""


def own_copy(path: Path, name: str = "report", *, parameters_cell: bool = True) -> Path:
    """A copy of a notebook with a cell more."""
    content = json.loads((notebooks.packaged() / f"{name}.ipynb").read_text())
    content["cells"].append({"cell_type": "markdown", "id": "own", "metadata": {}, "source": [OWN]})
    if not parameters_cell:
        content["cells"] = [cell for cell in content["cells"] if "parameters" not in cell["metadata"].get("tags", [])]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def typed(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The exit code of a command, and what it printed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0), *capsys.readouterr()


def test_an_own_report_is_made_of_the_notebook_that_is_named_and_of_no_other(
    small_run: perflib.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = own_copy(tmp_path / "notebooks" / "report.ipynb")
    content = json.loads(own.read_text())
    cell = {"cell_type": "code", "id": "analysis", "metadata": {}, "outputs": [], "execution_count": None}
    content["cells"].append({**cell, "source": ANALYSIS})
    own.write_text(json.dumps(content))
    assert OWN not in (report(small_run, out=tmp_path / "packaged") / "report.html").read_text()
    code, said, _ = typed(
        "report", str(small_run.path), "--notebook", "notebooks/report.ipynb", "--out", "own", "--title", "Mine",
        capsys=capsys,
    )  # fmt: skip
    assert (code, said) == (0, f"{Path('own/report.html')}\n")
    page = (tmp_path / "own" / "report.html").read_text()
    assert OWN in page and "<title>Mine</title>" in page
    section = page[page.index('id="s-My.20.own.20.section"') :]
    assert section.index("<img alt=") < section.index("p50_ms") < section.index("<p>&lt;i&gt;Mine&lt;/i&gt;</p>")
    for name in ("report.md", "junit.xml", "summary.json"):
        own, packaged = ((tmp_path / folder / name).read_text() for folder in ("own", "packaged"))
        assert own.replace("Mine", small_run.manifest.suite["name"]) == packaged
    executed = json.loads((tmp_path / "own" / "report.ipynb").read_text())["metadata"]
    assert executed["papermill"]["parameters"] == {"run": str(small_run.path), "title": "Mine"}


def test_a_folder_of_own_notebooks_wins_where_it_has_one_of_the_name(tmp_path: Path) -> None:
    own = own_copy(tmp_path / "ours" / "compare.ipynb", "compare")
    assert notebooks.find("compare", tmp_path / "ours") == own
    assert notebooks.find("report", tmp_path / "ours") == notebooks.packaged() / "report.ipynb"
    assert notebooks.find("compare") == notebooks.packaged() / "compare.ipynb"
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuiteError, match="empty: there are no notebooks here; perflib notebooks copy"):
        notebooks.find("compare", tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello", "mine.ipynb: this is no Jupyter notebook"),
        (b"\xff\xfe\x00", "mine.ipynb: this is no Jupyter notebook"),
        (b"[1]", "mine.ipynb: this is no Jupyter notebook"),
        (b'{"cells": []}', "mine.ipynb: this is no Jupyter notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}', "this is no Jupyter notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}', "has no parameter 'run'; no cell"),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec":'
            b' {"name": "ir", "display_name": "R", "language": "R"}}, "cells": []}',
            "mine.ipynb: this notebook is written in R",
        ),
        (None, "mine.ipynb: there is no such notebook; perflib notebooks copy"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [("report",), ("compare", "a", "b")])
def test_what_is_no_report_is_one_line_before_anything_is_computed(
    command: tuple[str, ...], content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "mine.ipynb").write_bytes(content)
    code, printed, line = typed(*command, "--notebook", "mine.ipynb", capsys=capsys)
    expected = said if command == ("report",) else said.replace("'run'", "'base'")
    assert (code, printed, line.count("\n")) == (2, "", 1)
    assert expected in line
    assert not (tmp_path / "reports").exists()


def test_parameters_that_are_not_asked_for_may_be_missing_and_the_others_not(
    small_run: perflib.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = own_copy(tmp_path / "short.ipynb", "overhead")  # it takes run, scenario and data
    with pytest.raises(SuiteError, match=r"short.ipynb: notebook short has no parameter 'title'; known: run \(str\)"):
        report(small_run, notebook=short, title="Mine", out=tmp_path / "out")
    without = own_copy(tmp_path / "without.ipynb", "compare", parameters_cell=False)
    code, _, line = typed("compare", "a", "b", "--notebook", str(without), capsys=capsys)
    assert code == 2 and "has no parameter 'base'" in line
    code, _, line = typed("history", "--notebook", str(short), capsys=capsys)
    assert code == 2 and line.startswith("perflib: --notebook needs --out")
    code, _, line = typed("report", "--notebook", "explore", "--title", "Mine", capsys=capsys)
    assert code == 2 and line.startswith(
        "perflib: --title and --baseline are for the report only; use --set with the notebook explore"
    )


def test_a_notebook_is_never_overwritten_by_its_executed_copy(small_run: perflib.Run, tmp_path: Path) -> None:
    own = own_copy(tmp_path / "report.ipynb")
    before = own.read_bytes()
    with pytest.raises(SuiteError, match=r"report.ipynb: its executed copy would overwrite it; choose another folder"):
        report(small_run, notebook=own, out=tmp_path)
    assert own.read_bytes() == before


def test_a_type_that_is_none_is_named_with_its_notebook(tmp_path: Path) -> None:
    own = own_copy(tmp_path / "own.ipynb")
    own.write_text(own.read_text().replace("# type: str|None  title", "# type: list[str],nonsense( title"))
    with pytest.raises(SuiteError, match=r"own.ipynb: .* is no type; write it like str\|None"):
        parameters.check(own, {"title": "x"})


def test_copies_are_made_once_and_overwrite_nothing_unasked(tmp_path: Path) -> None:
    copies = notebooks.copy(tmp_path / "mine")
    assert [path.stem for path in copies] == notebooks.names() == sorted(notebooks.names())
    assert {"report", "compare", "history", "explore", "index", "dashboard"} <= set(notebooks.names())
    for path in copies:
        assert notebooks.read(path).cells == notebooks.read(notebooks.packaged() / path.name).cells
        assert path.stat().st_mode & stat.S_IWUSR
    copies[0].unlink()
    copies[1].write_text("mine")
    with pytest.raises(SuiteError, match=rf"{copies[1].name}: exists already, and so do .* more; --force overwrites"):
        notebooks.copy(tmp_path / "mine")
    assert not copies[0].exists() and copies[1].read_text() == "mine"
    notebooks.copy(tmp_path / "mine", force=True)
    assert notebooks.read(copies[1]).cells == notebooks.read(notebooks.packaged() / copies[1].name).cells
    (tmp_path / "file").touch()
    with pytest.raises(SuiteError, match="file: this is a file; name a folder"):
        notebooks.copy(tmp_path / "file")


def test_the_commands_list_and_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = typed("notebooks", "list", "--json", capsys=capsys)
    assert code == 0 and {"notebook": "report", "title": "The report of a run"} in json.loads(said)
    assert typed("notebooks", "copy", capsys=capsys)[0] == 0
    assert sorted(path.stem for path in (tmp_path / "notebooks").iterdir()) == notebooks.names()
    code, _, line = typed("notebooks", "copy", capsys=capsys)
    assert code == 2 and line.startswith(f"perflib: {Path('notebooks/capacity.ipynb')}: exists already")


@pytest.mark.parametrize(("there", "opened"), [("", "notebooks/index.ipynb"), ("own.txt", "notebooks")])
def test_the_lab_opens_the_folder_that_is_there_and_else_copies(
    there: str, opened: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("perflib.cli.serving._become", lambda command, _: started.append(command) or 0)
    if there:
        (tmp_path / "notebooks").mkdir()
        (tmp_path / "notebooks" / there).touch()
    from perflib.cli import cli

    said = CliRunner().invoke(cli, ["lab", "--no-browser"]).output
    assert (f"notebooks were copied to {tmp_path / 'notebooks'}" in said) == (not there)
    assert started[0][-1] == "--no-browser"
    assert f"--ServerApp.root_dir={tmp_path}" in started[0] and f"--LabApp.default_url=/lab/tree/{opened}" in started[0]
    assert (tmp_path / "notebooks" / "index.ipynb").is_file() == (not there)
    monkeypatch.chdir(tmp_path / "notebooks")
    CliRunner().invoke(cli, ["lab"])
    assert f"--ServerApp.root_dir={tmp_path}" in started[1], "from within notebooks/ it is the same"


def test_the_dashboard_is_the_packages_unless_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("perflib.cli.serving._become", lambda command, _: started.append(command) or 0)
    from perflib.cli import cli

    own = own_copy(tmp_path / "notebooks" / "dashboard.ipynb", "dashboard")
    CliRunner().invoke(cli, ["dashboard"])
    CliRunner().invoke(cli, ["dashboard", "--notebooks", str(own.parent)])
    CliRunner().invoke(cli, ["dashboard"], env={"PERFLIB_NOTEBOOKS": str(own.parent)})
    assert [command[4] for command in started] == [str(notebooks.packaged() / "dashboard.ipynb"), str(own), str(own)]


def test_the_kernel_is_that_of_this_interpreter_whatever_else_is_called_python3(
    small_run: perflib.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: dict[str, Any] = {"argv": [os.devnull, "{connection_file}"], "display_name": "other", "language": "python"}
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(json.dumps(other))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with Kernel() as kernel:
        execute("explore", {"run": str(small_run.path)}, tmp_path / "{braces}.ipynb", kernel=kernel)
    assert (tmp_path / "{braces}.ipynb").is_file()
