"""The MCP target against small servers: both eras, both response modes, every operation, and every way to misbehave."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import perflib
from tests.support.mcp_servers import LEGACY, MODERN, Running, Stdio, http_server
from tests.support.runs import start_perflib_run, wait_for_rows
from tests.support.servers import raw_server, says
from tests.support.suites import suite

# Two calls whose answers differ, so that an answer to another call is seen.
ONE = {"name": "one", "tool": "echo", "arguments": {"text": "a"}, "expect": {"json": {"$.length": 1}}}
FOUR = {"name": "four", "tool": "echo", "arguments": {"text": "a €\n"}, "expect": {"json": {"$.length": 4}}}
CALLS = {"operations": [ONE, FOUR], "load": {"model": "closed", "concurrency": 4, "requests": 24}}
FEW = {**CALLS, "load": {"model": "closed", "concurrency": 4, "requests": 8}}
ALONE = {**CALLS, "load": {"model": "closed", "concurrency": 1, "requests": 24}}
ERAS = {LEGACY: "handshake", MODERN: "modern"}


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """A hang fails."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(number: int, frame: Any) -> None:
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def stdio(tmp_path: Path) -> Iterator[Stdio]:
    """A server's command; at the end none of its processes may be left, neither running nor as a zombie."""
    made = Stdio(tmp_path / "heard.log")
    yield made
    wait(lambda: not left_over(made))
    left = left_over(made)
    for process in left:
        process.kill()
    assert left == []


def left_over(server: Stdio) -> list[psutil.Process]:
    """Processes that were started as this server and are still there."""
    dead = server.pids()  # a zombie has no command line
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if str(server.log) in (process.info["cmdline"] or ())
        or (process.info["status"] == psutil.STATUS_ZOMBIE and process.pid in dead)
    ]


def wait(condition: Any, seconds: float = 3.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not condition():
        time.sleep(0.05)


def run(target: dict[str, Any], tmp_path: Path, folder: str = "", **scenario: Any) -> perflib.Run:
    made = suite({"kind": "mcp", "timeout_s": 10, **target}, **{**CALLS, **scenario})
    return perflib.run(replace(made, folder=folder), data=tmp_path / "data", progress=False)


def classes(made: perflib.Run, operation: str | None = None) -> dict[str, int]:
    rows = made.rows(phase=None)
    chosen = rows if operation is None else rows[rows["operation"] == operation]
    return {str(k): int(v) for k, v in chosen["error"].astype(object).fillna("ok").value_counts().items()}


def about(made: perflib.Run) -> dict[str, Any]:
    return made.manifest.targets["api"].model_dump()


# Eras and response modes.


MISSING = {"name": "missing", "tool": "no-such-tool"}
WRONG = {**ONE, "name": "wrong", "expect": {"json": {"$.length": 2}}}
MIXED = {"one": {"ok": 6}, "four": {"ok": 6}, "missing": {"mcp_rpc": 6}, "wrong": {"check": 6}}
OF_ALL_KINDS = {"operations": [ONE, FOUR, MISSING, WRONG], "order": "sequence", "load": ALONE["load"]}


@pytest.mark.parametrize("answers", ["json", "sse"])
@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
@pytest.mark.parametrize("session", ["shared", "own"])
def test_both_eras_and_response_modes_have_the_same_rows(
    protocol: str, answers: str, session: str, tmp_path: Path
) -> None:
    with http_server("--answers", answers) as server:
        target = {"url": server.url, "protocol": protocol, "session": session}
        made = run(target, tmp_path, **OF_ALL_KINDS)
        counts = server.counts()
    assert {name: classes(made, name) for name in MIXED} == MIXED
    assert counts["tools/call"] == 24
    assert counts.get("refused", 0) == counts["open sessions"] == 0
    assert about(made)["protocol_version"] == protocol
    assert about(made)["era"] == ERAS[protocol]


@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
@pytest.mark.parametrize("session", ["shared", "own"])
def test_and_so_has_stdio(protocol: str, session: str, stdio: Stdio, tmp_path: Path) -> None:
    target = {"command": stdio.command, "protocol": protocol, "session": session}
    made = run(target, tmp_path, **OF_ALL_KINDS)
    assert {name: classes(made, name) for name in MIXED} == MIXED
    assert stdio.counts()["tools/call"] == 24
    assert about(made)["protocol_version"] == protocol


SPEAKS = {"both": MODERN, "modern": MODERN, "legacy": LEGACY}


@pytest.mark.parametrize(("era", "version"), SPEAKS.items(), ids=SPEAKS)
@pytest.mark.parametrize("answers", ["json", "sse"])
def test_the_era_is_negotiated_and_what_was_found_is_recorded(
    era: str, version: str, answers: str, tmp_path: Path
) -> None:
    with http_server("--era", era, "--answers", answers) as server:
        made = run({"url": server.url}, tmp_path)
        counts = server.counts()
    assert classes(made) == {"ok": 24}
    found = about(made)
    assert {key: found[key] for key in ("protocol_version", "era", "transport")} == {
        "protocol_version": version, "era": ERAS[version], "transport": "http",
    }  # fmt: skip
    assert found["server"]["name"] == "perflib-test"
    assert found["server"]["version"] == "1.2"
    assert found["capabilities"] == ["prompts", "resources", "tools"]
    assert counts.get("notifications/initialized", 0) == (version == LEGACY)


@pytest.mark.parametrize(("era", "version"), SPEAKS.items(), ids=SPEAKS)
def test_the_era_is_negotiated_over_stdio_as_well(era: str, version: str, stdio: Stdio, tmp_path: Path) -> None:
    stdio.options = ("--era", era)
    made = run({"command": stdio.command}, tmp_path)
    assert classes(made) == {"ok": 24}
    found = about(made)
    assert (found["protocol_version"], found["era"], found["transport"]) == (version, ERAS[version], "stdio")
    assert found["server"]["name"] == "perflib-test"
    assert found["capabilities"] == ["prompts", "resources", "tools"]


def test_an_older_version_can_be_asked_for(tmp_path: Path) -> None:
    with http_server() as server:
        made = run({"url": server.url, "protocol": "2025-06-18"}, tmp_path)
    assert classes(made) == {"ok": 24}
    assert about(made)["protocol_version"] == "2025-06-18"


@pytest.mark.parametrize(("era", "protocol"), [("legacy", MODERN), ("modern", LEGACY)])
def test_a_version_that_the_server_does_not_speak_makes_the_run_invalid(
    era: str, protocol: str, tmp_path: Path
) -> None:
    with http_server("--era", era) as server:
        made = run({"url": server.url, "protocol": protocol}, tmp_path)
        assert server.counts().get("tools/call", 0) == 0
    assert made.status == "invalid"
    assert "targets.api" in made.manifest.reasons[0]
    assert len(made.rows(phase=None)) == 0


def test_what_is_no_mcp_server_makes_the_run_invalid(tmp_path: Path) -> None:
    with raw_server(says(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno")) as url:
        made = run({"url": url}, tmp_path)
    assert made.status == "invalid"
    assert "MCP" in made.manifest.reasons[0]


@pytest.mark.parametrize("command", [["false"], ["cat", "/dev/null"], ["no-such-program-anywhere"]])
def test_a_command_that_is_no_mcp_server_makes_the_run_invalid(command: list[str], tmp_path: Path) -> None:
    made = run({"command": command}, tmp_path)
    assert made.status == "invalid"
    assert "targets.api" in made.manifest.reasons[0]


# Operations and sessions.

OPERATIONS = [
    {"name": "list tools", "method": "tools/list", "expect": {"contains": "letters"}},
    {"name": "list resources", "method": "resources/list", "expect": {"contains": "test://greeting"}},
    {"name": "list prompts", "method": "prompts/list", "expect": {"contains": "greet"}},
    {"name": "read", "method": "resources/read", "uri": "test://greeting", "expect": {"contains": "hello"}},
    {
        "name": "get",
        "method": "prompts/get",
        "params": {"name": "greet"},
        "arguments": {"name": "Ann"},
        "expect": {"contains": "Greet Ann"},
    },
    {"name": "ping", "method": "ping"},
    {"name": "nobody", "method": "resources/read", "uri": "test://nobody"},
    {"name": "not ASCII", "tool": "écho", "arguments": {"text": "é"}, "expect": {"json": {"$.length": 1}}},
]
SEQUENCE = {
    "operations": OPERATIONS,
    "order": "sequence",
    "load": {"model": "closed", "concurrency": 1, "requests": 32},
}


def expected(protocol: str) -> dict[str, dict[str, int]]:
    """What the rows of every operation say; the modern era has no ping."""
    said = {operation["name"]: {"ok": 4} for operation in OPERATIONS}
    said["nobody"] = {"mcp_rpc": 4}
    return said | ({"ping": {"mcp_rpc": 4}} if protocol == MODERN else {})


@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
def test_every_operation_over_http(protocol: str, tmp_path: Path) -> None:
    with http_server() as server:
        made = run({"url": server.url, "protocol": protocol}, tmp_path, **SEQUENCE)
        counts = server.counts()
    assert {operation["name"]: classes(made, operation["name"]) for operation in OPERATIONS} == expected(protocol)
    sent = {method: counts[method] for method in ("resources/list", "prompts/get", "ping", "tools/call")}
    assert set(sent.values()) == {4}
    assert counts["tools/list"] == 4 + 1  # once before the load, for the schemas of the tools that are called
    assert counts["resources/read"] == 8


@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
def test_every_operation_over_stdio(protocol: str, stdio: Stdio, tmp_path: Path) -> None:
    made = run({"command": stdio.command, "protocol": protocol}, tmp_path, **SEQUENCE)
    assert {operation["name"]: classes(made, operation["name"]) for operation in OPERATIONS} == expected(protocol)
    assert stdio.counts()["resources/read"] == 8


@pytest.mark.parametrize("session", ["shared", "own"])
def test_sessions_over_http_are_as_many_as_asked_for_and_all_are_ended(session: str, tmp_path: Path) -> None:
    with http_server() as server:
        made = run({"url": server.url, "protocol": LEGACY, "session": session}, tmp_path, workers=2)
        counts = server.counts()
    assert classes(made) == {"ok": 24}
    assert counts["tools/call"] == 24
    # One a worker is negotiated before the load, to see who is there.
    assert counts["initialize"] == (2 if session == "shared" else 2 + 4)
    assert counts["DELETE"] == counts["initialize"]
    assert counts["open sessions"] == 0


@pytest.mark.parametrize(("session", "processes"), [("shared", 1), ("own", 4)])
def test_sessions_over_stdio_are_processes(session: str, processes: int, stdio: Stdio, tmp_path: Path) -> None:
    made = run({"command": stdio.command, "session": session}, tmp_path)
    assert classes(made) == {"ok": 24}
    calls = [pid for pid, _, what in stdio.heard() if what == "tools/call"]
    assert len(calls) == 24
    assert len(set(calls)) == processes


@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
def test_a_whole_session_over_http_is_one_row_with_spans(protocol: str, tmp_path: Path) -> None:
    load = {"model": "closed", "concurrency": 2, "requests": 10}
    with http_server() as server:
        made = run(
            {"url": server.url, "protocol": protocol},
            tmp_path,
            operations=[{"name": "s", "method": "session"}],
            load=load,
        )
        counts = server.counts()
    assert classes(made) == {"ok": 10}
    assert counts["tools/list"] == 10
    if protocol == LEGACY:
        assert counts["initialize"] == counts["notifications/initialized"] == counts["DELETE"] == 10 + 1
    assert counts["open sessions"] == 0
    spans_fit(made, 10)


def test_a_whole_session_over_stdio_is_a_process(stdio: Stdio, tmp_path: Path) -> None:
    load = {"model": "closed", "concurrency": 2, "requests": 6}
    made = run({"command": stdio.command}, tmp_path, operations=[{"name": "s", "method": "session"}], load=load)
    assert classes(made) == {"ok": 6}
    assert len({pid for pid, _, what in stdio.heard() if what == "tools/list"}) == 6
    spans_fit(made, 6)


def spans_fit(made: perflib.Run, sessions: int) -> None:
    """Every session has its steps, which together take no longer than it does."""
    rows, spans = made.rows(phase=None), made.spans()
    steps = spans[spans["span"].str.startswith("session")]
    assert (steps.groupby("span")["seq"].nunique() == sessions).all()
    assert steps["span"].nunique() >= 2
    for seq, service_ns in zip(rows["seq"], rows["service_ns"], strict=True):
        assert 0 < steps[steps["seq"] == seq]["duration_ns"].sum() <= service_ns


# Payloads and data.

SIZES = [0, 1, 70_000, 1_000_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("answers", ["json", "sse"])
def test_payloads_of_every_size_go_both_ways_over_http(size: int, answers: str, tmp_path: Path) -> None:
    with http_server("--answers", answers) as server:
        payloads_arrive(run({"url": server.url}, tmp_path, **payloads(size)), size)


@pytest.mark.parametrize("size", SIZES)
def test_payloads_of_every_size_go_both_ways_over_stdio(size: int, stdio: Stdio, tmp_path: Path) -> None:
    payloads_arrive(run({"command": stdio.command}, tmp_path, **payloads(size)), size)


def payloads(size: int) -> dict[str, Any]:
    expect = {"json": {"$.length": size}}
    there = {"name": "there", "tool": "echo", "arguments": {"text": "y" * size}, "expect": expect}
    back = {"name": "back", "tool": "letters", "arguments": {"bytes": size}, "expect": expect}
    load = {"model": "closed", "concurrency": 1, "requests": 8}
    return {"operations": [there, back], "order": "sequence", "load": load}


def payloads_arrive(made: perflib.Run, size: int) -> None:
    assert classes(made) == {"ok": 8}
    rows = made.rows(phase=None).set_index("operation")
    assert (rows.loc["there", "bytes_sent"] > size).all()
    assert (rows["bytes_received"] > size).all()
    assert (rows.loc["back", "bytes_sent"] < 1000).all()


def test_data_files_fill_arguments(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('text,n\n"a ""b"" / é",1\nd,2\n', encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text('{"m": 3, "deep": {"list": [true, null]}}\n')
    csv = {
        "name": "csv",
        "tool": "echo",
        "data": "rows.csv",
        "arguments": {"text": "{text}", "n": "{n}", "in": ["<{n}>"], "literal": "{{n}}"},
    }
    lines = {"name": "jsonl", "tool": "echo", "data": "rows.jsonl", "arguments": {"m": "{m}", "deep": "{deep}"}}
    load = {"model": "closed", "concurrency": 1, "requests": 4}
    with http_server() as server:
        made = run({"url": server.url}, tmp_path, str(tmp_path), operations=[csv, lines], order="sequence", load=load)
        heard = server.arguments()
    assert classes(made) == {"ok": 4}
    assert heard == [
        {"text": 'a "b" / é', "n": "1", "in": ["<1>"], "literal": "{n}"},
        {"m": 3, "deep": {"list": [True, None]}},
        {"text": "d", "n": "2", "in": ["<2>"], "literal": "{n}"},
        {"m": 3, "deep": {"list": [True, None]}},
    ]


def test_kept_fields_fill_later_calls(stdio: Stdio, tmp_path: Path) -> None:
    first = {"name": "first", "tool": "letters", "arguments": {"bytes": 7}, "keep": {"size": "$.length"}}
    then = {"name": "then", "tool": "letters", "arguments": {"bytes": "{size}"}, "expect": {"json": {"$.length": 7}}}
    made = run({"command": stdio.command}, tmp_path, prepare=[first], operations=[then], load=ALONE["load"])
    assert classes(made) == {"ok": 24}


# Faults.

HARMLESS = ["duplicate-id", "progress", "out-of-order", "chunked", "sse-oddities"]
MODES = [("json", LEGACY), ("sse", MODERN)]


@pytest.mark.parametrize(("answers", "protocol"), MODES)
@pytest.mark.parametrize("fault", HARMLESS)
def test_what_a_server_may_do_over_http_costs_no_call(fault: str, answers: str, protocol: str, tmp_path: Path) -> None:
    with http_server("--fault", fault, "--answers", answers) as server:
        made = run({"url": server.url, "protocol": protocol}, tmp_path)
        assert classes(made) == {"ok": 24}
        assert server.counts()["tools/call"] == 24


@pytest.mark.parametrize("answers", ["json", "sse"])
@pytest.mark.parametrize(("fault", "asked"), [("asks-for-sampling", 2), ("pings", 1)])
def test_what_a_server_asks_over_http_is_answered(fault: str, asked: int, answers: str, tmp_path: Path) -> None:
    with http_server("--fault", fault, "--answers", answers) as server:
        made = run({"url": server.url, "protocol": LEGACY}, tmp_path)
        counts = server.counts()
    assert classes(made) == {"ok": 24}
    assert counts["tools/call"] == 24
    assert counts["response"] == 24 * asked


@pytest.mark.parametrize(
    "fault", ["duplicate-id", "logs-on-stdout", "floods-stderr", "asks-for-sampling", "pings", "progress", "chunked"]
)
def test_what_a_server_may_do_over_stdio_costs_no_call(fault: str, stdio: Stdio, tmp_path: Path) -> None:
    stdio.options = ("--fault", fault)
    made = run({"command": stdio.command, "protocol": LEGACY}, tmp_path)
    assert classes(made) == {"ok": 24}
    assert stdio.counts()["tools/call"] == 24
    asked = {"asks-for-sampling": 48, "pings": 24}.get(fault, 0)
    assert stdio.counts().get("response", 0) == asked


@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
def test_answers_over_stdio_find_their_calls_in_any_order(protocol: str, stdio: Stdio, tmp_path: Path) -> None:
    stdio.options = ("--fault", "out-of-order")
    made = run({"command": stdio.command, "protocol": protocol}, tmp_path)
    assert classes(made) == {"ok": 24}
    assert not made.rows(phase=None)["start_ns"].is_monotonic_increasing  # rows are in the order of their ends


BROKEN = {
    "malformed": "protocol",
    "not-rpc": "protocol",
    "half-event": "protocol",
    "no-event": "protocol",
    "wrong-id": "protocol",
    "half-event-cut": "reset",
    "hang-up": "reset",
    "tool-error": "mcp_tool",
    "rpc-error": "mcp_rpc",
    "rpc-error-400": "mcp_rpc",
    "http-500": "http_5xx",
}


@pytest.mark.parametrize(("answers", "protocol"), MODES)
@pytest.mark.parametrize(("fault", "error"), BROKEN.items(), ids=BROKEN)
def test_every_broken_answer_over_http_is_a_row_with_its_class(
    fault: str, error: str, answers: str, protocol: str, tmp_path: Path
) -> None:
    with http_server("--fault", fault, "--answers", answers, "--after", "8") as server:
        made = run({"url": server.url, "protocol": protocol}, tmp_path)
        assert server.counts()["tools/call"] == 24
    assert classes(made) == {"ok": 8, error: 16}


@pytest.mark.parametrize("fault", ["never", "late"])
@pytest.mark.parametrize(("answers", "protocol"), MODES)
def test_no_answer_over_http_is_a_timeout_and_cancelled(
    fault: str, answers: str, protocol: str, tmp_path: Path
) -> None:
    with http_server("--fault", fault, "--answers", answers, "--after", "2") as server:
        made = run({"url": server.url, "protocol": protocol, "timeout_s": 0.3}, tmp_path, **FEW)
        cancelled = server.counts().get("notifications/cancelled", 0)
    assert classes(made) == {"ok": 2, "timeout": 6}
    assert cancelled == (6 if protocol == LEGACY else 0)  # in the modern era, the end of the connection says it
    assert made.status == "complete"


BROKEN_PIPES = {
    "never": "timeout",
    "late": "timeout",
    "wrong-id": "timeout",
    "tool-error": "mcp_tool",
    "rpc-error": "mcp_rpc",
}


@pytest.mark.parametrize(("fault", "error"), BROKEN_PIPES.items(), ids=BROKEN_PIPES)
def test_every_broken_answer_over_stdio_is_a_row_with_its_class(
    fault: str, error: str, stdio: Stdio, tmp_path: Path
) -> None:
    stdio.options = ("--fault", fault)
    made = run({"command": stdio.command, "timeout_s": 0.3}, tmp_path, **FEW)
    assert classes(made) == {error: 8}
    assert stdio.counts()["tools/call"] == 8
    assert stdio.counts().get("notifications/cancelled", 0) == (8 if error == "timeout" else 0)
    assert made.status == "complete"


@pytest.mark.parametrize("timeout_s", [0.02, 1.5])
def test_a_process_of_its_own_that_does_not_answer_is_a_timeout(timeout_s: float, stdio: Stdio, tmp_path: Path) -> None:
    """With the shorter one it cannot even start: that is no answer either, and leaves no process."""
    stdio.options = ("--fault", "never")
    made = run({"command": stdio.command, "session": "own", "timeout_s": timeout_s}, tmp_path, **FEW)
    assert classes(made) == {"timeout": 8}  # whether eight starts of a process at once are a strain here is not asked


def test_a_late_answer_over_stdio_is_not_taken_for_another(stdio: Stdio, tmp_path: Path) -> None:
    stdio.options = ("--fault", "late", "--after", "0")
    operations = [{**ONE, "timeout_s": 0.3}, {**FOUR, "timeout_s": 10}]
    load = {"model": "closed", "concurrency": 1, "requests": 4}
    made = run({"command": stdio.command}, tmp_path, operations=operations, order="sequence", load=load)
    assert made.rows(phase=None)["error"].astype(object).fillna("ok").tolist() == ["timeout", "ok"] * 2


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_answer_over_stdio_that_cannot_be_read_is_not_a_good_one(
    concurrency: int, stdio: Stdio, tmp_path: Path
) -> None:
    stdio.options = ("--fault", "malformed", "--after", "4")
    load = {"model": "closed", "concurrency": concurrency, "requests": 8}
    made = run({"command": stdio.command, "timeout_s": 0.5}, tmp_path, **{**CALLS, "load": load})
    found = classes(made)
    # It names no call for sure: where several are in flight, it may be a log line, and the call a timeout.
    assert found.pop("ok") == 4
    assert set(found) <= ({"protocol"} if concurrency == 1 else {"protocol", "timeout"})


@pytest.mark.parametrize("answers", ["json", "sse"])
@pytest.mark.parametrize("session", ["shared", "own"])
def test_a_server_over_http_that_dies_resets_what_was_in_flight(answers: str, session: str, tmp_path: Path) -> None:
    with http_server("--fault", "die", "--answers", answers, "--after", "10") as server:
        made = run({"url": server.url, "session": session}, tmp_path)
        assert server.process.wait(5) == 1
    found = classes(made)
    assert sum(found.values()) == 24
    assert found.pop("ok") <= 10
    # Four in flight, on connections that were kept, and those that connected to the socket of a process that ends.
    assert 1 <= found.pop("stale", 0) + found.pop("reset", 0) <= 8
    assert set(found) == {"connect"}


@pytest.mark.parametrize("session", ["shared", "own"])
def test_a_server_over_stdio_that_dies_ends_the_run(session: str, stdio: Stdio, tmp_path: Path) -> None:
    stdio.options = ("--fault", "die", "--after", "10" if session == "shared" else "2")
    made = run({"command": stdio.command, "session": session}, tmp_path)
    found = classes(made)
    assert 1 <= found.pop("reset") <= 4
    assert 2 <= found.pop("ok") <= 10
    assert not found
    assert made.status == "invalid"
    assert "target 'api' died: it ended with code 1" in made.manifest.reasons[0]


@pytest.mark.parametrize("session", ["shared", "own"])
def test_or_is_started_again_where_the_suite_says_so(session: str, stdio: Stdio, tmp_path: Path) -> None:
    stdio.options = ("--fault", "die", "--after", "5")
    made = run({"command": stdio.command, "session": session, "restart": True}, tmp_path, load=ALONE["load"])
    assert classes(made) == {"ok": 20, "reset": 4}
    assert made.status == "complete"
    assert made.manifest.scenarios[0].error_texts == {"reset": {"it ended with code 1": 4}}


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("session", ["shared", "own"])
def test_an_expired_session_costs_the_refused_calls_and_no_more(session: str, concurrency: int, tmp_path: Path) -> None:
    after = "10" if session == "shared" else "3"
    load = {"model": "closed", "concurrency": concurrency, "requests": 40}
    with http_server("--fault", "expired-session", "--after", after) as server:
        made = run({"url": server.url, "protocol": LEGACY, "session": session}, tmp_path, load=load)
        counts = server.counts()
    refused = counts["refused"]
    assert 1 <= refused <= (concurrency if session == "shared" else 1)
    assert classes(made) == {"mcp_session": refused, "ok": 40 - refused}
    assert counts["tools/call"] == 40
    before = 1 if session == "shared" else 1 + concurrency
    assert counts["initialize"] == before + 1
    assert counts["open sessions"] == 0


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_server_that_will_not_end_is_ended(wrapped: bool, stdio: Stdio, tmp_path: Path) -> None:
    """Wrapped: as npx and uvx have it, the server is the child of what was started."""
    stdio.options = ("--fault", "stays")
    command = ["sh", "-c", '"$@"; exit 0', "sh", *stdio.command] if wrapped else stdio.command
    made = run({"command": command}, tmp_path)
    assert classes(made) == {"ok": 24}


LONG = """
name = "long"
[targets.api]
kind = "mcp"
command = {command}
session = "{session}"
client = "{client}"
[[scenarios]]
name = "steady"
target = "api"
operations = [{{ name = "echo", tool = "echo" }}]
load = {{ model = "closed", concurrency = 3, duration_s = 60, think_time_s = 0.02 }}
workers = 1
"""


@pytest.mark.parametrize(("client", "session"), [("lean", "shared"), ("lean", "own"), ("sdk", "shared")])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_server(
    how: signal.Signals, client: str, session: str, stdio: Stdio, tmp_path: Path
) -> None:
    text = LONG.format(command=json.dumps(stdio.command), client=client, session=session)
    process = start_perflib_run(tmp_path, text)
    wait_for_rows(tmp_path, 0.5)
    assert left_over(stdio)
    process.send_signal(how)
    process.communicate(timeout=20)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    wait(lambda: not left_over(stdio), 10.0)
    assert left_over(stdio) == []
    assert set(classes(perflib.open_run("latest", tmp_path / "data"))) == {"ok"}


@pytest.mark.parametrize("client", ["lean", "sdk"])
def test_what_a_server_leaves_behind_ends_with_the_run(client: str, stdio: Stdio, tmp_path: Path) -> None:
    """A child that outlives it, and a daemon."""
    seconds = f"{600 + os.getpid() % 999}.{len(client)}5"
    daemon = f'setsid sleep {seconds} < /dev/null > /dev/null 2>&1 & sleep {seconds} & exec "$@"'
    made = run({"command": ["sh", "-c", daemon, "sh", *stdio.command], "client": client, "timeout_s": 5}, tmp_path)
    assert set(classes(made)) == {"ok"}
    assert [p.pid for p in psutil.process_iter(["cmdline"]) if seconds in (p.info["cmdline"] or ())] == []


@pytest.mark.parametrize("session", ["shared", "own"])
@pytest.mark.parametrize(("fault", "errors"), [("", {"ok"}), ("die", {"ok", "reset", "mcp_session", "connect"})])
def test_the_sdks_client_leaves_no_process_either(
    fault: str, errors: set[str], session: str, stdio: Stdio, tmp_path: Path
) -> None:
    stdio.options = ("--fault", fault, "--after", "10" if session == "shared" else "2") if fault else ()
    made = run({"command": stdio.command, "client": "sdk", "session": session, "timeout_s": 5}, tmp_path)
    found = classes(made)
    assert set(found) <= errors
    assert found["ok"] >= 4
    assert (len(found) > 1) == bool(fault)
    if fault:  # a server that dies ends the run, unless `restart` says otherwise
        assert made.status == "invalid" and sum(found.values()) <= 24
    else:
        assert sum(found.values()) == 24


def test_a_server_that_is_gone_is_said_once_and_the_rest_is_kept(stdio: Stdio, tmp_path: Path) -> None:
    """The rows from before the death are in the files, with their times."""
    stdio.options = ("--fault", "die", "--after", "10")
    made = run({"command": stdio.command}, tmp_path, load={"model": "constant", "rate_per_s": 40, "duration_s": 0.6})
    rows = made.rows(phase=None)
    assert 11 <= len(rows) < 24
    assert len(made.manifest.reasons) == 1
    assert (rows["end_ns"] >= rows["start_ns"]).all()
    assert json.loads((made.path / "run.json").read_text())["targets"]["api"]["server"]["name"] == "perflib-test"


def test_a_server_without_sessions_is_not_told_of_any(tmp_path: Path) -> None:
    with http_server("--era", "modern") as server:
        made = run({"url": server.url, "session": "own"}, tmp_path)
        counts = server.counts()
    assert classes(made) == {"ok": 24}
    assert "initialize" not in counts
    assert "DELETE" not in counts
    assert counts.get("refused", 0) == 0


def test_workers_share_nothing(tmp_path: Path) -> None:
    with http_server() as server:
        made = run({"url": server.url}, tmp_path, workers=2)
        assert server.counts()["tools/call"] == 24
    assert classes(made) == {"ok": 24}
    assert sorted(made.rows(phase=None)["worker"].unique()) == [0, 1]


def heard(server: Running) -> int:
    return server.counts().get("tools/call", 0)


def test_an_open_load_is_heard_in_full(tmp_path: Path) -> None:
    with http_server("--answers", "sse") as server:
        made = run({"url": server.url}, tmp_path, load={"model": "poisson", "rate_per_s": 60, "duration_s": 0.5})
        assert heard(server) == len(made.rows(phase=None)) > 0
    assert set(classes(made)) == {"ok"}
