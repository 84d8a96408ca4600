"""MCP as bytes: requests encoded beforehand except for their id, answers read no further than necessary.

There are two protocol eras. Up to 2025-11-25 a session begins with a handshake (`initialize`). From 2026-07-28 on every
request describes its client in `_meta`, and over HTTP names its method and object in headers.
"""

from __future__ import annotations

import base64
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from perflib.store.schema import NONE_NS
from perflib.suite.environment import filled_from_environment
from perflib.suite.operation import McpOperation
from perflib.targets.answer import Answer
from perflib.targets.base import Lane, judge
from perflib.targets.heads import LONGEST_MS
from perflib.targets.http.request import parse_json
from perflib.targets.template import Row, value_template, variables_in

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", HANDSHAKE)
SESSION: Final = "session"  # open, use and end a session, as one operation
METHODS: Final = (
    "tools/call",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "ping",
    SESSION,
)
CLIENT: Final = {"name": "perflib", "version": "1"}
FIRST_ID: Final = 1_000_000_000  # ten digits from the first to the last
SERVER_TIMING: Final = "io.perflib/server-timing"  # in an answer's _meta, written like the HTTP header
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_ENVELOPE: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
REQUEST_START: Final = b'{"jsonrpc":"2.0","id":'
LONGEST_MESSAGE_BYTES: Final = 64_000_000  # of one answer, event or line
MOST_EVENTS: Final = 20_000  # of one answer
_SPAN_ID: Final = "{span id}"


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request without its id.

    lines   header lines over HTTP
    tail    the bytes that follow the id
    rest    the bytes that follow the span id, where the request is traced
    """

    lines: bytes
    tail: bytes
    rest: bytes | None = None

    def body(self, number: int) -> bytes:
        if self.rest is None:
            return b"%b%d%b" % (REQUEST_START, number, self.tail)
        return b"%b%d%b%016x%b" % (REQUEST_START, number, self.tail, number, self.rest)


@dataclass(frozen=True, slots=True)
class McpRequest:
    """An operation in each era: `fixed` messages, or `build(modern, row)` where it has variables."""

    method: str
    params: Callable[[Row], dict[str, Any]]
    fixed: tuple[EncodedRequest, EncodedRequest] | None  # of the handshake era, of the modern one
    build: Callable[[bool, Row], EncodedRequest]
    head: bool = False

    @property
    def idempotent(self) -> bool:
        """Whether it may be sent again where nobody knows whether the server acted on it: a tool may do anything."""
        return self.method not in ("tools/call", SESSION)

    @classmethod
    def of(cls, operation: McpOperation, trace_id: str | None) -> McpRequest:
        method = operation.method or ("tools/call" if operation.tool else "ping")
        params = filled_from_environment(_params(operation), f"operation {operation.name!r}")
        fill = value_template(params)

        def build(modern: bool, row: Row) -> EncodedRequest:
            return encode_request(method, fill(row), modern=modern, trace_id=trace_id)

        fixed = None if variables_in(params) else (build(False, {}), build(True, {}))
        return cls(method, fill, fixed, build)

    def in_words(self, row: Row) -> bytes:
        """Its method, and its parameters as JSON, as evidence; b"" where nothing fills a name."""
        try:
            params = self.params(row)
        except Exception:
            return b""
        named = params.get(_NAMED.get(self.method, ""), "")
        return f"{self.method} {named}".strip().encode() + b"\n\n" + json.dumps(params).encode()

    def encoded(self, modern: bool, row: Row) -> EncodedRequest:
        return self.fixed[modern] if self.fixed is not None else self.build(modern, row)


def _params(operation: McpOperation) -> dict[str, Any]:
    params: dict[str, Any] = dict(operation.params)
    if operation.tool:
        params |= {"name": operation.tool, "arguments": dict(operation.arguments)}
    elif operation.arguments:
        params["arguments"] = dict(operation.arguments)
    if operation.uri:
        params["uri"] = operation.uri
    return params


def encode_request(
    method: str, params: Mapping[str, Any], *, modern: bool, trace_id: str | None = None
) -> EncodedRequest:
    """A request's bytes. `trace_id`: 32 hex digits of a W3C trace context; the request's id is its span."""
    content, meta = dict(params), dict(params.get("_meta", {}))
    if modern:
        meta |= _ENVELOPE
    if trace_id:
        meta["traceparent"] = f"00-{trace_id}-{_SPAN_ID}-01"
    if meta:
        content["_meta"] = meta
    text = f',"method":{json.dumps(method)}'
    if content:
        text += f',"params":{json.dumps(content, separators=(",", ":"))}'
    tail, _, rest = (text + "}").encode().partition(_SPAN_ID.encode())
    return EncodedRequest(_routing(method, content) if modern else b"", tail, rest or None)


def _routing(method: str, params: Mapping[str, Any]) -> bytes:
    """Header lines of the modern era: the method, and the name of what it is about."""
    lines = f"Mcp-Method: {method}\r\n"
    name = params.get(_NAMED.get(method, ""))
    if isinstance(name, str):
        lines += f"Mcp-Name: {_header_value(name)}\r\n"
    return lines.encode()


def _header_value(text: str) -> str:
    """As it is where a header can carry it, else in the specification's base64 form."""
    if re.fullmatch(r"[\x20-\x7e]*", text) and text == text.strip() and not re.fullmatch(r"=\?base64\?.*\?=", text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def outcome(lane: Lane, answer: Any, number: int | None) -> tuple[int, int]:
    """(error code, server time in ns) of a JSON-RPC answer to request `number`; code 0 is success.

    Stores the fields that the operation keeps.
    """
    code = lane.driver.error_code
    if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
        return code("protocol"), NONE_NS
    if number is not None and answer.get("id") != number and "result" in answer:
        return code("protocol"), NONE_NS  # an answer to something else
    if "error" in answer:
        return code("mcp_rpc"), NONE_NS
    result = answer["result"]
    if not isinstance(result, dict):
        return code("protocol"), NONE_NS
    server_ns = server_time_ns(result)
    if result.get("isError"):
        return code("mcp_tool"), server_ns
    if lane.op.reader is None:
        return 0, server_ns
    elapsed_s = (time.monotonic_ns() - lane.start_ns) / 1e9
    return judge(
        lane, Answer(tool_content(result), lambda: json.dumps(result, ensure_ascii=False), elapsed_s)
    ), server_ns


def server_time_ns(result: Mapping[str, Any]) -> int:
    """The server's own time: `total` of the timing in `_meta`, NONE_NS where there is none."""
    meta = result.get("_meta")
    timing = meta.get(SERVER_TIMING) if isinstance(meta, dict) else None
    match = re.search(r"total;dur=([0-9.]{1,20})", timing) if isinstance(timing, str) else None
    try:
        ms = float(match[1]) if match else math.inf
    except ValueError:
        return NONE_NS
    return int(ms * 1e6) if ms <= LONGEST_MS else NONE_NS


def tool_content(result: Any) -> Any:
    """A tool's answer: its structured content, else its text as JSON, else the result itself."""
    if not isinstance(result, dict) or not isinstance(result.get("content"), list):
        return result
    if result.get("structuredContent") is not None:
        return result["structuredContent"]
    texts = [
        part.get("text", "") for part in result["content"] if isinstance(part, dict) and part.get("type") == "text"
    ]
    return parse_json(texts[0]) if texts else None


class Events:
    """Server-sent events from a body that arrives in pieces. feed(bytes) → the JSON-RPC messages that are complete."""

    def __init__(self) -> None:
        self._rest, self._searched, self._events = bytearray(), 0, 0

    def feed(self, piece: bytes) -> list[Any]:
        """Raises ValueError for an event that is longer than LONGEST_MESSAGE_BYTES, and for more than MOST_EVENTS."""
        self._rest += piece
        messages, begin = [], 0
        search = max(0, self._searched - 3)
        while (end := self._end(search)) >= 0:
            messages += self._message(bytes(self._rest[begin:end]))
            begin = search = end
            self._events += 1
            if self._events > MOST_EVENTS:
                raise ValueError(f"more than {MOST_EVENTS:,} events")
        del self._rest[:begin]
        self._searched = len(self._rest)  # bytes are searched once, however small the pieces are
        if self._searched > LONGEST_MESSAGE_BYTES:
            raise ValueError(f"an event is longer than {LONGEST_MESSAGE_BYTES:,} bytes")
        return messages

    def _end(self, begin: int) -> int:
        """Where the event ends that ends next, with its blank line; -1 where none does."""
        while (at := self._rest.find(b"\n", begin)) >= 0:
            for blank in (b"\n", b"\r\n"):
                if self._rest.startswith(blank, at + 1):
                    return at + 1 + len(blank)
            begin = at + 1
        return -1

    def _message(self, event: bytes) -> list[Any]:
        lines = (line.removesuffix(b"\r") for line in event.split(b"\n"))
        data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
        return [parse_json(data.decode("utf-8", "replace"))] if data else []


def reply_to_server(request: Mapping[str, Any]) -> bytes:
    """The answer to a request of the server: a ping succeeds, all else (sampling, roots, elicitation) is an error."""
    outcome = (
        {"result": {}}
        if request.get("method") == "ping"
        else {"error": {"code": -32601, "message": "not supported by a load test"}}
    )
    return json.dumps({"jsonrpc": "2.0", "id": request.get("id"), **outcome}).encode()
