"""No command destroys rows: two at once, one that is killed, and files from somebody else."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import perflib
from perflib.cli import cli
from perflib.errors import RunError
from perflib.store import baselines, compaction, recording
from perflib.store.lease import WRITING, Lease, held
from perflib.store.manifest import write_manifest
from perflib.store.records import Replacing
from perflib.store.runs import remove_run, run_ids
from perflib.verdicts.run import Run
from tests.support.suites import suite
from tests.support.synthetic import synthetic_run
from tests.support.written import latencies, written

ROWS = 40_000


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return synthetic_run(tmp_path_factory.mktemp("made"), ROWS)


@pytest.fixture
def run(original: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(original.path, tmp_path / "runs" / original.id)))


class Killed(BaseException):
    pass


def said(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    if isinstance(result.exception, RunError):
        assert "\n" not in str(result.exception)
        return str(result.exception)
    assert result.exception is None, result.exception
    return result.output


def rows_of(run: Run) -> tuple[int, int]:
    found = Run(run.path).query("select count(*), count(distinct (scenario, worker, seq)) from rows").fetchone()
    assert found is not None
    return found


def files(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_two_that_compact_at_once_lose_nothing(original: Run, tmp_path: Path) -> None:
    """Two processes, which have imported everything before, 0 to 60 ms apart."""
    script = (
        "import sys, pathlib, time; import duckdb, pandas; from perflib.verdicts.run import Run\n"
        "from perflib.store.compaction import compact; from perflib.errors import RunError\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    path, wait = line.split(); time.sleep(float(wait))\n"
        "    try: compact(Run(pathlib.Path(path)))\n"
        "    except RunError as error: print(error, flush=True)\n"
        "    else: print('done', flush=True)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        pipes = [(process.stdin, process.stdout) for process in started if process.stdin and process.stdout]
        assert [output.readline() for _, output in pipes] == ["ready\n"] * 2
        for repetition in range(4):
            copy = Run(Path(shutil.copytree(original.path, tmp_path / "runs" / f"{original.id}-{repetition}")))
            for place, (entry, _) in enumerate(pipes):
                entry.write(f"{copy.path} {place * repetition * 0.02}\n")
                entry.flush()
            answers = [output.readline() for _, output in pipes]
            assert "done\n" in answers
            assert all(answer == "done\n" or "is being compacted" in answer for answer in answers), answers
            assert rows_of(copy) == (ROWS, ROWS)
            assert len(list((copy.path / "rows").iterdir())) == 1
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("many", [False, True])
def test_who_reads_a_run_while_it_is_compacted_sees_each_row_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """Files go between their listing and their reading; run.json says which count between its reading and theirs."""
    if many:  # then they are read anew for each figure
        monkeypatch.setattr(recording, "IN_MEMORY_ROWS", 1_000)
    listed, opened, within = Run(run.path), Run(run.path), []
    assert len(listed.parts) > 1
    sync = compaction.sync

    def old_and_new_are_there(folder: Path) -> None:
        if not within:
            within.append(Run(run.path))
            assert len(within[0].parts) < len(listed.parts)  # which the switch to come replaces once more
            assert opened.query("select count(*) from rows").fetchone() == (ROWS,)
        sync(folder)

    monkeypatch.setattr(compaction, "sync", old_and_new_are_there)
    compaction.compact(Run(run.path))
    for reader in (listed, opened, *within):
        counted = "select count(*), count(distinct (scenario, worker, seq)) from rows"
        assert reader.query(counted).fetchone() == (ROWS, ROWS)
        assert reader.damage == []


@pytest.mark.skipif(sys.platform == "win32", reason="it has no named pipes")
def test_pipes_in_a_run_are_not_waited_for(run: Run) -> None:
    os.mkfifo(run.path / "rows" / "part-9999-000000.parquet")
    assert Run(run.path).corrupt == ["rows/part-9999-000000.parquet"]
    (run.path / "run.json").unlink()
    os.mkfifo(run.path / "run.json")
    with pytest.raises(RunError, match="no regular file"):
        Run(run.path)


def test_a_run_of_numbers_that_nothing_holds_is_one_line(run: Run) -> None:
    file = run.path / "run.json"
    content = json.loads(file.read_text("utf-8"))
    content["scenarios"][0]["segments"][0]["stop_ns"] = 10**25
    file.write_text(json.dumps(content), "utf-8")
    assert "stop_ns" in said("check", str(run.path))
    content["scenarios"][0]["segments"][0]["stop_ns"] = 1
    content["scenarios"][0]["name"] = "nobody's"
    file.write_text(json.dumps(content), "utf-8")
    assert "is not in its suite" in said("check", str(run.path))


def test_a_run_that_vanishes_while_it_is_read_is_one_line(run: Run) -> None:
    assert run.parts
    shutil.rmtree(run.path)
    with pytest.raises(RunError, match=r"cannot read run\.json"):
        run.verdicts()


def test_old_files_stay_when_a_new_one_is_lost_or_damaged_after_the_switch(run: Run, original: Run) -> None:
    old = [f"rows/{path.name}" for path in sorted((run.path / "rows").iterdir())]
    run.manifest.replacing = Replacing(old=old, new=["rows/part-c0-000000.parquet"], rows=ROWS)
    write_manifest(run.path, run.manifest)
    (run.path / "rows" / ".part-c0-000000.parquet").write_bytes(b"PAR1")
    compaction.compact(Run(run.path))
    assert rows_of(run) == (ROWS, ROWS)


@pytest.mark.parametrize("new", [[], ["rows/part-c0-000000.parquet"]])
def test_a_run_that_asks_to_lose_its_rows_loses_none(run: Run, new: list[str]) -> None:
    old = [f"rows/{path.name}" for path in sorted((run.path / "rows").iterdir())]
    run.manifest.replacing = Replacing(old=old, new=new)
    write_manifest(run.path, run.manifest)
    if new:  # another part's content
        shutil.copy(run.path / old[0], run.path / new[0])
    compaction.compact(Run(run.path))
    assert rows_of(run) == (ROWS, ROWS)


def test_where_neither_old_nor_new_files_are_whole_nothing_is_deleted(run: Run) -> None:
    old = [f"rows/{path.name}" for path in sorted((run.path / "rows").iterdir())]
    run.manifest.replacing = Replacing(old=[*old, "rows/part-9.parquet"], new=["rows/part-c0-000000.parquet"])
    write_manifest(run.path, run.manifest)
    before = files(run.path)
    assert "nothing was deleted" in said("compact", str(run.path))
    assert files(run.path) == before


@pytest.mark.parametrize("command", ["compact", "rm", "baseline set main"])
def test_a_run_whose_writer_is_alive_elsewhere_is_left_alone(run: Run, tmp_path: Path, command: str) -> None:
    """Its writer is on another host that shares the folder: its pid means nothing here."""
    run.manifest.status = "running"
    write_manifest(run.path, run.manifest)
    lease = Lease(run.path, WRITING)
    about = json.loads(lease.path.read_text())
    lease.path.write_text(json.dumps({**about, "host": "other", "boot": "other", "pid": 1}))
    before = files(run.path)
    assert Run(run.path).status == "running"
    assert "running" in said(*command.split(), run.id, "--data", str(tmp_path))
    assert files(run.path) == before
    lease.release()


@pytest.mark.parametrize("command", ["compact", "rm", "baseline set main"])
def test_a_run_that_another_command_changes_is_left_alone(run: Run, tmp_path: Path, command: str) -> None:
    with held(run.path, "compact"):
        before = files(run.path)
        assert "is being compacted" in said(*command.split(), run.id, "--data", str(tmp_path))
        assert files(run.path) == before


def test_the_writer_of_a_run_holds_its_lease_until_the_end(tmp_path: Path) -> None:
    seen: list[str] = []

    def look() -> None:
        until = time.monotonic() + 20
        while not seen and time.monotonic() < until:
            for path in tmp_path.glob("runs/*/.lease.json"):
                seen.append(said("rm", path.parent.name, "--data", str(tmp_path)))
            time.sleep(0.02)

    looking = threading.Thread(target=look)
    looking.start()
    sleeps = suite(
        {"kind": "callable", "function": "time:sleep"},
        operations=[{"name": "sleep", "args": [0.01]}],
        load={"model": "closed", "concurrency": 1, "duration_s": 0.5},
    )
    run = perflib.run(sleeps, data=tmp_path, progress=False)
    looking.join()
    assert "is still running" in seen[0]
    assert not (run.path / ".lease.json").exists()


# rm


def test_one_side_of_an_ab_test_cannot_be_removed(run: Run, tmp_path: Path) -> None:
    assert f"one side of an A/B test cannot be removed; remove both: perflib rm {run.id}" in said(
        "rm", f"{run.id}@a", "--data", str(tmp_path)
    )
    assert run.path.is_dir()


def test_what_is_not_among_the_runs_stays(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "runs" / "mine"
    shutil.copytree(run.path, other)
    (tmp_path / "runs" / "linked").symlink_to(other)
    for name in (str(other), f"{run.path}/../../elsewhere/runs/mine", "linked"):
        assert "not among the runs" in said("rm", name, "--data", str(tmp_path))
    assert (other / "run.json").is_file()


@pytest.mark.parametrize("name", ["thesis.txt", "rows/notes.txt", "logs/deep/a.log", "counts/x.py", "src/run.json"])
def test_a_folder_with_files_of_others_stays(run: Run, tmp_path: Path, name: str) -> None:
    path = run.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    assert f"did not write: '{name}'" in said("rm", run.id, "--data", str(tmp_path))
    assert path.read_text() == "mine" and rows_of(run) == (ROWS, ROWS)


def test_a_folder_with_a_link_stays(run: Run, tmp_path: Path) -> None:
    (run.path / "logs").symlink_to(tmp_path)
    assert "did not write: 'logs'" in said("rm", run.id, "--data", str(tmp_path))
    assert run.path.is_dir()


def test_a_removal_that_is_cut_short_is_finished_by_the_next_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, **_: Any) -> None:
        if Path(path).exists():
            (Path(path) / "run.json").unlink()
            raise Killed

    with monkeypatch.context() as cut:
        cut.setattr(shutil, "rmtree", killed)
        with pytest.raises(Killed):
            remove_run(run.id, tmp_path)
    assert list((tmp_path / "runs").iterdir()) != []
    assert run_ids(tmp_path) == []
    assert list((tmp_path / "runs").iterdir()) == []


# baselines


@pytest.mark.parametrize("point", range(8))
def test_a_baseline_that_is_cut_short_is_the_old_one_or_the_new_one(
    tmp_path: Path, point: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (written(tmp_path, latencies(200, seed), name=name) for seed, name in enumerate(("old", "new")))
    baselines.set_baseline("main", old, tmp_path)
    left = itertools.count(point, -1)

    def counted(change: Any) -> Any:
        def changed(*args: Any, **kwargs: Any) -> Any:
            if next(left) <= 0:
                raise Killed
            return change(*args, **kwargs)

        return changed

    with monkeypatch.context() as cut:
        cut.setattr(Path, "replace", counted(Path.replace))
        cut.setattr(shutil, "rmtree", counted(shutil.rmtree))
        try:
            baselines.set_baseline("main", new, tmp_path)
        except Killed:
            pass
    assert said("baseline", "list", "--data", str(tmp_path)).count("main") >= 1
    (found,) = baselines.baselines(tmp_path).values()
    assert found.id in (old.id, new.id) and found.damage == []
    assert len(found.query("select * from rows").fetchall()) == 200
    assert [path.name for path in (tmp_path / "baselines").iterdir()] == ["main"]


def test_a_baseline_of_a_run_whose_compaction_was_cut_short_has_every_row(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as cut:
        cut.setattr(compaction, "_switch", killed)
        with pytest.raises(Killed):
            compaction.compact(run)
    assert Run(run.path).manifest.replacing is not None
    assert rows_of(Run(baselines.set_baseline("main", Run(run.path), tmp_path).path)) == (ROWS, ROWS)


# files from somebody else

HOSTILE: dict[str, dict[str, Any]] = {
    "its name is the folder above": {"run": ".."},
    "its name is hidden": {"run": ".ssh"},
    "its name is a path": {"run": "a/../../b"},
    "an old file elsewhere": {"replacing": {"old": ["../../victim.parquet"], "new": []}},
    "a new file elsewhere": {"replacing": {"old": [], "new": ["rows/../../../part-1.parquet"]}},
    "an old file that is no part": {"replacing": {"old": ["run.json"], "new": []}},
}


@pytest.mark.parametrize("changed", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("command", ["compact", "report", "rm", "baseline set main", "check"])
def test_a_run_that_names_files_outside_its_folder_is_refused_in_one_line(
    run: Run, tmp_path: Path, changed: dict[str, Any], command: str
) -> None:
    (tmp_path / "victim.parquet").write_text("precious")
    content = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**content, **changed}))
    before = files(tmp_path)
    line = said(*command.split(), str(run.path), "--data", str(tmp_path))
    assert "cannot read run.json: " in line and next(iter(changed)) in line
    assert files(tmp_path) == before


def test_links_of_somebody_else_s_run_are_not_followed(run: Run, original: Run, tmp_path: Path) -> None:
    shutil.rmtree(run.path / "rows")
    victim = shutil.copytree(original.path / "rows", tmp_path / "victim")
    (run.path / "rows").symlink_to(victim)
    (run.path / "counts").symlink_to(tmp_path / "victim")
    before = files(Path(victim))
    assert "rows is a link to another folder" in said("compact", str(run.path), "--data", str(tmp_path))
    said("check", str(run.path), "--data", str(tmp_path))
    assert files(Path(victim)) == before
