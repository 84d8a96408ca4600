"""The worker that a command starts ahead of its job: used where it fits, ended where it does not."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

import perflib
from perflib.load.worker_process import started_ahead, worker_process
from tests.support.command_line import invoke
from tests.support.suites import suite

NAPS = suite(
    {"kind": "callable"},
    operations=[{"name": "nap", "function": "tests.support.functions:nap"}],
    load={"model": "closed", "concurrency": 1, "requests": 3},
)


def workers() -> list[int]:
    """The worker processes of this process that have not ended."""
    mine = psutil.Process().children()
    return [each.pid for each in mine if "perflib.load.generator.worker" in each.cmdline()]


def test_the_first_worker_of_a_run_is_the_one_that_was_started_ahead(tmp_path: Path) -> None:
    with started_ahead():
        (ahead,) = workers()
        run = perflib.run(NAPS, data=tmp_path, progress=False)
        assert workers() == []
    assert [each.pid for each in run.manifest.scenarios[0].workers] == [ahead]
    assert len(run.rows(phase=None)) == 3


def test_a_worker_that_nothing_needs_ends_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('name = "bad"\nscenario = 1\n')
    assert isinstance(invoke("run", str(tmp_path / "bad.toml"), "--data", str(tmp_path)).exception, perflib.SuiteError)
    assert workers() == []


@pytest.mark.parametrize("changed", ["environment", "folder"])
def test_a_worker_of_another_environment_or_folder_is_not_used(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started_ahead():
        (ahead,) = workers()
        if changed == "folder":
            (tmp_path / "other").mkdir()
            monkeypatch.chdir(tmp_path / "other")
        else:
            monkeypatch.setenv("SHOP_TOKEN", "x")
        with worker_process(os.environ) as another:
            assert another.pid != ahead
            another.kill()
    assert workers() == []
