"""Whole runs: the server's count against the rows, load models on a clock, faults, ends of every kind."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import perflib
from perflib.store.metadata import python_call
from perflib.suite.file import from_table
from tests.support.functions import nap, nap_in_a_thread
from tests.support.runs import LONG_SUITE, run_quietly, start_perflib_run, wait_for_rows
from tests.support.servers import raw_server, says
from tests.support.suites import suite, table

DOCUMENT = {"path": "01-retry-policy.md"}
OK = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_servers_count_is_the_number_of_rows_over_rest(make_service: Any, tmp_path: Path, workers: int) -> None:
    server = make_service("--error-rate", "0.2")
    operations = [
        {"name": "ping", "path": "/ping"},
        {"name": "stats", "path": "/stats"},
        {"name": "validate", "method": "POST", "path": "/validate", "json": DOCUMENT},
    ]
    made = run_quietly(
        suite(
            {"kind": "http", "url": server.url},
            operations=operations,
            workers=workers,
            load={"model": "closed", "concurrency": 10, "requests": 500},
        ),
        tmp_path,
    )
    rows, counts = made.rows(phase=None), server.get("/counts")
    assert len(rows) == 500 == counts["total"]
    assert (rows["error"] == "http_5xx").sum() == counts["injected"] > 50
    assert sorted(rows["worker"].unique()) == list(range(workers))
    by_operation = rows["operation"].value_counts()
    assert by_operation["ping"] == counts["rest:ping"]


def test_the_servers_count_is_the_number_of_rows_over_mcp(make_service: Any, tmp_path: Path) -> None:
    server = make_service("--error-rate", "0.2")
    made = run_quietly(
        suite(
            {"kind": "mcp", "url": server.url + "/mcp"},
            operations=[
                {"name": "validate", "tool": "validate_file", "arguments": DOCUMENT},
                {"name": "ping", "tool": "ping"},
            ],
            load={"model": "constant", "rate_per_s": 200, "duration_s": 1.5},
            warmup={"duration_s": 0.5},
        ),
        tmp_path,
    )
    rows, counts = made.rows(phase=None), server.get("/counts")
    assert len(rows) == 400 == counts["total"]
    assert (rows["phase"] == "warmup").sum() == 100
    assert (rows["error"] == "mcp_tool").sum() == counts["injected"] > 40
    assert made.manifest.targets["api"].protocol_version == "2026-07-28"


def test_every_call_of_a_callable_is_a_row(tmp_path: Path) -> None:
    log = tmp_path / "calls"

    def work() -> None:
        with log.open("ab") as file:
            file.write(b".")
        if os.getpid() and time.monotonic_ns() % 5 == 0:
            raise KeyError("injected")

    made = run_quietly(
        suite(
            {"kind": "callable", "function": work},
            operations=[{"name": "work"}],
            load={"model": "closed", "concurrency": 8, "requests": 400},
        ),
        tmp_path,
    )
    assert len(made.rows(phase=None)) == 400 == log.stat().st_size
    assert set(made.rows(phase=None)["error"].dropna()) <= {"exception:KeyError"}


@pytest.mark.parametrize("function", [nap, nap_in_a_thread])
def test_callables_run_concurrently_and_waiting_counts(function: Any, tmp_path: Path) -> None:
    target = {"kind": "callable", "function": f"tests.support.functions:{function.__name__}"}
    made = run_quietly(
        suite(target, operations=[{"name": "nap"}], load={"model": "closed", "concurrency": 100, "requests": 400}),
        tmp_path,
    )
    rows = made.rows(phase=None)
    assert rows["inflight"].max() == 100
    assert (rows["end_ns"].max() - rows["start_ns"].min()) / 1e9 < 2.5  # 400 × 0.05 s one after the other would take 20
    assert rows["service_ns"].min() >= 49e6


def test_a_callable_that_does_not_return_is_a_timeout_and_not_the_end(tmp_path: Path) -> None:
    target = {"kind": "callable", "function": "time:sleep", "timeout_s": 0.2}
    made = run_quietly(
        suite(
            target,
            operations=[{"name": "stuck", "args": [3]}],
            load={"model": "closed", "concurrency": 2, "requests": 6},
        ),
        tmp_path,
    )
    rows = made.rows(phase=None)
    assert rows["error"].tolist() == ["timeout"] * 6
    assert made.status == "complete"


def test_a_callable_inside_this_process_shares_its_state(tmp_path: Path) -> None:
    calls: list[int] = []

    async def here(n: int) -> None:
        calls.append(n)
        await asyncio.sleep(0.001)

    made = perflib.Suite(
        name="inside", targets={"here": perflib.Target(kind="callable", function=here, in_process=True)},
        scenarios=[perflib.Scenario(name="s", target="here", operations=[perflib.Operation(name="here", args=[4])],
                                    load=perflib.Load(model="closed", concurrency=5, requests=50))],
    )  # fmt: skip
    assert len(run_quietly(made, tmp_path).rows(phase=None)) == 50 == len(calls)

    async def kernel() -> perflib.Run:
        return run_quietly(made, tmp_path)

    assert len(asyncio.new_event_loop().run_until_complete(kernel()).rows(phase=None)) == 50


def test_open_models_start_on_schedule_and_never_early(tmp_path: Path) -> None:
    with raw_server(OK) as url:
        made = run_quietly(
            suite({"kind": "http", "url": url}, load={"model": "constant", "rate_per_s": 200, "duration_s": 2}),
            tmp_path,
        )
    rows = made.rows(phase=None).sort_values("scheduled_ns")
    late = rows["start_ns"] - rows["scheduled_ns"]
    assert len(rows) == 400
    assert late.min() >= 0
    assert late.median() < 2e6
    assert np.diff(rows["scheduled_ns"]).tolist() == [5_000_000] * 399


def test_waiting_for_a_stalled_server_counts_from_the_schedule(make_service: Any, tmp_path: Path) -> None:
    server = make_service("--stall-after-s", "1.5", "--stall-s", "1")
    made = run_quietly(
        suite({"kind": "http", "url": server.url}, load={"model": "constant", "rate_per_s": 100, "duration_s": 4}),
        tmp_path,
    )
    rows = made.rows(phase=None)
    assert len(rows) == 400
    waited = rows["response_ns"] / 1e9
    assert 0.85 < waited.max() < 1.3
    assert 60 <= (waited > 0.2).sum() <= 110  # a freeze of 1 s at 100 /s holds up 80 requests for more than 0.2 s


def test_what_could_not_be_sent_is_a_row_as_well(tmp_path: Path) -> None:
    def slow(connection: Any, number: int) -> bool:
        time.sleep(5)
        return False

    with raw_server(slow) as url:
        target = {"kind": "http", "url": url, "max_connections": 3, "timeout_s": 1.0}
        made = run_quietly(suite(target, load={"model": "constant", "rate_per_s": 20, "duration_s": 1}), tmp_path)
    rows = made.rows(phase=None)
    assert len(rows) == 20
    assert set(rows["error"]) == {"timeout", "unsent"}
    ended_s = (rows["end_ns"].max() - rows["scheduled_ns"].max()) / 1e9
    assert ended_s < 2.5, "two timeouts after the last was due, and not 20 requests in turns of 3"
    assert rows.loc[rows["error"] == "unsent", "response_ns"].min() > 0.9e9, "as long as they waited"


def test_a_rate_that_no_generator_can_make_ends_and_makes_the_run_invalid(tmp_path: Path) -> None:
    target = {"kind": "callable", "function": "tests.support.functions:nap", "timeout_s": 0.5}
    began = time.monotonic()
    made = run_quietly(
        suite(target, operations=[{"name": "nap"}], load={"model": "constant", "rate_per_s": 1e8, "duration_s": 1}),
        tmp_path,
    )
    assert time.monotonic() - began < 20, "and not the hours that 100,000,000 requests would take"
    assert made.status == "invalid"
    assert (
        "0.5 s after its last request was due it had not come to all of them; use more workers"
        in made.manifest.reasons[0]
    )


def test_prepared_data_is_used_once_each_and_sequences_pass_fields_on(make_service: Any, tmp_path: Path) -> None:
    server = make_service()
    validate = {"name": "validate", "method": "POST", "path": "/validate", "json": DOCUMENT, "keep": {"id": "$.id"}}
    approve = {"name": "approve", "method": "POST", "path": "/validations/{id}/approve"}
    made = table(
        name="approvals",
        prepare=[validate],
        operations=[approve],
        load={"model": "closed", "concurrency": 10, "requests": 60},
    )
    made["targets"]["api"]["url"] = server.url
    made["scenarios"].append({"name": "flow", "target": "api", "order": "sequence", "operations": [validate, approve],
                              "load": {"model": "closed", "concurrency": 3, "requests": 60}})  # fmt: skip
    run = run_quietly(from_table(made), tmp_path)
    assert run.rows(phase=None)["ok"].all()
    assert run.scenario("approvals").record.prepare.requests == 60
    assert server.get("/counts")["total"] == len(run.rows(phase=None)) + 60
    flow = run.rows("flow", phase=None)  # sixty requests of three users: some may end between their two operations
    assert 27 <= (flow["operation"] == "approve").sum() <= 30
    assert server.get("/stats")["by_status"]["approved"] == 60 + (flow["operation"] == "approve").sum()


def test_data_that_cannot_be_prepared_makes_the_run_invalid_and_no_verdict_green(
    make_service: Any, tmp_path: Path
) -> None:
    server = make_service("--error-rate", "1")
    validate = {"name": "validate", "method": "POST", "path": "/validate", "json": DOCUMENT, "keep": {"id": "$.id"}}
    run = run_quietly(
        suite(
            {"kind": "http", "url": server.url},
            prepare=[validate],
            objectives=["success > 1 %"],
            operations=[{"name": "approve", "method": "POST", "path": "/validations/{id}/approve"}],
        ),
        tmp_path,
    )
    assert run.status == "invalid"
    assert "could not prepare the data" in run.manifest.reasons[0]
    assert [v.verdict for v in run.verdicts()] == ["inconclusive"]


def test_interleaved_operations_get_the_same_data_in_the_same_round(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("n\n" + "\n".join(map(str, range(50))))
    operations = [
        {"name": name, "args": ["{n}"], "data": "n.csv", "function": f"tests.support.functions:{name}"}
        for name in ("fast", "slow")
    ]
    from dataclasses import replace

    made = suite(
        {"kind": "callable", "function": "tests.support.functions:fast"},
        operations=operations,
        order="interleaved",
        load={"model": "closed", "concurrency": 1, "requests": 400},
        objectives=["slow vs fast: median difference < 50 ms"],
    )
    run = run_quietly(replace(made, folder=str(tmp_path)), tmp_path)
    (verdict,) = run.verdicts()
    assert verdict.verdict == "pass"
    assert verdict.interval.n == 200
    assert verdict.interval.low <= verdict.interval.estimate <= verdict.interval.high
    assert verdict.interval.estimate == pytest.approx(3, abs=1.0)


def test_an_interrupt_keeps_the_rows_and_says_130(tmp_path: Path) -> None:
    process = start_perflib_run(tmp_path, LONG_SUITE)
    wait_for_rows(tmp_path, 1.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    run = perflib.open_run("latest", tmp_path / "data")
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out.strip().splitlines()[-1] == run.id
    assert run.status == "interrupted"
    assert len(run.rows(phase=None)) >= 100
    assert run.rows(phase=None)["ok"].mean() > 0.98


def test_a_killed_run_opens_as_incomplete_with_all_but_its_last_two_seconds(tmp_path: Path) -> None:
    process = start_perflib_run(tmp_path, LONG_SUITE)
    run = wait_for_rows(tmp_path, 3.0)
    children = psutil.Process(process.pid).children(recursive=True)
    killed_ns = time.monotonic_ns()
    process.kill()
    process.communicate()
    t0_ns = (
        time.monotonic_ns()
        - time.time_ns()
        + int(__import__("datetime").datetime.fromisoformat(run.manifest.started_at).timestamp() * 1e9)
    )
    run = perflib.open_run("latest", tmp_path / "data")
    assert run.status == "incomplete"
    assert run.rows(phase=None)["end_ns"].max() > killed_ns - t0_ns - 2e9
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "processes outlive the run"


def test_a_target_that_dies_makes_the_run_invalid_with_error_rows(tmp_path: Path) -> None:
    process = start_perflib_run(tmp_path, LONG_SUITE)
    run = wait_for_rows(tmp_path, 1.0)
    run = perflib.open_run("latest", tmp_path / "data")
    (pid,) = run.manifest.targets["api"].pids
    os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    run = perflib.open_run("latest", tmp_path / "data")
    assert process.returncode == 4
    assert run.status == "invalid"
    assert "target 'api' died" in run.manifest.reasons[0]
    assert set(run.rows(phase=None)["error"].dropna()) & {"reset", "connect", "aborted"}
    assert "Traceback" not in err


def test_a_target_that_is_not_ours_and_stops_answering_is_noticed(tmp_path: Path) -> None:
    stopped = threading.Event()

    def answer(connection: Any, number: int) -> bool:
        return not stopped.is_set() and OK(connection, number)

    with raw_server(answer) as url:
        made = suite(
            {"kind": "http", "url": url}, load={"model": "closed", "concurrency": 2, "duration_s": 30}, patience_s=2
        )
        found: list[perflib.Run] = []
        thread = threading.Thread(target=lambda: found.append(run_quietly(made, tmp_path)))
        thread.start()
        wait_for_rows(tmp_path, 0.5)
        stopped.set()
    thread.join(25)
    assert found[0].status == "invalid"
    assert "nothing answered" in found[0].manifest.reasons[0]


def test_a_target_that_does_not_start_says_why(tmp_path: Path) -> None:
    made = table()
    made["targets"]["api"] |= {
        "url": "http://127.0.0.1:{port}",
        "start": ["{python}", "-c", "raise SystemExit('no licence file')"],
    }
    run = run_quietly(from_table(made), tmp_path)
    assert run.status == "invalid"
    assert "no licence file" in run.manifest.reasons[0]


def test_secrets_reach_no_file(tmp_path: Path, service: Any) -> None:
    made = table(
        operations=[
            {
                "name": "ping",
                "path": "/ping?token=hunter2-query",
                "headers": {"X-Api-Key": "hunter2-header"},
                "json": {"password": "hunter2-json"},
            }
        ]
    )
    made["targets"]["api"] = {
        "kind": "http",
        "url": service.url.replace("//", "//user:hunter2-url@"),
        "headers": {"Cookie": "hunter2-cookie"},
        "env": {"API_TOKEN": "hunter2-env"},
    }
    run = run_quietly(from_table(made), tmp_path, overrides=["targets.api.headers.Authorization=hunter2-set"])
    assert run.status == "complete"
    for path in run.path.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


def test_the_target_and_the_generator_are_sampled_on_the_rows_clock(small_run: perflib.Run) -> None:
    resources = small_run.resources()
    assert set(resources["role"]) == {"target", "generator", "coordinator"}
    target = resources[resources["role"] == "target"]
    assert target["rss_bytes"].min() > 20e6
    assert target["uss_bytes"].notna().any()
    entry = small_run.scenario("queries").record
    during = target[target["t_ns"].between(entry.start_ns, entry.stop_ns)]
    assert np.median(np.diff(during["t_ns"])) == pytest.approx(100e6, rel=0.3)


def test_the_manifest_says_where_it_ran_and_what_repeats_it(small_run: perflib.Run) -> None:
    manifest = small_run.manifest
    assert manifest.command == ""  # of a suite that was made in Python
    assert python_call("shop.toml", ["browse"], True, 7, []) == "perflib run shop.toml --only browse --quick --seed 7"
    assert manifest.host.cores >= 1
    assert manifest.versions["python"]
    assert manifest.suite["scenarios"][0]["load"] == {
        "model": "poisson",
        "rate_per_s": 100.0,
        "duration_s": 2.0,
    }
    assert [record.status for record in manifest.scenarios] == ["complete", "complete"]
