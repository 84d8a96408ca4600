"""The history: what is recorded, by several writers at once, and the change of level that is found in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from perflib import charts
from perflib.cli import cli
from perflib.report.render import execute, html
from perflib.store import metadata
from perflib.store.records import GitRecord
from perflib.store.runs import remove_run
from perflib.verdicts.history import History, folder, history, left_out, record, record_all
from tests.support.html_pages import ParsedPage
from tests.support.written import latencies, written

EVIL = "<script>alert(1)</script>"


def ran(*arguments: str) -> Any:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine runs, from the sixth on a third slower; each removed again when it is recorded."""
    home = tmp_path_factory.mktemp("history")
    for i in range(11):
        run = written(
            home, latencies(600, i) * (1.33 if i > 5 else 1.0), name=f"shop {EVIL}", scenario=f"browse {EVIL}"
        )
        run.manifest.git = GitRecord(commit=f"{i:x}" * 40, dirty=False)
        assert record(run, home)
        remove_run(run.id, home)
    return home


def test_a_change_of_level_is_found_between_its_commits(data: Path) -> None:
    series = {each.metric: each for each in history(data=data)}
    (change,) = series["p50"].changes
    assert change.index == 6
    low, high = series["p50"].percent(change)[1:]
    assert low < 33 < high
    assert series["p50"].added_up
    assert series["p50"].since_start.low < 33 < series["p50"].since_start.high
    assert [commit[0] for commit in series["p50"].commits(change)] == ["5", "6"]
    assert not series["throughput"].changes
    assert [each.metric for each in history("p95", data)] == ["p95"]
    assert "%" in charts.history(series["p50"]).get_label()
    assert charts.history(series["p50"]).axes[0].get_ylabel() == "p50 response, ms"


def test_a_series_is_of_one_machine_suite_and_load(tmp_path: Path) -> None:
    for other in (
        {},
        {"host": {"cpu": "Another CPU"}},
        {"rate_per_s": 50.0},
        {"name": "another"},
        {"host": {"kernel": "7"}, "python": "3.12.0"},
    ):
        written(tmp_path, latencies(100, 1), **other)
    assert len(record_all(tmp_path)) == 5
    assert [len(each.points) for each in history("p50", tmp_path)] == [2]
    assert history("p50", tmp_path).single == 3


def test_machines_have_names_and_those_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for host in ({}, {"cpu": "Another CPU"}, {"cpu": "Another CPU", "memory_bytes": 32_000_000_000}) * 2:
        written(tmp_path, latencies(100, 1), host=host)
    record_all(tmp_path)
    names = sorted(each.machine_name for each in history("p50", tmp_path))
    assert names[2] == "Test CPU" and len(set(names)) == 3
    assert all(re.fullmatch(r"Another CPU \([0-9a-f]{4}\)", name) for name in names[:2])
    page = str(history("p50", tmp_path).conclusion()) + str(history("p50", tmp_path)[0].heading.note)
    assert history("p50", tmp_path)[0].machine not in page


def recorded(home: Path, times_ms: Any, **git: Any) -> str:
    """A run that is in the history, with this commit or with --quick."""
    run = written(home, times_ms)
    run.manifest.quick = git.pop("quick", False)
    run.manifest.git = GitRecord(**git)
    assert record(run, home)
    remove_run(run.id, home)
    return run.id


def test_a_creep_that_no_comparison_sees_is_a_drift_of_known_size(tmp_path: Path) -> None:
    for i in range(14):
        recorded(tmp_path, latencies(400, i) * 1.025**i)
    (series,) = history("p50", tmp_path)
    assert not series.changes
    assert series.drift.low < 100 * (1.025**13 - 1) < series.drift.high
    assert series.added_up
    assert "Drifts by +" in charts.history(series).get_label()
    assert "1 drifts" in str(history("p50", tmp_path).conclusion())
    assert "drifts by +" in str(history("p50", tmp_path).changes())
    (row,) = json.loads(ran("history", "--metric", "p50", "--data", str(tmp_path), "--json").stdout)
    assert row["last change"] == "none"
    assert row["drift"].startswith("+")


def test_a_series_is_in_the_order_of_commits_and_quick_runs_are_another(tmp_path: Path) -> None:
    days = ["2026-01-03", "2026-01-01", "2026-01-02"]
    runs = [recorded(tmp_path, latencies(100, 1), commit=day, committed_at=f"{day}T00:00:00+00:00") for day in days]
    for _ in range(2):
        recorded(tmp_path, latencies(100, 1), quick=True)
    full, quick = sorted(history("p50", tmp_path), key=lambda each: each.quick)
    assert [point.run for point in full.points] == [runs[1], runs[2], runs[0]]
    assert len(quick.points) == 2
    assert "tested, quick, one" in str(quick)


def test_a_run_says_when_its_commit_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert metadata.git() is None
    at = {"GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"}
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "x"], check=True, env={**os.environ, **at})
    assert metadata.git()["committed_at"] == "2026-01-02T03:04:05+00:00"


def test_two_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(200, 1))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: record(type(run)(run.path), tmp_path), range(8)))
    (file,) = folder(tmp_path).iterdir()
    assert pq.read_table(file).num_rows == 6
    assert record_all(tmp_path) == []


def test_what_did_not_end_well_is_not_recorded_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    written(tmp_path / "data", latencies(200, 1), status="invalid")
    good = written(tmp_path / "data", latencies(200, 1))
    assert record_all() == [good.id]
    (folder() / "broken.parquet").write_bytes(b"PAR1")
    assert left_out() == ["broken.parquet cannot be read; its run is left out"]
    said = ran("history", "--metric", "p50", "--json")
    assert "broken.parquet cannot be read" in said.stderr
    assert json.loads(said.stdout) == []  # one run is no series
    assert "a history begins with the second" in said.stderr
    cut = written(tmp_path / "data", latencies(200, 2))
    next((cut.path / "rows").iterdir()).write_bytes(b"PAR1")
    assert record_all() == []
    assert f"{cut.id} is left out: the content of rows/part-0000-000000.parquet is missing" in ran("history").stderr
    assert "there is no metric 'p51'; known: p50" in ran("history", "--metric", "p51").exception.message


def test_the_page_needs_nothing_else_and_escapes(data: Path, tmp_path: Path) -> None:
    text = html(execute("history", {"data": str(data)}, tmp_path / "h.ipynb"), "History")
    page = ParsedPage(text)
    assert "script" not in page.tags
    assert not [a for a in page.attributes if a[1] in ("src", "href") and not a[2].startswith(("data:image/png", "#"))]
    moved, steady = history(data=data).moved, history(data=data).steady
    assert f" of {len(moved) + len(steady)} series changed their level" in text and "worse" in text
    assert text.index("Series that moved") < text.index("Steady series"), "small charts of what did not change are last"
    assert page.tags.count("img") == len(moved) + len(steady) > len(moved) > 1
    assert "on Test CPU" in text and moved[0].machine not in re.sub("<[^>]+>", "", text)
    assert "There is no history yet" in str(History().conclusion())
