"""Answers whose heads are the same bytes and whose bodies are not: each is read for what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import perflib
from tests.support.mcp_servers import LEGACY
from tests.support.suites import suite

Body = Callable[[int, Any], dict[str, Any]]  # of the answer to the nth call, which has this id


def good(number: Any, **meta: Any) -> dict[str, Any]:
    result = {"content": [{"type": "text", "text": "a"}], "isError": False, "_meta": meta}
    return {"jsonrpc": "2.0", "id": number, "result": result}


def failed_tool(nth: int, number: Any) -> dict[str, Any]:
    answer = good(number)
    answer["result"]["isError"] = nth % 2 == 1
    return answer


def rpc_error(nth: int, number: Any) -> dict[str, Any]:
    error = {"jsonrpc": "2.0", "id": number, "error": {"code": -32603, "message": "x"}}
    return error if nth % 2 == 1 else good(number)


def another_call(nth: int, number: Any) -> dict[str, Any]:
    return good(number + 1 if nth % 2 == 1 else number)


def no_content(nth: int, number: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": {"isError": False}} if nth % 2 == 1 else good(number)


def timed(nth: int, number: Any) -> dict[str, Any]:
    return good(number, **{"io.perflib/server-timing": f"total;dur=0.{nth:04d}"})


def timed_at_first(nth: int, number: Any) -> dict[str, Any]:
    return timed(50, number) if nth < 10 else good(number)


@contextmanager
def answering(body: Body) -> Iterator[str]:
    """A server whose answers all have 512 bytes, the same head, and leave in one piece."""
    calls = iter(range(1_000))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "id" not in message:
                self.wfile.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                return
            if message["method"] == "tools/call":
                answer = body(next(calls), message["id"])
            else:
                about = {"name": "a", "version": "1"}
                result = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": about}
                answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            text = json.dumps(answer).ljust(512).encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n" + text)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
    finally:
        server.shutdown()
        server.server_close()


def called(body: Body, folder: Path, calls: int = 20, **operation: Any) -> Any:
    """The rows of calls to such a server by one user."""
    with answering(body) as url:
        made = suite(
            {"kind": "mcp", "url": url, "protocol": LEGACY},
            operations=[{"name": "call", "tool": "echo", **operation}],
            load={"model": "closed", "concurrency": 1, "requests": calls},
        )
        return perflib.run(made, data=folder, progress=False).rows(phase=None)


CHECK = {"expect": {"contains": ["isError"]}}


@pytest.mark.parametrize(
    ("body", "error", "operation"),
    [
        (failed_tool, "mcp_tool", {}),
        (failed_tool, "mcp_tool", CHECK),
        (rpc_error, "mcp_rpc", {}),
        (another_call, "protocol", {}),
        (no_content, "mcp_result", {}),
    ],
)
def test_every_other_call_that_fails_is_counted(
    body: Body, error: str, operation: dict[str, Any], tmp_path: Path
) -> None:
    rows = called(body, tmp_path, **operation)
    assert list(rows["error"].astype(object).fillna("ok")) == ["ok", error] * 10


def test_each_call_has_its_own_time_of_the_server(tmp_path: Path) -> None:
    assert list(called(timed, tmp_path)["server_ns"]) == [nth * 100 for nth in range(20)]


def test_a_call_without_a_time_of_the_server_gets_none_of_another(tmp_path: Path) -> None:
    times = called(timed_at_first, tmp_path)["server_ns"]
    assert list(times.isna()) == [False] * 10 + [True] * 10
