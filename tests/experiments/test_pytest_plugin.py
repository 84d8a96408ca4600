"""The plugin for pytest: a user's own tests, run by pytest in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import perflib as package

TESTS = """
import time
import pytest
from perflib import Load, Operation, Scenario, Suite, Target

def sleeps(): time.sleep(0.002)

def suite(*objectives, requests=300):
    load = Load(model="closed", concurrency=2, requests=requests)
    scenario = Scenario(
        name="s", target="f", operations=[Operation(name="call")], load=load, objectives=objectives
    )
    return Suite(name="mine", targets={"f": Target(kind="callable", function=sleeps)}, scenarios=[scenario])

@pytest.mark.performance
def test_passes(perflib):
    run = perflib.check(suite("error rate < 5 %"))
    assert len(run.rows(phase=None)) == 300

def test_fails(perflib):
    perflib.check(suite("success < 50 %"))

def test_cannot_tell(perflib):
    perflib.check(suite("error rate < 0.01 %"))

def test_measures_nothing(perflib):
    perflib.check(suite())

def test_bad_input(perflib):
    perflib.check("nowhere.toml")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("user")
    (made / "test_mine.py").write_text(TESTS)
    return made


def said_by_pytest(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--strict-markers", *arguments]
    environment = {**os.environ, "COLUMNS": "300"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=170, env=environment
    )
    return done.stdout + done.stderr


def test_a_verdict_is_the_outcome_of_the_test(folder: Path) -> None:
    said = said_by_pytest(folder, "--perflib-report=never", "--perflib-data=kept")
    assert len(list((folder / "kept" / "runs").iterdir())) == 4
    assert not (folder / "reports").exists()
    for line in (
        "PASSED test_mine.py::test_passes", "FAILED test_mine.py::test_fails - Failed: fail: s, success < 50 %",
        "FAILED test_mine.py::test_measures_nothing - Failed: invalid: no objective was judged",
        "FAILED test_mine.py::test_bad_input - Failed: nowhere.toml",
    ):  # fmt: skip
        assert line in said
    assert re.search(r"SKIPPED .*inconclusive: .*error rate < 0.01 %", said)


def test_runs_and_reports_are_kept(folder: Path) -> None:
    said = said_by_pytest(folder, "test_mine.py::test_fails")
    assert len(list((folder / "data" / "runs").iterdir())) == 1
    assert re.search(r"test_mine.py::test_fails: fail, run \S+, report reports/\S+/report.html", said)
    assert len(list((folder / "reports").glob("2*/report.html"))) == 1


def test_the_package_is_still_the_package() -> None:
    assert callable(package.run)
