"""Servers as they are: streams that stay open, odd bodies, results that are not complete, sessions that end.

One run asks for many habits in turn, so that both clients can be compared over all of them.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import perflib
from tests.support.mcp_servers import LEGACY, MODERN, Stdio, http_server
from tests.support.suites import suite

# By habit, the class of its rows: of the lean client, and of the SDK's where that is another one.
STREAMS: dict[str, tuple[str, ...]] = {
    "stays-open": ("ok",),
    "comment-last": ("ok",),
    "ends-late": ("ok",),
    "blank-first": ("ok",),
    "carriage-returns": ("ok",),
    "priming-event": ("ok",),
    "resumed": ("ok",),
    "stream-bom": ("ok", "reset"),  # the SDK does not know a byte order mark
    "no-blank-line": ("ok", "reset"),  # the SDK drops an event that the end of the stream cuts short
    "no-line-end": ("ok", "reset"),
    "json-blanks": ("ok",),
    "json-bom": ("ok", "mcp_rpc"),  # the SDK reads neither a byte order mark nor batches
    "json-batch": ("ok", "mcp_rpc"),
    "web-page": ("protocol", "mcp_rpc"),
    "id-as-text": ("ok",),
}
RESULTS: dict[str, tuple[str, ...]] = {
    "asks-for-a-name": ("mcp_input",),
    "only-a-task": ("mcp_task",),
    "only-a-legacy-task": ("mcp_task",),
    "unknown-result": ("mcp_result",),
    "no-content": ("mcp_result",),
    "tool-error": ("mcp_tool",),
}
PIPES: dict[str, tuple[str, ...]] = {
    "id-as-text": ("ok",),
    "error-without-id": ("mcp_rpc", "timeout"),
    "many-lines": ("timeout",),  # a message is a line
}


def of_habits(
    target: dict[str, Any], habits: list[str], tmp_path: Path, tool: str = "echo", requests: int = 2
) -> tuple[dict[str, set[str]], perflib.Run]:
    """The classes of the rows of each habit, which one user asks for in turn."""
    operations = [
        {"name": habit, "tool": tool, "arguments": {"text": "a", "habit": habit.replace("good", "")}}
        for habit in habits
    ]
    load = {"model": "closed", "concurrency": 1, "requests": requests * len(habits)}
    made = suite({"kind": "mcp", "timeout_s": 3, **target}, order="sequence", operations=operations, load=load)
    done = perflib.run(made, data=tmp_path / target.get("client", "lean"), progress=False)
    rows = done.rows(phase=None)
    classes = rows["error"].astype(object).fillna("ok").groupby(rows["operation"]).apply(set)
    return {str(name): each for name, each in classes.items()}, done


def expected(habits: dict[str, tuple[str, ...]], client: str) -> dict[str, set[str]]:
    return {habit: {classes[-1] if client == "sdk" else classes[0]} for habit, classes in habits.items()}


@pytest.mark.parametrize("client", ["lean", "sdk"])
def test_an_answer_is_found_in_whatever_it_comes(client: str, tmp_path: Path) -> None:
    with http_server() as server:
        target = {"url": server.url, "protocol": LEGACY, "client": client}
        found, done = of_habits(target, list(STREAMS), tmp_path)
        counts = server.counts()
    assert found == expected(STREAMS, client)
    assert counts["tools/call"] == 2 * len(STREAMS)
    assert counts["GET"] == 2  # the streams that were resumed
    rows = done.rows(phase=None).set_index("operation")
    longest_ms = rows.loc[["stays-open", "ends-late"], "service_ns"].max() / 1e6
    assert client == "sdk" or longest_ms < 150, "the answer, not the end of its stream"


@pytest.mark.parametrize("client", ["lean", "sdk"])
def test_a_result_that_is_not_complete_is_no_good_one(client: str, tmp_path: Path) -> None:
    with http_server() as server:
        target = {"url": server.url, "protocol": MODERN, "client": client}
        found, done = of_habits(target, list(RESULTS), tmp_path)
    assert found == expected(RESULTS, client)
    texts = done.manifest.scenarios[0].error_texts
    assert client == "sdk" or set(texts["mcp_input"]) == {"the server asks for input: elicitation/create: Your name?"}
    assert set(texts["mcp_tool"]) == {"the tool failed"}


@pytest.mark.parametrize("client", ["lean", "sdk"])
def test_structured_content_is_checked_and_arguments_become_headers(client: str, tmp_path: Path) -> None:
    good = {"name": "good", "tool": "measured", "arguments": {"text": "abc", "unit": "µm"}}
    long = {"name": "long", "tool": "measured", "arguments": {"text": "abcd", "unit": "m"}}
    with http_server() as server:
        made = suite(
            {"kind": "mcp", "url": server.url, "protocol": MODERN, "client": client},
            operations=[good, long], order="sequence", load={"model": "closed", "concurrency": 1, "requests": 4},
        )  # fmt: skip
        done = perflib.run(made, data=tmp_path, progress=False)
    assert done.rows(phase=None)["error"].astype(object).fillna("ok").tolist() == ["ok", "mcp_schema"] * 2
    if client == "lean":
        assert list(done.manifest.scenarios[0].error_texts["mcp_schema"]) == [
            "structuredContent.length: 4 is greater than the maximum of 3"
        ]


@pytest.mark.parametrize("client", ["lean", "sdk"])
def test_input_is_given_as_the_suite_says_and_the_row_is_the_whole_of_it(client: str, tmp_path: Path) -> None:
    answers = {"elicitation/create": {"action": "accept", "content": {"name": "Ann"}}}
    with http_server() as server:
        target = {"url": server.url, "protocol": MODERN, "client": client, "answers": answers}
        found, done = of_habits(target, ["asks-for-a-name"], tmp_path)
        counts = server.counts()
    assert found == {"asks-for-a-name": {"ok"}}
    assert counts["tools/call"] == 4
    if client == "lean":
        spans = done.spans()
        assert (spans["span"] == "input").sum() == 2


@pytest.mark.parametrize("client", ["lean", "sdk"])
@pytest.mark.parametrize("session", ["shared", "own"])
def test_what_the_server_asks_on_its_own_stream_is_answered(client: str, session: str, tmp_path: Path) -> None:
    answers = {"elicitation/create": {"action": "accept", "content": {"name": "Ann"}}}
    with http_server("--fault", "asks-on-own-stream", "--era", "legacy") as server:
        target = {"url": server.url, "client": client, "session": session, "answers": answers}
        found, _ = of_habits(target, ["good"], tmp_path)
    assert found == {"good": {"ok"}}


@pytest.mark.parametrize("client", ["lean", "sdk"])
def test_over_stdio_answers_are_found_too(client: str, tmp_path: Path) -> None:
    server = Stdio(tmp_path / "heard.log")
    target = {"command": server.command, "client": client, "protocol": LEGACY, "timeout_s": 1}
    found, done = of_habits(target, list(PIPES), tmp_path, requests=1)
    assert found == expected(PIPES, client)
    if client == "lean":
        text = next(iter(done.manifest.scenarios[0].error_texts["timeout"]))
        assert text == "no answer; the server also writes lines that are no messages: }"


@pytest.mark.parametrize(("client", "session"), [("lean", "shared"), ("lean", "own"), ("sdk", "shared")])
def test_the_transport_of_2024_is_found(client: str, session: str, tmp_path: Path) -> None:
    with http_server("--era", "legacy") as server:
        target = {"url": server.url.replace("/mcp", "/sse"), "client": client, "session": session}
        found, done = of_habits(target, ["good", "tool-error", "rpc-error"], tmp_path)
    assert found == {"good": {"ok"}, "tool-error": {"mcp_tool"}, "rpc-error": {"mcp_rpc"}}
    assert done.manifest.targets["api"].model_dump()["transport"] == ("http" if client == "sdk" else "http+sse")


RELUCTANT = """
import json, sys, time
first = json.loads(sys.stdin.readline())
if first["method"] != "initialize":
    print("expected initialize, not", first["method"], file=sys.stderr)
    time.sleep({patience})
    sys.exit(1)
message = first
while message:
    result = {{"protocolVersion": "2025-06-18", "capabilities": {{}}, "serverInfo": {{"name": "shy", "version": "1"}}}}
    if message["method"] == "tools/call":
        result = {{"content": []}}
    if "id" in message:
        print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], "result": result}}), flush=True)
    line = sys.stdin.readline()
    message = json.loads(line) if line else None
"""


@pytest.mark.parametrize("patience", [0, 60])
def test_a_server_that_ends_or_falls_silent_at_an_unknown_method_is_started_again(
    patience: int, tmp_path: Path
) -> None:
    (tmp_path / "shy.py").write_text(RELUCTANT.format(patience=patience))
    made = suite(
        {"kind": "mcp", "command": [sys.executable, str(tmp_path / "shy.py")]},
        operations=[{"name": "call", "tool": "any"}], load={"model": "closed", "concurrency": 1, "requests": 5},
    )  # fmt: skip
    done = perflib.run(made, data=tmp_path, progress=False)
    assert done.rows(phase=None)["error"].isna().all()
    assert done.manifest.targets["api"].model_dump()["protocol_version"] == "2025-06-18"


OAUTH = {"kind": "oauth", "client_id": "tester", "client_secret": "s3cret-of-a-test"}


@pytest.mark.parametrize("client", ["lean", pytest.param("sdk", marks=pytest.mark.slow)])
def test_a_token_is_found_and_got_anew_where_it_is_refused(client: str, tmp_path: Path) -> None:
    """Only the server says where tokens come from, and each is good for 30 requests."""
    load = {"model": "constant", "rate_per_s": 25, "duration_s": 4}
    with http_server("--token-calls", "30") as server:
        made = suite(
            {"kind": "mcp", "url": server.url, "protocol": LEGACY, "client": client, "auth": OAUTH},
            operations=[{"name": "call", "tool": "echo"}], load=load,
        )  # fmt: skip
        done = perflib.run(made, data=tmp_path, progress=False)
        counts = server.counts()
    found = done.rows(phase=None)["error"].astype(object).fillna("ok").value_counts()
    assert counts["tokens"] >= 3
    assert found.pop("ok") >= 60
    assert set(found.index) == {"http_4xx"}
    assert 'Bearer error="invalid_token"' in next(iter(done.manifest.scenarios[0].error_texts["http_4xx"]))


def test_headers_of_an_operation_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("tenant\nann\nbob\n")
    call = {"name": "call", "tool": "echo", "data": "users.csv", "headers": {"X-Tenant": "{tenant}"}}
    with http_server() as server:
        made = suite(
            {"kind": "mcp", "url": server.url}, operations=[call],
            load={"model": "closed", "concurrency": 1, "requests": 2},
        )  # fmt: skip
        done = perflib.run(replace(made, folder=str(tmp_path)), data=tmp_path / "data", progress=False)
        assert server.headers("x-tenant") == ["ann", "bob"]
    assert done.rows(phase=None)["error"].isna().all()


def test_a_header_that_would_be_sent_twice_is_refused() -> None:
    target = {"kind": "mcp", "url": "http://127.0.0.1:1/mcp", "headers": {"X-Tenant": "a"}}
    call = {"name": "call", "tool": "echo", "headers": {"x-tenant": "b"}}
    with pytest.raises(perflib.SuiteError, match="x-tenant would be sent twice"):
        perflib.run(suite(target, operations=[call]), progress=False)


def test_a_list_is_read_to_its_end(tmp_path: Path) -> None:
    operations = [{"name": name, "method": "tools/list", "all_pages": name == "all"} for name in ("all", "first")]
    with http_server("--page", "2") as server:
        made = suite(
            {"kind": "mcp", "url": server.url}, operations=operations, order="sequence",
            load={"model": "closed", "concurrency": 1, "requests": 2},
        )  # fmt: skip
        done = perflib.run(made, data=tmp_path, progress=False)
        assert server.counts()["tools/list"] == 2 + 1
    assert done.rows(phase=None)["error"].isna().all()
    assert (done.spans()["span"] == "page").sum() == 1


@pytest.mark.parametrize("protocol", [LEGACY, MODERN])
def test_a_task_is_polled_to_its_end_as_one_row(protocol: str, tmp_path: Path) -> None:
    with http_server() as server:
        target = {"url": server.url, "protocol": protocol, "poll_tasks": True}
        found, done = of_habits(target, ["a-task"], tmp_path)
        counts = server.counts()
    assert found == {"a-task": {"ok"}}
    assert counts["tasks/get"] == 2 * 3
    assert counts.get("tasks/result", 0) == (2 if protocol == LEGACY else 0)
    rows, spans = done.rows(phase=None), done.spans()
    assert (rows["service_ns"] > 30e6).all()
    assert (spans["span"] == "task").sum() == 2
