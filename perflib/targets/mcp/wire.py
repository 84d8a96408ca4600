"""MCP requests as bytes, encoded beforehand except for their id.

There are two protocol eras. Up to 2025-11-25 a session begins with a handshake (`initialize`). From 2026-07-28 on every
request describes its client in `_meta`, and over HTTP names its method and object in headers.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from perflib.store.schema import NONE_NS
from perflib.suite.environment import filled_from_environment
from perflib.suite.operation import McpOperation
from perflib.targets.heads import LONGEST_MS
from perflib.targets.http.request import one_header_line, parse_json
from perflib.targets.template import Row, text_template, value_template, variables_in

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", HANDSHAKE)
SESSION: Final = "session"  # open, use and end a session, as one operation
CLIENT: Final = {"name": "perflib", "version": "1"}
FIRST_ID: Final = 1_000_000_000  # ten digits from the first to the last
SERVER_TIMING: Final = "io.perflib/server-timing"  # in an answer's _meta, written like the HTTP header
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_META: Final = "io.modelcontextprotocol/"
TASKS: Final = "io.modelcontextprotocol/tasks"  # an extension of the modern era
_HEADER_TYPES: Final = ("string", "integer", "boolean")  # of arguments that are also headers
MOST_PARAM_HEADERS: Final = 64
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
REQUEST_START: Final = b'{"jsonrpc":"2.0","id":'
MOST_CACHED: Final = 256
LONGEST_CACHED_BYTES: Final = 16_384
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


@dataclass(slots=True)
class McpRequest:
    """An operation in each era: `fixed` messages, or ones that are built for a row where it has variables.

    params          its parameters, from the values of a row
    tool            that it calls
    capabilities    of the client, which the modern era has in every request
    param_headers   arguments that the tool's schema wants as headers too (`x-mcp-header`): their paths and names
    own_headers     header lines of the operation itself
    all_pages       whether a list is read to its end
    cached_codes    error codes of answers read before, by their bytes without the id; an equal one is not read again
    """

    method: str
    params: Callable[[Row], dict[str, Any]]
    varies: bool
    trace_id: str | None
    tool: str | None
    capabilities: Mapping[str, Any]
    own_headers: Callable[[Row], bytes]
    all_pages: bool = False
    param_headers: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    fixed: tuple[EncodedRequest, EncodedRequest] | None = None  # of the handshake era, of the modern one
    head: bool = False
    cached_codes: dict[bytes, int] = field(default_factory=dict)

    @property
    def idempotent(self) -> bool:
        """Whether it may be sent again where nobody knows whether the server acted on it: a tool may do anything."""
        return self.method.endswith(("/list", "/read", "/get")) or self.method in ("ping", "completion/complete")

    @property
    def result_of(self) -> str:
        """The method whose result is due."""
        if self.method == SESSION:
            return "tools/call" if self.tool else "tools/list"
        return self.method

    @classmethod
    def of(cls, operation: McpOperation, trace_id: str | None, capabilities: Mapping[str, Any]) -> McpRequest:
        where = f"operation {operation.name!r}"
        method = operation.method or ("tools/call" if operation.tool else "ping")
        params = filled_from_environment(_params(operation), where)
        headers = filled_from_environment(dict(operation.headers), where)
        made = cls(
            method,
            value_template(params),
            bool(variables_in([params, headers])),
            trace_id,
            operation.tool,
            capabilities,
            _header_lines(headers),
            operation.all_pages,
        )
        made.prepare({})
        return made

    def prepare(self, param_headers: Mapping[tuple[str, ...], str]) -> None:
        """Encode what does not vary. `param_headers`: see the class."""
        self.param_headers = param_headers
        self.fixed = None if self.varies else (self._build(False, {}), self._build(True, {}))

    def remember(self, answer: bytes, error: int) -> None:
        """Cache the error code of an answer, which is given without its id."""
        if len(answer) <= LONGEST_CACHED_BYTES:
            if len(self.cached_codes) >= MOST_CACHED:  # answers that never come again
                self.cached_codes.clear()
            self.cached_codes[answer] = error

    def in_words(self, row: Row) -> bytes:
        """Its method, and its parameters as JSON, as evidence; b"" where nothing fills a name."""
        try:
            params = self.params(row)
        except Exception:
            return b""
        named = params.get(_NAMED.get(self.method, ""), "")
        return f"{self.method} {named}".strip().encode() + b"\n\n" + json.dumps(params).encode()

    def encoded(self, modern: bool, row: Row) -> EncodedRequest:
        return self.fixed[modern] if self.fixed is not None else self._build(modern, row)

    def _build(self, modern: bool, row: Row) -> EncodedRequest:
        return self.with_params(self.method, self.params(row), modern, row)

    def with_params(self, method: str, params: Mapping[str, Any], modern: bool, row: Row) -> EncodedRequest:
        """The request, or another one that belongs to it, with these parameters."""
        made = encode_request(method, params, modern=modern, trace_id=self.trace_id, capabilities=self.capabilities)
        lines = made.lines + self.own_headers(row)
        arguments = params.get("arguments")
        if modern and method == "tools/call" and isinstance(arguments, Mapping):
            lines += param_header_lines(self.param_headers, arguments)
        return EncodedRequest(lines, made.tail, made.rest)


def _header_lines(headers: Mapping[str, str]) -> Callable[[Row], bytes]:
    """The header lines of an operation, for the values of a row."""
    if not headers:
        return lambda row: b""
    fill = text_template("".join(f"{name}: {value}\r\n" for name, value in headers.items()), one_header_line)
    return lambda row: fill(row).encode()


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
    method: str,
    params: Mapping[str, Any],
    *,
    modern: bool,
    trace_id: str | None = None,
    capabilities: Mapping[str, Any] | None = None,
) -> EncodedRequest:
    """A request's bytes. `trace_id`: 32 hex digits of a W3C trace context; the request's id is its span."""
    content, meta = dict(params), dict(params.get("_meta", {}))
    if modern:
        meta |= {
            f"{_META}protocolVersion": MODERN,
            f"{_META}clientInfo": CLIENT,
            f"{_META}clientCapabilities": dict(capabilities or {}),
        }
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


def param_headers_of(schema: Any) -> dict[tuple[str, ...], str]:
    """Arguments that a tool's schema wants as headers too, by their paths: {("region",): "Region"}."""
    named: dict[tuple[str, ...], str] = {}
    waiting: list[tuple[tuple[str, ...], Any]] = [((), schema)]
    while waiting:
        path, part = waiting.pop()
        properties = part.get("properties") if isinstance(part, dict) else None
        if len(path) >= 16 or not isinstance(properties, dict) or len(named) >= MOST_PARAM_HEADERS:
            continue
        for name, schema in properties.items():
            if isinstance(schema, dict):
                header = schema.get("x-mcp-header")
                if isinstance(header, str) and _TOKEN.fullmatch(header) and schema.get("type") in _HEADER_TYPES:
                    named[(*path, name)] = header
                waiting.append(((*path, name), schema))
    return named


def param_header_lines(headers: Mapping[tuple[str, ...], str], arguments: Mapping[str, Any]) -> bytes:
    """The lines `Mcp-Param-…` for those arguments that are there."""
    lines = ""
    for path, header in headers.items():
        value: Any = arguments
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str | int | float):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            lines += f"Mcp-Param-{header}: {_header_value(text)}\r\n"
    return lines.encode()


def _header_value(text: str) -> str:
    """As it is where a header can carry it, else in the specification's base64 form."""
    if re.fullmatch(r"[\x20-\x7e]*", text) and text == text.strip() and not re.fullmatch(r"=\?base64\?.*\?=", text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


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


def capabilities_for(answers: Mapping[str, Any], *, polls_tasks: bool) -> dict[str, Any]:
    """What the client can do: answer what the suite has answers for, and wait for tasks."""
    made: dict[str, Any] = {method.partition("/")[0]: {} for method in answers}
    if polls_tasks:
        made["extensions"] = {TASKS: {}}
    return made


def reply_to_server(request: Mapping[str, Any], answers: Mapping[str, Any]) -> bytes:
    """The answer to a request of the server: a ping succeeds, and what the suite has an answer for; else an error."""
    method = request.get("method")
    outcome: dict[str, Any] = {"error": {"code": -32601, "message": "not supported by a load test"}}
    if method == "ping":
        outcome = {"result": {}}
    elif isinstance(method, str) and method in answers:
        outcome = {"result": answers[method]}
    return json.dumps({"jsonrpc": "2.0", "id": request.get("id"), **outcome}).encode()


def cancelled(number: int) -> bytes:
    """The notification that nobody waits for the answer to a request any more."""
    params = {"requestId": number, "reason": "timeout"}
    return json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).encode()
