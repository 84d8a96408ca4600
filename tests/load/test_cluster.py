"""Load from two "machines" of a Dask cluster, one with another clock: rows on one time line, and faults reported."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perflib
from perflib.errors import TargetError
from tests.support.dask_cluster import AHEAD_S, HAS_OTHER_CLOCK, DaskCluster
from tests.support.suites import suite

distributed = pytest.importorskip("distributed", reason='no Dask here: pip install "perflib-workbench[dask]"')
ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> Iterator[DaskCluster]:
    started = DaskCluster()
    try:
        yield started
    finally:
        started.close()


@pytest.fixture
def client(cluster: DaskCluster) -> Iterator[Any]:
    from perflib.load.cluster import connected

    until = time.monotonic() + 30
    while True:
        with contextlib.suppress(TargetError), connected(cluster.address) as found:
            found.wait_for_workers(2, timeout=30)
            yield found
            return
        assert time.monotonic() < until, "no scheduler"


def load(url: str, **load: Any) -> perflib.Suite:
    return suite({"kind": "http", "url": url}, operations=[{"name": "ping", "path": "/ping"}], load=load)


def counted(url: str) -> int:
    import json

    with urllib.request.urlopen(f"{url}/counts") as answer:
        return int(json.load(answer)["total"])


def test_two_machines_make_one_schedule_on_one_clock(client: Any, make_service: Any, tmp_path: Path) -> None:
    server = make_service()
    run = perflib.run(
        load(server.url, model="constant", rate_per_s=200, duration_s=3),
        data=tmp_path / "data",
        progress=False,
        client=client,
    )
    rows = run.rows(phase=None)
    assert len(rows) == 600 == counted(server.url) and not rows["error"].notna().any()
    assert rows.groupby("worker").size().tolist() == [300, 300]
    due = np.sort(rows["scheduled_ns"].to_numpy())
    assert np.all(np.abs(np.diff(due) - 5_000_000) <= 1), "the shards are one schedule, interleaved"
    (entry,) = run.scenarios
    truth_ns = {0, AHEAD_S * 1_000_000_000} if HAS_OTHER_CLOCK else {0}
    assert {min(truth_ns, key=lambda t: abs(c.offset_ns - t)) for c in entry.record.clocks} == truth_ns
    for clock in entry.record.clocks:
        off_ns = min(abs(clock.offset_ns - truth) for truth in truth_ns)
        assert off_ns <= clock.uncertainty_ns < 100_000_000 and clock.drift_ns is not None
    window = entry.record.segments[0]
    assert 2.9e9 < window.stop_ns - window.start_ns < 20e9
    # Each machine's requests were sent after they were due on our clock, and soon: nothing of the hour is left.
    sent_late_s = (rows["start_ns"] - rows["scheduled_ns"]) / 1e9
    assert sent_late_s.min() >= 0 and sent_late_s.groupby(rows["worker"]).median().max() < 1
    sampled = run.sql("select distinct name from resources where role = 'generator'")["name"]
    assert set(sampled) == {"worker 0", "worker 1"}


@pytest.mark.slow
def test_users_of_a_closed_load_are_divided(client: Any, make_service: Any, tmp_path: Path) -> None:
    server = make_service()
    run = perflib.run(
        load(server.url, model="closed", concurrency=5, requests=301),
        data=tmp_path / "data",
        progress=False,
        client=client,
    )
    rows = run.rows(phase=None)
    assert len(rows) == 301 == counted(server.url)
    assert sorted(rows.groupby("worker").size()) == [150, 151] and rows["inflight"].max() <= 3


def lost_soon(cluster: DaskCluster, folder: Path, how: signal.Signals = signal.SIGKILL) -> threading.Thread:
    """Kills (or stops) a Dask worker when both have written rows."""

    def lose() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and len(list(folder.glob("data/runs/*/rows/*.parquet"))) < 4:
            time.sleep(0.05)
        cluster.workers[0].send_signal(how)

    thread = threading.Thread(target=lose)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_others_go_on_without_a_machine_that_is_lost_if_the_suite_says_so(
    how: signal.Signals, cluster: DaskCluster, client: Any, make_service: Any, tmp_path: Path
) -> None:
    server = make_service()
    losing = lost_soon(cluster, tmp_path, how)
    made = replace(load(server.url, model="constant", rate_per_s=100, duration_s=8), on_lost="continue")
    run = perflib.run(made, data=tmp_path / "data", progress=False, client=client)
    losing.join()
    (entry,) = run.scenarios
    (missing,) = entry.record.missing
    assert (run.status, entry.record.status, missing.share) == ("invalid", "partial", 0.5)
    assert missing.host.startswith("tcp://") and missing.host in run.manifest.reasons[0]
    assert f"worker {missing.worker} on {missing.host} was lost" in str(run.load_generator())
    made_by = run.rows(phase=None).groupby("worker").size()
    assert made_by[1 - missing.worker] == 400 and 0 < made_by[missing.worker] < (400 if how == signal.SIGKILL else 401)


@pytest.mark.slow
def test_a_machine_that_is_lost_makes_the_run_invalid_and_is_named(
    cluster: DaskCluster, client: Any, make_service: Any, tmp_path: Path
) -> None:
    server = make_service()
    lost_soon(cluster, tmp_path)
    began = time.monotonic()
    run = perflib.run(
        load(server.url, model="constant", rate_per_s=100, duration_s=60),
        data=tmp_path / "data",
        progress=False,
        client=client,
    )
    assert time.monotonic() - began < 50, "the others do not go on for a minute"
    assert run.status == "invalid"
    assert "the load generator on tcp://" in run.manifest.reasons[0] and "is lost" in run.manifest.reasons[0]
    assert run.sql("select count(distinct worker) as n from rows")["n"][0] == 2, "what both wrote is there"
    made = counted(server.url)
    time.sleep(1)
    assert counted(server.url) == made, "nobody sends any more"


@pytest.mark.slow
def test_without_their_coordinator_the_workers_stop_by_themselves(
    cluster: DaskCluster, client: Any, make_service: Any, tmp_path: Path
) -> None:
    server = make_service()
    (tmp_path / "s.toml").write_text(
        f'name = "long"\n[targets.api]\nkind = "http"\nurl = "{server.url}"\n'
        '[[scenarios]]\nname = "steady"\ntarget = "api"\noperations = [{ name = "ping", path = "/ping" }]\n'
        'load = { model = "constant", rate_per_s = 100, duration_s = 120 }\n'
    )
    command = [sys.executable, "-m", "perflib", "run", "s.toml", "--dask", cluster.address]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("data/runs/*/rows/*.parquet"))) < 2:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until, made = time.monotonic() + 15, -1
    while counted(server.url) != made:
        made = counted(server.url)
        assert time.monotonic() < until, "they went on"
        time.sleep(1)
    run = perflib.open_run("latest", tmp_path / "data")
    assert run.status == "incomplete" and len(run.rows(phase=None)) > 50


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perflib.load import cluster

    monkeypatch.setattr(cluster, "PATIENCE_S", 1.0)
    with pytest.raises(TargetError, match="no Dask scheduler answers at tcp:"), cluster.connected("tcp://127.0.0.1:9"):
        pass


def test_nothing_of_dask_is_imported_without_the_option() -> None:
    code = (
        "import sys, perflib.load.session, perflib.load.scenario; "
        "sys.exit(any(name.partition('.')[0] in ('dask', 'distributed') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
