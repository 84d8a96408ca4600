"""The run judges its generator; faults of every kind end it with a clear status and lose no complete row."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import perflib
from perflib.errors import SuiteError
from perflib.load.validity import doubts
from perflib.suite.file import from_table
from tests.support.runs import LONG_SUITE, run_quietly, start_perflib_run, wait_for_rows
from tests.support.servers import raw_server, says
from tests.support.suites import suite, table
from tests.support.timed_servers import started, waits_s
from tests.support.worker_health import CALM_MACHINE, HEALTHY_WORKER, OPEN_LOAD


def unanswered(waited_s: float, at_end: int) -> dict[str, float]:
    return {"users_s": 100.0, "waited_s": waited_s, "users": 10, "at_end": at_end}


@pytest.mark.usefixtures("real_limits")
@pytest.mark.parametrize(
    ("worker", "machine", "load", "said", "fatal"),
    [
        ({}, {}, OPEN_LOAD, None, False),
        ({"late_ms": {"p99": 30.0}}, {}, OPEN_LOAD, "overloaded", True),
        ({"late_ms": {"p99": 30.0}}, {}, None, None, False),
        ({"loop_pause_ms": {"p99": 80.0}}, {}, None, "the load generator was paused", True),
        ({"loop_pause_ms": {"p99": 80.0}, "own_pause_share": 0.9}, {}, None, "at work on single requests", False),
        ({"loop_pause_ms": {"p99": 80.0}, "own_pause_share": 0.9}, {}, OPEN_LOAD, "at work on single requests", True),
        ({"loop_cpu_s": 9.9}, {}, OPEN_LOAD, "99 % of a core", True),
        ({"loop_cpu_s": 9.9}, {}, None, "99 % of a core", False),
        ({"waited": 100}, {}, OPEN_LOAD, "raise max_connections", False),
        ({"waited": 100, "few_descriptors": True}, {}, OPEN_LOAD, "raise the limit of open files", False),
        ({"unanswered": unanswered(30.0, 0)}, {}, None, "30 % of the users' time went by in requests", True),
        ({"unanswered": unanswered(0.5, 2)}, {}, None, "2 of 10 users were waiting when the load ended", True),
        ({"unanswered": unanswered(4.0, 0)}, {}, None, None, False),
        ({"unanswered": unanswered(30.0, 2), "errors": 200}, {}, None, None, False),
        ({"gc_ms": 900.0}, {}, OPEN_LOAD, "collecting garbage", False),
        ({}, {"other_share": 0.4}, OPEN_LOAD, "other processes used 40 %", False),
        ({}, {"steal_share": 0.1}, OPEN_LOAD, "took 10 %", False),
    ],
)
def test_each_limit_has_its_doubt(
    worker: dict[str, Any], machine: dict[str, float], load: Any, said: str | None, fatal: bool
) -> None:
    made = suite(**({"load": load} if load else {}))
    found = doubts(made.scenarios[0], [made.targets["api"]], [HEALTHY_WORKER | worker], CALM_MACHINE | machine)
    assert [doubt.fatal for doubt in found] == ([fatal] if said else [])
    for doubt in found:
        assert said is not None
        assert said in str(doubt)
        assert doubt.advice


@pytest.mark.usefixtures("real_limits")
def test_an_overloaded_generator_makes_the_run_invalid_and_says_how_to_mend_it(tmp_path: Path) -> None:
    target = {"kind": "callable", "function": "tests.support.functions:block_the_loop"}
    run = run_quietly(
        suite(target, operations=[{"name": "hog"}], load={"model": "constant", "rate_per_s": 1000, "duration_s": 1}),
        tmp_path,
    )
    assert run.status == "invalid"
    assert "the load generator was overloaded" in run.manifest.reasons[0]
    assert "use more workers" in run.manifest.reasons[0]
    assert len(run.rows(phase=None)) == 1000, "every request is a row, late or not"


def test_an_error_burst_ends_the_run(tmp_path: Path) -> None:
    with raw_server(says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")) as url:
        load = {"model": "constant", "rate_per_s": 50, "duration_s": 30}
        began = time.monotonic()
        run = run_quietly(
            suite({"kind": "http", "url": url}, load=load, abort_on="error rate > 50 % for 1 s"), tmp_path
        )
    assert time.monotonic() - began < 12
    assert run.status == "invalid"
    assert "error rate > 50 % for 1 s (`abort_on`)" in run.manifest.reasons[0]
    assert 40 < len(run.rows(phase=None)) < 400


def test_no_more_than_the_suite_allows_is_sent_in_any_model(tmp_path: Path) -> None:
    with raw_server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as url:
        made = suite(
            {"kind": "http", "url": url}, load={"model": "closed", "concurrency": 8, "duration_s": 2}, workers=2
        )
        run = run_quietly(replace(made, max_rate_per_s=60, max_requests=100), tmp_path)
    rows = run.rows(phase=None)
    assert len(rows) == 100
    starts = np.sort(rows["start_ns"]) / 1e9
    assert np.histogram(starts - starts[0], bins=np.arange(0, 2.5, 0.5))[0].max() <= 33


@pytest.mark.parametrize(
    "load",
    [
        {"model": "constant", "rate_per_s": 61, "duration_s": 1},
        {"model": "replay", "starts": [5 + i / 100 for i in range(61)]},
    ],
)
def test_a_schedule_that_asks_for_more_is_refused_before_anything_starts(load: dict[str, Any], tmp_path: Path) -> None:
    made = replace(suite({"kind": "http", "url": "http://127.0.0.1:9"}, load=load), max_rate_per_s=60)
    with pytest.raises(SuiteError, match=r"the load requests 61 /s, but max_rate_per_s is 60"):
        run_quietly(made, tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_worker_that_is_killed_makes_the_run_invalid_and_keeps_the_rows(tmp_path: Path) -> None:
    process = start_perflib_run(tmp_path, LONG_SUITE)
    wait_for_rows(tmp_path, 1.5)
    workers = [p for p in psutil.Process(process.pid).children() if "perflib.load.generator.worker" in p.cmdline()]
    workers[0].send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    run = perflib.open_run("latest", tmp_path / "data")
    assert process.returncode == 4
    assert run.status == "invalid"
    assert "worker 0 was killed (SIGKILL)" in run.manifest.reasons[0]
    assert len(run.rows(phase=None)) >= 100
    assert "Traceback" not in err


def limited(tmp_path: Path, text: str, limit: int, value: int) -> subprocess.CompletedProcess[str]:
    (tmp_path / "s.toml").write_text(text)
    return subprocess.run(
        [sys.executable, "-B", "-m", "perflib", "run", "s.toml"],  # -B: cached bytecode would be limited as well
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(limit, (value, value)),
    )


def test_a_disk_that_takes_no_more_ends_the_run_and_keeps_the_complete_parts(tmp_path: Path) -> None:
    text = """
name = "full"
[targets.f]
kind = "callable"
function = "tests.support.functions:nothing_async"
[[scenarios]]
name = "many"
target = "f"
operations = [{ name = "call" }]
load = { model = "closed", concurrency = 4, duration_s = 20 }
"""
    (tmp_path / "tests").symlink_to(Path(__file__).parents[1])
    ran = limited(tmp_path, text, resource.RLIMIT_FSIZE, 60_000)
    assert ran.returncode == 4, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "File too large" in ran.stderr
    assert "free some space" in ran.stderr
    run = perflib.open_run("latest", tmp_path / "data")
    assert run.status == "invalid"
    assert run.corrupt == []


def test_more_users_than_descriptors_is_said_before_the_load(tmp_path: Path, service: Any) -> None:
    text = f"""
name = "few"
[targets.api]
kind = "http"
url = "{service.url}"
[[scenarios]]
name = "many"
target = "api"
operations = [{{ name = "ping", path = "/ping" }}]
load = {{ model = "closed", concurrency = 200, requests = 400 }}
"""
    ran = limited(tmp_path, text, resource.RLIMIT_NOFILE, 128)
    assert ran.returncode == 4, ran.stderr
    assert "200 users need about 264 file descriptors, and a process may have 128" in ran.stderr
    openly = text.replace(
        'model = "closed", concurrency = 200, requests = 400', 'model = "constant", rate_per_s = 200, duration_s = 1'
    )
    ran = limited(tmp_path, openly, resource.RLIMIT_NOFILE, 128)
    assert "file descriptors" not in ran.stderr
    assert "many: 200 requests" in ran.stdout + ran.stderr


def test_a_freeze_of_two_seconds_is_told_as_it_was(tmp_path: Path) -> None:
    """The truth of a 1 ms server that freezes once for 2 s, at 500 requests/s for 20 s, from the intended starts."""
    with started("freeze", "0.001", "8", "2") as url:
        load = {"model": "constant", "rate_per_s": 500, "duration_s": 20}
        run = run_quietly(suite({"kind": "http", "url": url}, load=load, warmup={"duration_s": 0}), tmp_path)
    rows = run.rows(phase=None)
    assert len(rows) == 10_000
    assert rows["ok"].all()
    response_ms = rows["response_ns"] / 1e6
    # Never less than the truth. The server also has to work off the thousand requests that waited, which takes a while
    # on a busy machine. Latency from the actual start would be 1 ms at each of these.
    for q, truth_ms in ((0.95, 1001), (0.99, 1801), (0.999, 1981)):
        assert truth_ms - 5 <= response_ms.quantile(q) <= truth_ms + 500
    assert (run.rows(phase=None)["service_ns"] / 1e6).quantile(0.99) > 1700, "each request had a connection of its own"


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_random_arrivals_wait_as_long_as_queueing_theory_says(share: float, tmp_path: Path) -> None:
    """One server with fixed service time D and utilisation ρ.

    Each request waits as the recursion of its own arrivals says; the mean over all is ρD / (2(1 − ρ)) (Pollaczek and
    Khinchine).
    """
    with started("queue", "0.004", core=1) as url:
        full = run_quietly(
            suite({"kind": "http", "url": url}, load={"model": "closed", "concurrency": 4, "duration_s": 4}), tmp_path
        )
        service_s = 1 / full.summary()["scenarios"][0]["throughput_per_s"]
        load = {"model": "poisson", "rate_per_s": share / service_s, "duration_s": 40}
        run = run_quietly(suite({"kind": "http", "url": url}, load=load, warmup={"duration_s": 0}), tmp_path)
    rows = run.rows().sort_values("scheduled_ns")
    alone_ms = rows[rows["inflight"] == 1]["response_ns"].median() / 1e6
    wait = perflib.stats.mean_interval(rows["response_ns"].to_numpy() / 1e6 - alone_ms)
    drawn_ms = waits_s(rows["scheduled_ns"].to_numpy() / 1e9, service_s).mean() * 1e3
    assert wait.low <= drawn_ms <= wait.high
    assert wait.estimate == pytest.approx(drawn_ms, rel=0.2)


def test_cautions_stand_in_the_report(tmp_path: Path, small_run: perflib.Run) -> None:
    import json
    import shutil

    shutil.copytree(small_run.path, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    manifest["scenarios"][1]["doubts"] = []
    manifest["scenarios"][0]["doubts"] = ["other processes used 40% of <this> machine during the load; stop them"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(manifest))
    run = perflib.open_run(tmp_path / "run")
    assert "queries needs a caution: other processes used 40%" in re.sub(r"<[^>]+>", "", str(run.conclusion()))
    assert "queries: other processes used 40% of &lt;this&gt; machine" in str(run.load_generator())


def test_a_wrong_abort_rule_is_one_line() -> None:
    with pytest.raises(perflib.SuiteError, match=r"cannot read abort_on 'errors > 5'; write it like"):
        from_table(table(abort_on="errors > 5"))


def test_large_answers_of_a_closed_load_are_measured_and_their_cost_is_said(tmp_path: Path) -> None:
    body = b"x" * 80_000_000 + b"done"
    answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with raw_server(answer) as url:
        made = suite(
            {"kind": "http", "url": url, "max_body_bytes": 100_000_000},
            operations=[{"name": "read", "path": "/", "expect": {"contains": "done"}}],
            load={"model": "closed", "concurrency": 2, "requests": 6},
        )
        run = run_quietly(made, tmp_path)
    assert run.rows(phase=None)["ok"].all()
    assert run.status == "complete", run.manifest.reasons
