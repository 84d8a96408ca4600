"""Answers built to harm, over HTTP and MCP, each of which a run may take for one bad answer and no more.

    http_run(folder), mcp_run(folder, "http"), mcp_run(folder, "stdio")    # a run in which every second request is good

This file is also an MCP server on stdio: `python hostile.py`.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 0.25  # of a request
LARGE = ("four megabytes", "three million parts", "many numbers", "a bomb")  # which a busy machine may read for longer
LARGE_S = 5.0
MOST_BYTES = 500_000_000  # of a worker's memory
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\ngood-answer"
Answer = Callable[[socket.socket, int], bool]


def _ok(body: bytes, *lines: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (
        b"".join(b"%b\r\n" % x for x in lines),
        len(body),
        body,
    )


def _once(data: bytes, *, keep: bool = True, wait_s: float = 0.0, then: bytes = b"") -> Answer:
    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(data)
        if wait_s:
            time.sleep(wait_s)
        if then:
            connection.sendall(then)
        return keep

    return answer


def _endless(begin: bytes, piece: bytes, pause_s: float = 0.001) -> Answer:
    """Sends pieces until the client has had enough."""

    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(begin)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            connection.sendall(piece)
            time.sleep(pause_s)
        return False

    return answer


def _silent(connection: socket.socket, number: int) -> bool:
    connection.recv(1)
    return False


def _reset(connection: socket.socket, number: int) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return False


_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
HTTP: dict[str, Answer] = {
    "silence": _silent,
    "closed at once": lambda connection, number: False,
    "reset": _reset,
    "garbage": _once(bytes(range(256)) * 4, keep=False),
    "SSH": _once(b"SSH-2.0-OpenSSH_9.6\r\n", keep=False),
    "a TLS alert": _once(b"\x15\x03\x01\x00\x02\x02\x28", keep=False),
    "HTTP/2": _once(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18, keep=False),
    "HTTP/0.9": _once(b"<html>good-answer</html>", keep=False),
    "no status": _once(b"HTTP/1.1\r\n\r\n"),
    "a huge status": _once(b"HTTP/1.1 999999999999 OK\r\nContent-Length: 0\r\n\r\n"),
    "a negative status": _once(b"HTTP/1.1 -200 OK\r\nContent-Length: 0\r\n\r\n"),
    "a lower-case version": _once(b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "another version": _once(b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "a switch of protocols": _once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxx"),
    "endless interim answers": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "an endless header": _endless(_HEAD + b"X: ", b"x" * 65_536),
    "endless headers": _endless(_HEAD, b"X-A: b\r\n" * 1000),
    "a head in drips": _endless(_HEAD, b"X", 0.002),
    "a long header": _once(_ok(b"", b"X: " + b"x" * 60_000)),
    "a NUL in a header": _once(_ok(b"", b"X: a\x00b")),
    "a folded header": _once(_ok(b"", b"X: a\r\n\tb")),
    "ten thousand lengths": _once(_HEAD + b"Content-Length: 0\r\n" * 10_000 + b"\r\n"),
    "ten thousand cookies": _once(_ok(b"", *[b"Set-Cookie: a=b"] * 10_000)),
    "two lengths": _once(_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "a negative length": _once(_HEAD + b"Content-Length: -1\r\n\r\n"),
    "a huge length": _once(_HEAD + b"Content-Length: 999999999999999999999999999999\r\n\r\n", wait_s=1),
    "more than its length": _once(_HEAD + b"Content-Length: 1\r\n\r\na" + GOOD),
    "two answers": _once(_ok(b"one") + _ok(b"two")),
    "a late answer": _once(b"", wait_s=TIMEOUT_S + 0.2, then=b"HTTP/1.1 500 Late\r\nContent-Length: 0\r\n\r\n"),
    "a huge chunk": _once(_CHUNKED + b"FFFFFFFFFFFFFFFF\r\nx", wait_s=1),
    "no number of a chunk": _once(_CHUNKED + b"xyz\r\n"),
    "endless chunks": _endless(_CHUNKED, b"1\r\nx\r\n" * 2000),
    "an endless chunk extension": _endless(_CHUNKED + b"1;", b"x" * 65_536),
    "endless trailers": _endless(_CHUNKED + b"0\r\n", b"X: y\r\n" * 2000),
    "an endless body": _endless(_HEAD + b"\r\n", b"x" * 65_536),
    "a bomb": _once(_ok(gzip.compress(b"\0" * 30_000_000), b"Content-Encoding: gzip")),
    "no gzip": _once(_ok(b"plain", b"Content-Encoding: gzip")),
    "a hundred thousand timings": _once(_ok(b"", b"Server-Timing: " + b",".join([b"a;dur=1"] * 30_000))),
    "impossible timings": _once(_ok(b"", b"Server-Timing: a;dur=1e999, b;dur=nan, c;dur=-1, e;dur=" + b"9" * 400)),
    "timings that are no text": _once(_ok(b"", b"Server-Timing: \x1b[2J\xff;dur=1, ;dur=2, a;desc=\"" + b"\\" * 999)),
    "a redirect to itself": _once(b"HTTP/1.1 302 Found\r\nLocation: again\r\nContent-Length: 0\r\n\r\n"),
    "a redirect elsewhere": _once(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"),
    "a redirect to no URL": _once(b"HTTP/1.1 302 Found\r\nLocation: http://[\x1b[2J\r\nContent-Length: 0\r\n\r\n"),
    "deep JSON": _once(_ok(b"[" * 200_000)),
    "a huge number": _once(_ok(b'{"id": ' + b"9" * 100_000 + b"}")),
    "many numbers": _once(_ok(b"[" + b"1," * 1_500_000 + b"1]")),
    "no UTF-8": _once(_ok(b'{"id": "\xff\xfe\xed\xa0\x80"}')),
    "lone surrogates": _once(_ok(b'{"id": "\\ud800\\udfff\\u0000"}')),
    "escapes": _once(_ok(b"\x1b]0;owned\x07\x1b[31m\x00\xe2\x80\xae\xff").replace(b"200 OK", b"500 \x1b[2J")),
    "an unknown charset": _once(_ok(b"\x00x", b"Content-Type: text/plain; charset=zip")),
    "a body where none may be": _once(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nabcde"),
}  # fmt: skip


def _result(content: str, **more: Any) -> Callable[[int], bytes]:
    """A JSON-RPC answer with this JSON as its result."""
    return lambda number: f'{{"jsonrpc": "2.0", "id": {number}, "result": {content}}}'.encode()


def _raw(text: str) -> Callable[[int], bytes]:
    return lambda number: text.replace("ID", str(number)).encode("utf-8", "surrogatepass")


MCP: dict[str, Callable[[int], bytes]] = {
    "no JSON": _raw("good-answer"),
    "nothing": _raw(" "),
    "a list": _raw("[]"),
    "a text": _raw('"text"'),
    "a number": _raw("1e999"),
    "null": _raw("null"),
    "no result": _raw('{"jsonrpc": "2.0", "id": ID}'),
    "a null for a result": _result("null"),
    "a list for a result": _result("[1]"),
    "another id": _raw('{"jsonrpc": "2.0", "id": 7, "result": {}}'),
    "the next id": lambda number: json.dumps({"jsonrpc": "2.0", "id": number + 1, "error": {"code": 1}}).encode(),
    "a text for an id": _raw('{"jsonrpc": "2.0", "id": "ID", "result": {}}'),
    "a fraction for an id": _raw('{"jsonrpc": "2.0", "id": ID.5, "result": {}}'),
    "a list for an id": _raw('{"jsonrpc": "2.0", "id": [ID], "result": {}}'),
    "no id": _raw('{"jsonrpc": "2.0", "result": {}}'),
    "result and error": _raw('{"jsonrpc": "2.0", "id": ID, "result": {}, "error": {"code": 1}}'),
    "a text for an error": _raw('{"jsonrpc": "2.0", "id": ID, "error": "no"}'),
    "a null for an error": _raw('{"jsonrpc": "2.0", "id": ID, "error": null}'),
    "depth": _result("[" * 100_000 + "]" * 100_000),
    "depth of objects": _result('{"a":' * 900 + "1" + "}" * 900),
    "a huge number": _result('{"content": ' + "9" * 100_000 + "}"),
    "no numbers": _result('{"content": [NaN, Infinity, -Infinity]}'),
    "the same key twice": _raw('{"jsonrpc": "2.0", "id": ID, "id": 3, "result": {}, "result": []}'),
    "lone surrogates": _result('{"content": [{"type": "text", "text": "\\ud800"}], "isError": true}'),
    "raw surrogates": _raw('{"jsonrpc": "2.0", "id": ID, "result": {"x": "\ud800"}}'),
    "escapes": _result('{"content": [{"type": "text", "text": "\\u001b[2J\\u0000\\u202e"}], "isError": true}'),
    "no content": _result('{"content": "text", "isError": "yes"}'),
    "parts that are none": _result('{"content": [1, null, "a", []]}'),
    "no text in a text": _result('{"content": [{"type": "text", "text": {"a": 1}}]}'),
    "deep structured content": _result('{"content": [], "structuredContent": ' + "[" * 900 + "]" * 900 + "}"),
    "four megabytes": _result('{"content": [{"type": "text", "text": "' + "x" * 4_000_000 + '"}]}'),
    "three million parts": _result("[" + "{}," * 3_000_000 + "{}]"),
    "an impossible time": _result('{"_meta": {"io.perflib/server-timing": "total;dur=1e99999"}}'),
    "a time of many digits": _result('{"_meta": {"io.perflib/server-timing": "total;dur=' + "9" * 99_999 + '"}}'),
    "a time that is none": _result('{"_meta": {"io.perflib/server-timing": {"total": [1]}}}'),
    "meta that is none": _result('{"_meta": 5}'),
    "a question with its id": _raw('{"jsonrpc": "2.0", "id": ID, "method": "ping"}'),
    "NULs": _raw("\0" * 1000),
}


def good(number: int) -> bytes:
    """A good answer."""
    text = {"content": [{"type": "text", "text": '{"said": "good-answer"}'}]}
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": text}).encode()


def mcp_answer(request: dict[str, Any]) -> list[bytes]:
    """The messages with which a hostile server answers a request; none to a notification."""
    method, number = request.get("method"), request.get("id")
    if number is None or "result" in request or "error" in request:
        return []
    if method == "initialize":
        about = {"name": "hostile\x1b[2J", "version": ["1"], "x" * 1000: "y" * 100_000}
        many = {f"capability {i}": {} for i in range(1000)}
        result = {"protocolVersion": "2025-11-25", "capabilities": many, "serverInfo": about}
        return [json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()]
    if method == "tools/call":
        name = request["params"]["name"]
        asked = [b'{"jsonrpc":"2.0","id":"q","method":"ping"}'] * 200 if name == "a question with its id" else []
        return [*asked, MCP[name](number) if name in MCP else good(number)]
    return [json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no"}}).encode()]


SSE: dict[str, Answer] = {
    "an endless event": _endless(_HEAD + b"Content-Type: text/event-stream\r\n\r\ndata: ", b"x" * 65_536),
    "endless events": _endless(_HEAD + b"Content-Type: text/event-stream\r\n\r\n", b"data: 1\n\n" * 1000),
    "endless comments": _endless(_HEAD + b"Content-Type: text/event-stream\r\n\r\n", b":\n\n" * 1000),
    "endless questions": _endless(
        _HEAD + b"Content-Type: text/event-stream\r\n\r\n", b'data: {"id": 1, "method": "ping"}\n\n' * 100
    ),
    "an event that ends with the connection": _once(
        _HEAD + b"Content-Type: text/event-stream\r\n\r\ndata: {}", keep=False
    ),
}


def kinds() -> int:
    """How many kinds of hostile answers there are: over HTTP, over MCP, and as event streams."""
    return len(HTTP) + len(MCP) + len(SSE)


def _suite(target: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Every second request is good."""
    good = {**operations.pop()}
    operations = [{**each, "timeout_s": LARGE_S if each["name"] in LARGE else TIMEOUT_S} for each in operations]
    pairs = [part for i, each in enumerate(operations) for part in (each, {**good, "name": f"good {i}"})]
    load = {"model": "closed", "concurrency": 1, "requests": len(pairs)}
    scenario = {"name": "hostile", "target": "it", "order": "sequence", "load": load, "operations": pairs}
    return {"name": "hostile", "targets": {"it": {**target, "timeout_s": LARGE_S}}, "scenarios": [scenario]}


@contextmanager
def http_server() -> Iterator[str]:
    """The URL of a server with a path for each hostile answer, /good and /gauges."""
    from tests.support.servers import raw_server

    answers: dict[str, Answer] = {"/again": HTTP["a redirect to itself"]}
    answers |= {f"/{number}": answer for number, answer in enumerate(HTTP.values())}
    with raw_server({**answers, "/good": _once(GOOD), "/gauges": _once(_ok(b'{"a": 1}'))}) as url:
        yield url


def http_run(folder: Path) -> Any:
    """A run on a server that answers with everything of HTTP."""
    from perflib.suite.file import from_table
    from tests.support.runs import run_quietly

    expect = {"contains": "good-answer"}
    operations = [
        {"name": name, "path": f"/{number}", "expect": {"json": {"$.id": 1}}} for number, name in enumerate(HTTP)
    ]
    with http_server() as url:
        target = {"kind": "http", "url": url, "gauges": "/gauges", "redirects": 3}
        table = _suite(target, [*operations, {"name": "good", "path": "/good", "expect": expect}])
        return run_quietly(from_table(table), folder)


def mcp_run(folder: Path, transport: str) -> Any:
    """A run on a server that answers with everything of MCP: as JSON ("http"), as events ("sse"), or on stdio."""
    from perflib.suite.file import from_table
    from tests.support.runs import run_quietly
    from tests.support.servers import raw_server

    names = [*MCP, *(SSE if transport == "sse" else ())]
    operations = [{"name": name, "tool": name} for name in names]
    operations.append({"name": "good", "tool": "good", "expect": {"contains": "good-answer"}})
    if transport == "stdio":
        target: dict[str, Any] = {"kind": "mcp", "command": [sys.executable, __file__]}
        return run_quietly(from_table(_suite(target, operations)), folder)
    heard: list[bytes] = []

    def answer(connection: socket.socket, number: int) -> bool:
        request = json.loads(heard[-1].partition(b"\r\n\r\n")[2] or b"{}")
        name = request.get("params", {}).get("name") if request.get("method") == "tools/call" else ""
        if name in SSE:
            return SSE[name](connection, number)
        messages = mcp_answer(request)
        if transport == "sse" and messages:
            body, kind = b"".join(b"data: %b\n\n" % message for message in messages), b"text/event-stream"
        else:
            body, kind = (messages or [b""])[-1], b"application/json"
        connection.sendall(_ok(body, b"Content-Type: " + kind))
        return True

    with raw_server(answer, heard) as url:
        return run_quietly(from_table(_suite({"kind": "mcp", "url": f"{url}/mcp"}, operations)), folder)


def harm_done(run: Any) -> list[str]:
    """What went wrong in a run besides its bad answers: nothing may have."""
    rows = run.rows(phase=None).sort_values("seq")
    said = ("the target hung", "the load generator was")  # which it did; and a busy machine is no harm of an answer
    harm = [reason for reason in run.manifest.reasons if not any(words in reason for words in said)]
    if run.status not in ("complete", "invalid"):
        harm.append(f"the run is {run.status}")
    expected = [operation.name for operation in run.suite.scenarios[0].operations]
    if list(rows["operation"]) != expected:
        harm.append(f"{len(rows)} rows for {len(expected)} requests, or not in their order")
    bad = rows[rows["operation"].str.startswith("good ") & ~rows["ok"]]
    harm += [f"{row.operation} after {expected[2 * int(row.operation[5:])]!r}: {row.error}" for row in bad.itertuples()]
    for row in rows.itertuples():
        took_s, most_s = (row.end_ns - row.start_ns) / 1e9, LARGE_S if row.operation in LARGE else TIMEOUT_S + 1
        harm += [f"{row.operation} took {took_s:.1f} s"] if took_s > most_s else []
    ((most,),) = run.query("select max(rss_bytes) from resources where role = 'generator'").fetchall()
    harm += [f"a worker had {most / 1e6:.0f} MB"] if most and most > MOST_BYTES else []
    ((last,),) = run.query("select max(t_ns) from gauges").fetchall() if list(run.path.glob("gauges/*")) else ((None,),)
    if last is not None and last < rows["end_ns"].max() - 3e9:
        harm.append("gauges were not read to the end")
    return harm


if __name__ == "__main__":
    for line in sys.stdin:
        for message in mcp_answer(json.loads(line)):
            sys.stdout.buffer.write(message.replace(b"\n", b" ") + b"\n")
            sys.stdout.buffer.flush()
