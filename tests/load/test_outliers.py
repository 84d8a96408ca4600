"""One load generator describe_outliers its peers is named; one that dies or stands still stops the others, or not."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from perflib.load import workers
from perflib.load.outliers import describe_outliers, medians_ms
from perflib.load.validity import doubts
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite
from tests.support.worker_health import CALM_MACHINE, HEALTHY_WORKER, OPEN_LOAD

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
MEDIANS = {0: 10.0, 1: 10.4, 2: 9.8, 3: 10.1}


def health(number: int, **odd: Any) -> dict[str, Any]:
    """A worker's health; its peers' vary by a few percent."""
    own = {
        "worker": number,
        "rows": 1000 + number,
        "wall_s": 10.0,
        "cpu_s": 0.100 + number / 1000,
        "late_ms": {"p99": 0.5},
        "loop_pause_ms": {"p99": 1.0 + number / 10},
    }
    return HEALTHY_WORKER | own | odd


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({}, ""),
        ({"late_ms": {"p99": 16.8}}, "lateness at the 99th percentile is 16.8 ms, theirs 0.5 ms"),
        ({"loop_pause_ms": {"p99": 30.0}}, "pause of its event loop at the 99th percentile is 30 ms"),
        ({"cpu_s": 0.3}, "CPU time of a request is 299.1 µs"),
        ({"rows": 700}, "rate is 70 /s, theirs 100"),
        ({"rows": 900}, ""),
        ({"median": 25.0}, "median service time is 25 ms, theirs 10.2 ms"),
        ({"median": 10.9}, ""),
    ],
)
def test_one_that_differs_clearly_is_named(odd: dict[str, Any], said: str) -> None:
    load = suite(load=OPEN_LOAD).scenarios[0].load
    medians = MEDIANS | ({3: odd.pop("median")} if "median" in odd else {})
    found = list(
        describe_outliers(load, [health(0), health(1), health(2), health(3, **odd)], medians, calls_inside=False)
    )
    assert len(found) == bool(said) and all(text.startswith("worker 3 differs from its peers: its ") for text in found)
    assert not said or said in found[0]


def test_two_cannot_say_which_of_them_is_odd_and_an_uneven_share_is_not() -> None:
    load = suite(load=OPEN_LOAD).scenarios[0].load
    assert not list(describe_outliers(load, [health(0), health(1, rows=100)], {0: 1.0, 1: 90.0}, calls_inside=False))
    closed = suite(load={"model": "closed", "concurrency": 4, "duration_s": 5}).scenarios[0].load
    assert not list(
        describe_outliers(closed, [health(0), health(1), health(2, rows=500, cpu_s=0.05)], {}, calls_inside=False)
    )


def test_a_lost_share_is_fatal_and_an_odd_worker_is_not() -> None:
    made = suite(load=OPEN_LOAD)
    lost = {"worker": 2, "host": "tcp://b:1", "what": "no answer", "share": 0.25, "after_s": 12.34}
    found = doubts(
        made.scenarios[0],
        [made.targets["api"]],
        [health(0), health(1), health(3)],
        CALM_MACHINE,
        [lost],
        MEDIANS | {3: 40.0},
    )
    assert [doubt.fatal for doubt in found] == [True, False]
    assert (
        "worker 2 on tcp://b:1 was lost 12.3 s after the load began, and 25 % of the load is missing" in found[0].text
    )
    assert "worker 3 differs" in found[1].text


def test_the_slow_one_of_three_workers_is_named_in_run_json(tmp_path: Path) -> None:
    target = {
        "kind": "callable",
        "function": "tests.support.functions:slow_in_one_worker",
        "env": {"SLOW_ONE": str(tmp_path / "slow")},
    }
    run = run_quietly(
        suite(
            target,
            operations=[{"name": "sleep"}],
            workers=3,
            load={"model": "constant", "rate_per_s": 90, "duration_s": 2},
        ),
        tmp_path,
    )
    medians = medians_ms(run.path, [0, 1, 2])
    slow = max(medians, key=lambda worker: medians[worker])
    (said,) = [text for text in run.scenarios[0].record.doubts if "median service time" in text]
    assert said.startswith(f"worker {slow} differs from its peers")


def one_worker(folder: Path, act: Callable[[psutil.Process], None]) -> None:
    """Do that to one of our worker processes, once there are rows."""
    until = time.monotonic() + 30
    while time.monotonic() < until and len(list(folder.glob("data/runs/*/rows/*.parquet"))) < 6:
        time.sleep(0.05)
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "perflib.load.generator.worker" in child.cmdline():
                act(child)
                return


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stop", "continue"])
@pytest.mark.parametrize(
    ("signalled", "said"), [(signal.SIGKILL, "ended with code -9"), (signal.SIGSTOP, "hung for 2 s")]
)
def test_the_others_stop_or_go_on_as_the_suite_says(
    policy: Any, signalled: signal.Signals, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "STALL_S", 2.0)
    with raw_server(says(ANSWER)) as url:
        threading.Thread(target=one_worker, args=(tmp_path, lambda p: p.send_signal(signalled))).start()
        made = suite(
            {"kind": "http", "url": url}, workers=3, load={"model": "constant", "rate_per_s": 90, "duration_s": 7}
        )
        run = run_quietly(replace(made, on_lost=policy), tmp_path)
    (entry,) = run.scenarios
    (missing,) = entry.record.missing
    made_by = run.rows(phase=None).groupby("worker").size()
    whole = [worker for worker in made_by.index if made_by[worker] == 210]
    assert run.status == "invalid" and said in run.manifest.reasons[0] and said in missing.what
    assert made_by[missing.worker] > 10, "what it made until then is kept"
    assert (entry.record.status, len(whole)) == (("aborted", 0) if policy == "stop" else ("partial", 2))
