"""Two runs at once on one machine are told of each other; neither waits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import perflib
from perflib.load import neighbours
from tests.support.runs import start_perflib_run, wait_for_rows

NAPS = """
name = "naps"
[targets.here]
kind = "callable"
function = "time:sleep"
[[scenarios]]
name = "napping"
target = "here"
operations = [{ name = "sleep", args = [0.005] }]
load = { model = "closed", concurrency = 2, duration_s = DURATION }
"""


@pytest.fixture(autouse=True)
def _own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


def test_two_runs_at_once_are_told_of_each_other(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    first = start_perflib_run(elsewhere, NAPS.replace("DURATION", "6"))
    until = time.monotonic() + 30
    while not neighbours.running() and time.monotonic() < until:
        time.sleep(0.02)
    one = perflib.open_run("latest", elsewhere / "data")
    assert neighbours.running() == [one.id]
    second = start_perflib_run(tmp_path, NAPS.replace("DURATION", "1"))
    said = second.communicate(timeout=60)[1]
    first_said = first.communicate(timeout=60)[1]
    assert (first.returncode, second.returncode) == (0, 0)
    other = perflib.open_run("latest", tmp_path / "data")
    assert f"another run is under way on this machine, {one.id}" in said
    for run, by, printed in ((one, other, first_said), (other, one, said)):
        doubts = perflib.open_run(run.path).scenarios[0].record.doubts
        told = f"another run was under way on this machine at the same time: {by.id}"
        assert [doubt for doubt in doubts if doubt.startswith(told)] and told in printed
    assert neighbours.running() == []


def test_a_run_that_was_killed_is_no_neighbour(tmp_path: Path) -> None:
    killed = start_perflib_run(tmp_path, NAPS.replace("DURATION", "30"))
    wait_for_rows(tmp_path, 0.0)
    killed.kill()
    killed.communicate(timeout=20)
    assert neighbours.running() == [] and list((tmp_path / "runtime" / "perflib").iterdir()) == []


def test_a_folder_that_cannot_be_written_keeps_nobody_from_measuring(tmp_path: Path) -> None:
    (tmp_path / "runtime" / "perflib").write_text("a file where the folder should be")
    alone = neighbours.Neighbours("20260101-000000-alone")
    assert alone.seen() == []
    alone.close()
