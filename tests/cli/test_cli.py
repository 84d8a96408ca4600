"""The command line as users meet it: output, one-line errors, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import perflib
from tests.support.command_line import perflib_process

SUITE = """
name = "mine"
[targets.f]
kind = "callable"
function = "time:sleep"
[[scenarios]]
name = "naps"
target = "f"
operations = [{ name = "nap", args = [0.002] }]
load = { model = "closed", concurrency = 4, requests = 200 }
objectives = ["%s"]
"""


@pytest.mark.parametrize(
    ("objective", "code", "word"),
    [
        ("error rate < 50 %", 0, "PASS"),
        ("error rate > 50 %", 1, "FAIL"),
        ("p99.9 response < 10 s", 3, "INCONCLUSIVE"),
    ],
)
def test_exit_codes_follow_the_verdict(tmp_path: Path, objective: str, code: int, word: str) -> None:
    Path("mine.toml").write_text(SUITE % objective)
    ran = perflib_process("run", "mine.toml")
    assert ran.returncode == code, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[-2] == f"{lines[-1]}: {word}"
    assert perflib.open_run(lines[-1]).status == "complete"
    assert perflib_process("check").returncode == code
    assert json.loads(perflib_process("check", "--json").stdout)[0]["verdict"] == word.lower()


WRONG = [
    (["run", "mien.toml"], "mien.toml: no such suite; built-in suites: acceptance"),
    (["run", "acceptence"], "did you mean 'acceptance'?"),
    (["run", "--only", "error_rat"], "no scenario 'error_rat'"),
    (["run", "mine.toml", "--set", "scenarios.naps.load.reqests=5"], "did you mean 'requests'?"),
    (["run", "mine.toml", "--set", "scenarios.nap.load.requests=5"], "there is no 'scenarios.nap'; use one of naps"),
    (["run", "mine.toml", "--set", "workers=many"], "workers: must be a valid integer"),
    (["run", "broken.toml"], "broken.toml: not valid TOML"),
    (["report", "nothing"], "no run 'nothing'"),
    (["check"], "there are no runs"),
    (["rum"], "perflib: No such command 'rum'"),
    (["rm", "some", "--yes"], "No such option '--yes'; see: perflib rm --help"),
    (
        ["compare", "latest", "latest", "--margin"],
        "Option '--margin' requires an argument",
    ),
    (["serve", "--stdio", "--http", "1"], "cannot be used together"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_bad_input_is_one_line_and_code_two(arguments: list[str], said: str) -> None:
    Path("mine.toml").write_text(SUITE % "p50 response < 1 s")
    Path("broken.toml").write_text("name = ")
    ran = perflib_process(*arguments)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stderr.startswith("perflib: ") and ran.stderr.count("\n") == 1
    assert not Path("data/runs").exists()


@pytest.mark.parametrize(
    "group", [[], ["mcp"], ["baseline"], ["notebooks"]], ids=["all", "mcp", "baseline", "notebooks"]
)
def test_the_list_of_commands_has_no_line_that_is_cut(group: list[str]) -> None:
    text = perflib_process(*group, "--help", env={**os.environ, "COLUMNS": "80"}).stdout
    commands = text.split("\nCommands:\n")[1].splitlines()
    assert commands
    assert [line for line in commands if "..." in line or "…" in line] == []


def test_what_cannot_be_written_is_one_line_and_code_four(small_run: perflib.Run) -> None:
    Path("mine.toml").write_text(SUITE % "p50 response < 1 s")
    nowhere = perflib_process("run", "mine.toml", "--data", "mine.toml/data")
    assert (nowhere.returncode, nowhere.stderr) == (
        4,
        "perflib: mine.toml/data/runs: Not a directory; choose another folder\n",
    )
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)); from perflib.cli import "
        "main; main(sys.argv[1:])"
    )
    for arguments in (["run", "mine.toml"], ["report", str(small_run.path), "--out", "there"]):
        command = [sys.executable, "-B", "-c", limited, *arguments]  # -B: cached bytecode would be cut off as well
        full = subprocess.run(command, capture_output=True, text=True, check=False)
        assert full.returncode == 4, full.stderr
        assert "File too large; free some space, or choose another " in full.stderr.splitlines()[-1]
        assert "Traceback" not in full.stderr


def test_runs_can_be_listed_shown_and_removed() -> None:
    Path("mine.toml").write_text(SUITE % "p50 response < 1 s")
    name = perflib_process(
        "run", "mine.toml", "--set", "scenarios.naps.load.requests=40", "--seed", "7"
    ).stdout.splitlines()[-1]
    listed = json.loads(perflib_process("runs", "--json").stdout)
    assert [run["run"] for run in listed] == [name]
    shown = perflib_process("show").stdout
    assert "perflib run mine.toml --seed 7 --set scenarios.naps.load.requests=40" in shown
    assert json.loads(perflib_process("show", name, "--json").stdout)["scenarios"][0]["requests"] == 40
    assert perflib_process("rm", name).stdout == f"removed {name}\n"
    assert perflib_process("runs").stdout == "none\n"


def test_what_happens_without_a_lost_worker_can_be_said_on_the_command_line() -> None:
    Path("mine.toml").write_text(SUITE % "p50 response < 1 s")
    perflib_process("run", "mine.toml", "--on-lost", "continue")
    run = perflib.open_run("latest")
    assert run.manifest.suite["on_lost"] == "continue"
    assert run.manifest.command == "perflib run mine.toml --set on_lost=continue"


def test_a_report_is_made_from_any_folder(small_run: perflib.Run, tmp_path: Path) -> None:
    ran = perflib_process("report", str(small_run.path), "--out", "there")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "there/report.html\n"
    assert sorted(p.name for p in Path("there").iterdir()) == [
        "junit.xml", "report.html", "report.ipynb", "report.md", "summary.json",
    ]  # fmt: skip


def test_help_imports_nothing_heavy() -> None:
    heavy = {"pandas", "matplotlib", "scipy", "papermill", "duckdb", "mcp", "pyarrow", "numpy", "psutil", "pydantic"}
    code = "import sys; from perflib.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(ran.stdout.splitlines()[-1].split())


def test_the_doctor_says_what_is_unfit() -> None:
    began = time.monotonic()
    ran = perflib_process("doctor", "--json")
    assert ran.returncode in (0, 1)
    findings = json.loads(ran.stdout)
    assert {f["check"] for f in findings} >= {"cores", "other load", "descriptors", "timer", "clock"}
    assert all(f["advice"] for f in findings if f["verdict"] == "unfit")
    assert time.monotonic() - began < 20
