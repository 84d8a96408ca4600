"""`perflib compact`: many part files become few; every row stays, once, wherever it is cut short."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from perflib.cli import cli
from perflib.errors import RunError
from perflib.store import compaction
from perflib.store.runs import remove_run
from perflib.store.schema import ROWS
from perflib.verdicts.run import Run
from tests.support.synthetic import synthetic_run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return synthetic_run(tmp_path_factory.mktemp("made"), 40_000)


@pytest.fixture
def run(original: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(original.path, tmp_path / "runs" / original.id)))


def content(run: Run) -> list[Any]:
    """Everything in the run's tables, in an order of its own."""
    columns = ", ".join(ROWS.names)
    rows = run.query(f"select {columns} from rows order by scenario, worker, seq").fetchall()
    return rows + run.query("select * from resources order by t_ns").fetchall()


def files(run: Run) -> list[str]:
    return sorted(path.name for path in (run.path / "rows").iterdir())


def test_few_sorted_files_hold_every_row(run: Run, original: Run) -> None:
    done = compaction.compact(run)
    assert done.files_after < done.files_before
    after = Run(run.path)
    assert len(files(after)) == 1 and after.manifest == original.manifest
    assert content(after) == content(original)
    ends = after.query("select end_ns from rows").fetchnumpy()["end_ns"]
    assert (ends[1:] >= ends[:-1]).all()
    assert after.summary() == original.summary()


def test_what_is_compact_stays_as_it_is(run: Run) -> None:
    compaction.compact(run)
    before = files(run)
    again = compaction.compact(Run(run.path))
    assert files(run) == before and again.files_before == again.files_after


@pytest.mark.parametrize("point", range(16))
def test_cut_short_anywhere_it_opens_with_every_row_once_and_can_be_ended(
    run: Run, original: Run, point: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends before any one of the changes that it makes in the run's folder."""
    left = itertools.count(point, -1)

    class Killed(BaseException):
        pass

    def counted(change: Any) -> Any:
        def changed(*args: Any, **kwargs: Any) -> Any:
            if next(left) <= 0:  # nor does it change anything after that
                raise Killed
            return change(*args, **kwargs)

        return changed

    with monkeypatch.context() as cut:
        cut.setattr(Path, "replace", counted(Path.replace))
        cut.setattr(Path, "unlink", counted(Path.unlink))
        cut.setattr(compaction, "write_file", counted(compaction.write_file))
        try:
            compaction.compact(run)
        except Killed:
            pass
    assert content(Run(run.path)) == content(original)
    compaction.compact(Run(run.path))
    assert len(files(run)) == 1 and content(Run(run.path)) == content(original)


def test_files_that_are_not_the_same_do_not_take_the_place_of_the_old_ones(
    run: Run, original: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = compaction.write_file
    monkeypatch.setattr(compaction, "write_file", lambda table, path: write(table.slice(1), path))
    before = files(run)
    with pytest.raises(RunError, match="not those of the run"):
        compaction.compact(run)
    assert files(run) == before and content(Run(run.path)) == content(original)


def test_a_run_that_goes_on_is_refused_in_one_line(run: Run) -> None:
    process = psutil.Process(os.getpid())
    from perflib.store.manifest import write_manifest
    from perflib.store.records import ProcessRecord

    run.manifest.status = "running"
    run.manifest.process = ProcessRecord(pid=process.pid, created=process.create_time())
    write_manifest(run.path, run.manifest)
    before = files(run)
    result = CliRunner().invoke(cli, ["compact", str(run.path)], standalone_mode=False)
    assert isinstance(result.exception, RunError) and "still running" in str(result.exception)
    assert files(run) == before


def test_unreadable_files_are_left_where_they_are(run: Run) -> None:
    (run.path / "rows" / "part-0009-000000.parquet").write_bytes(b"PAR1 not really")
    compaction.compact(run)
    assert "part-0009-000000.parquet" in files(run) and Run(run.path).corrupt == ["rows/part-0009-000000.parquet"]


def test_the_command_says_what_it_did(run: Run) -> None:
    result = CliRunner().invoke(cli, ["compact", str(run.path)], standalone_mode=False)
    assert f"{run.id}: 40,0" in result.output and "9 files" in result.output
    assert remove_run(run.id, run.path.parents[1]).id == run.id
