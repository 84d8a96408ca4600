"""HTTP/1.1: an asyncio protocol per connection, callbacks only, request bytes built beforehand.

A lane is a connection. Service time begins when the request is assigned to it, so a request that has to connect first
includes that time, which its `connect` span shows. Redirects are answers like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import httptools

from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.suite.environment import from_environment
from perflib.suite.operation import HttpOperation
from perflib.suite.target import HttpTargetSpec
from perflib.targets.base import Driver, Lane, TargetKind, judge, keep
from perflib.targets.connection import Address, check_url, connect
from perflib.targets.template import Row, check_path, text_template, value_template, variables_in

clock = time.monotonic_ns
HEAD_ENDS: Final = b"\r\n\r\n"
_MAX_PARSED_HEADS: Final = 512
_NO_HEADS: dict[bytes, ParsedHead] = {}
BACKOFF_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class ParsedHead:
    """What a head parsed before means: length of the whole answer in bytes, error code, status and server time."""

    length: int
    error: int
    status: int
    server_ns: int


@dataclass(frozen=True, slots=True)
class Request:
    """An operation as bytes: `fixed`, or `build(row)` where it has variables. `head`: its method is HEAD."""

    fixed: bytes | None
    build: Callable[[Row], bytes]
    head: bool


class Server(Protocol):
    """What the lanes of one server share: its address, and the heads of answers parsed before."""

    @property
    def address(self) -> Address: ...

    @property
    def parsed_heads(self) -> dict[bytes, ParsedHead]: ...


class HttpLane(Lane, asyncio.Protocol):
    """One connection, one request at a time. This class and Driver.finish are the hot path."""

    __slots__ = (
        "_closing",
        "_complete",
        "_connecting",
        "_failures",
        "_first_ns",
        "_head",
        "_heads",
        "_keep_alive",
        "_parser",
        "_payload",
        "_received",
        "_sent",
        "_server",
        "_setup",
        "_transport",
        "_write",
    )

    def __init__(self, driver: Driver, index: int, server: Server) -> None:
        super().__init__(driver, index)
        self._server = server
        self._heads = _NO_HEADS
        self._transport: asyncio.Transport | None = None
        self._write: Callable[[bytes], None] = self._send_later
        self._connecting: asyncio.Task[Any] | asyncio.TimerHandle | None = None
        self._closing, self._keep_alive = False, True
        self._payload = b""
        self._failures = self._complete = self._received = self._sent = 0
        self._setup: list[tuple[str, int, int]] = []  # spans of the request in flight: name, start, duration
        self._first_ns = NONE_NS
        self._head = b""

    def start(self) -> None:
        request = self.op.request
        payload = request.fixed or request.build(self.row)
        self._sent = len(payload)
        self.start_ns = clock()
        self._write(payload)

    def data_received(self, data: bytes) -> None:
        now = clock()
        answer = self._heads.get(data[: data.find(HEAD_ENDS) + 4])
        if answer is None or answer.length != len(data) or not self.start_ns:
            self._parse(data, now)
        elif self.driver.finish(
            self, now, now, answer.error, answer.status, self._sent, answer.length, answer.server_ns
        ):
            self.start()

    def _parse(self, data: bytes, now: int) -> None:
        """Read an answer that is not complete, or whose head is new."""
        if self._first_ns == NONE_NS:
            self._first_ns, self._head = now, data
            self._heads = _NO_HEADS  # the next bytes may be the rest of this answer
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._complete:
                self._fail("protocol", now)
                return
            self._disconnect()
        if self._complete and self.start_ns:
            self._answered(now)
        elif not self.start_ns:  # an answer without a request
            self._complete, self._received, self._first_ns = 0, 0, NONE_NS
            self._disconnect()

    def on_message_complete(self) -> None:
        parser = self._parser
        if parser.get_status_code() >= 200:  # not "100 Continue" and its like
            self._complete += 1
            self._keep_alive = parser.should_keep_alive()  # asked here, since the parser forgets it

    def _answered(self, now: int) -> None:
        status = self._parser.get_status_code()
        timing_ns = self._server_timing() if b"erver-" in self._head else NONE_NS
        error, server_ns = self._read(status, timing_ns)
        if self._complete > 1 or not self._keep_alive:
            self._disconnect()
        else:
            self._remember(status, error, timing_ns)
        self._finish(now, error, status, server_ns)

    def _remember(self, status: int, error: int, server_ns: int) -> None:
        """Cache the head, so that the next answer with the same bytes in its head is not parsed."""
        heads, head = self._server.parsed_heads, self._head[: self._head.find(HEAD_ENDS) + 4]
        if self._received == len(self._head) and not self._setup and b"\r\ntransfer-encoding:" not in head.lower():
            if len(heads) >= _MAX_PARSED_HEADS:  # probably heads that never come again, as those with a counter
                heads.clear()
            heads[head] = ParsedHead(self._received, error, status, server_ns)
        self._heads = heads

    def _finish(self, now: int, error: int, status: int, server_ns: int = NONE_NS) -> None:
        for span in self._setup:
            self.driver.span(*span)
        self._setup.clear()
        first_ns, received = self._first_ns, self._received
        self._complete = self._received = 0
        self._first_ns = NONE_NS
        if self.driver.finish(self, now, first_ns, error, status, self._sent, received, server_ns):
            self.start()

    def _read(self, status: int, timing_ns: int) -> tuple[int, int]:
        """Error code (0: none) and server time of a complete answer. `timing_ns`: the time that its head names."""
        return 0 if status < 400 else self.driver.error_code("http_5xx" if status >= 500 else "http_4xx"), timing_ns

    def _server_timing(self) -> int:
        """The server's time, ns: `total` of its Server-Timing header, else the first. Several are spans."""
        line = self._head.partition(HEAD_ENDS)[0].lower().partition(b"\r\nserver-timing:")[2].partition(b"\r\n")[0]
        parts: dict[str, int] = {}
        for metric in line.decode("latin-1").split(","):
            label, _, rest = metric.partition(";")
            duration = rest.partition("dur=")[2].partition(";")[0].strip(' "')
            with contextlib.suppress(ValueError, OverflowError):
                parts[label.strip()] = int(float(duration) * 1e6)
        if len(parts) > 1:
            self._setup += [(f"server:{label[:40]}", self.start_ns, ns) for label, ns in parts.items()]
        return parts.get("total", next(iter(parts.values()), NONE_NS))

    # Connections.

    def _connect(self) -> None:
        self._connecting = self.driver.loop.create_task(self._try_to_connect())

    async def _try_to_connect(self) -> None:
        try:
            await connect(self.driver.loop, self._server.address, lambda: self, self._setup)
        except Exception as error:  # refused, unreachable, no name, no descriptors, no certificate
            self._connecting = None
            self._setup.clear()
            self._connection_failed("tls" if isinstance(error, ssl.SSLError) else "connect")

    def _send_later(self, payload: bytes) -> None:
        """Connect first, since there is no connection to write to yet."""
        self._payload = payload
        if not self._closing:  # else connection_lost connects again
            self._connect()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._write, self._heads = transport.write, _NO_HEADS  # type: ignore[attr-defined]
        self._connecting, self._failures = None, 0
        step, began, took = self._setup.pop()
        self._setup.append((step, began, took or clock() - began))  # the last step ends here
        self._parser = httptools.HttpResponseParser(self)
        if self.start_ns:
            self._write(self._payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self._write = None, self._send_later
        if self._closing:
            self._closing = False
            if self.start_ns and self._payload:
                self._connect()
        elif self.start_ns:
            now = clock()
            if exc is None and self._ends_with_connection():
                status = self._parser.get_status_code()
                self._finish(now, self._read(status, NONE_NS)[0], status)
            else:
                self._finish(now, self.driver.error_code("reset"), NONE_STATUS)

    def _ends_with_connection(self) -> bool:
        """Whether the end of the connection completes the answer: its head names neither a length nor chunks."""
        head, separator, _ = self._head.lower().partition(b"\r\n\r\n")
        return (
            bool(separator)
            and self._first_ns != NONE_NS
            and b"\r\ncontent-length:" not in head
            and b"\r\ntransfer-encoding:" not in head
        )

    def _connection_failed(self, error: str) -> None:
        wait_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        if self.driver.finish(self, clock(), NONE_NS, self.driver.error_code(error), NONE_STATUS, 0, 0, NONE_NS):
            self.start_ns = clock()
            # No tight loop against a server that is gone.
            self._connecting = self.driver.loop.call_later(wait_s, self.start)

    def _fail(self, error: str, now: int) -> None:
        self._disconnect()
        self._finish(now, self.driver.error_code(error), NONE_STATUS)

    def _disconnect(self) -> None:
        if self._transport is not None and not self._closing:
            self._closing, self._payload, self._write = True, b"", self._send_later
            self._transport.abort()

    def abort(self, error: str) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._fail(error, clock())

    def close(self) -> None:
        self.start_ns = 0
        if self._connecting is not None:
            self._connecting.cancel()
        self._disconnect()


class ReadingHttpLane(HttpLane):
    """A lane that reads its answers: for `expect`, `keep` and HEAD."""

    __slots__ = ("_body",)

    def start(self) -> None:
        self._body: list[bytes] = []
        super().start()

    def data_received(self, data: bytes) -> None:
        now = clock()
        split = data.find(HEAD_ENDS) + 4
        answer = self._heads.get(data[:split])
        if answer is None or answer.length != len(data) or not self.start_ns:
            self._parse(data, now)
            return
        self.on_body(data[split:])
        error, server_ns = self._read(answer.status, answer.server_ns)
        if self.driver.finish(self, now, now, error, answer.status, self._sent, answer.length, server_ns):
            self.start()

    def _remember(self, status: int, error: int, server_ns: int) -> None:
        if not self.op.request.head:
            super()._remember(status, error, server_ns)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_headers_complete(self) -> None:
        if self.start_ns and self.op.request.head and self._parser.get_status_code() >= 200:
            self._complete += 1
            self._keep_alive = self._parser.should_keep_alive()
            self.driver.loop.call_soon(self._fresh_parser)

    def _fresh_parser(self) -> None:
        """Replace the parser after HEAD, whose answer names a length that never comes."""
        self._parser = httptools.HttpResponseParser(self)

    def _read(self, status: int, timing_ns: int) -> tuple[int, int]:
        op = self.op
        if not op.reads_answer or (status >= 400 and (op.expect is None or op.expect.status is None)):
            return super()._read(status, timing_ns)
        text = b"".join(self._body).decode("utf-8", "replace")
        answer = parse_json(text) if op.keep or (op.expect and op.expect.json) else None
        good = judge(op, status, text, answer) and keep(self, answer)
        return 0 if good else self.driver.error_code("check"), timing_ns


class HttpTarget(TargetKind):
    """An HTTP/1.0 or 1.1 server."""

    spec: HttpTargetSpec

    def __init__(self, name: str, spec: HttpTargetSpec, *, folder: str = "") -> None:
        super().__init__(name, spec, folder=folder)
        where = f"targets.{name}"
        self.address = Address.of(spec, where)
        self.headers = {key: from_environment(value, f"{where}.headers.{key}") for key, value in spec.headers.items()}
        self._reads = False
        self.parsed_heads: dict[bytes, ParsedHead] = {}  # shared by all lanes

    @classmethod
    def check(cls, name: str, spec: HttpTargetSpec, operations: list[HttpOperation]) -> None:
        check_url(name, spec)
        for operation in operations:
            where = f"operation {operation.name!r}"
            for path in (*operation.keep.values(), *((operation.expect.json or {}) if operation.expect else ())):
                check_path(path, where)

    def compile(self, operation: HttpOperation) -> Request:
        method = (operation.method or ("GET" if operation.json is None and operation.body is None else "POST")).upper()
        if operation.keep or operation.expect or method == "HEAD":
            self._reads = True
        headers = {
            **self.headers,
            **{k: from_environment(v, f"operation {operation.name!r}") for k, v in operation.headers.items()},
        }
        make = self._maker(operation, method, headers)
        varies = variables_in([operation.path, operation.json, operation.body, dict(operation.headers)])
        return Request(None if varies else make({}), make, method == "HEAD")

    def _maker(self, operation: HttpOperation, method: str, headers: dict[str, str]) -> Callable[[Row], bytes]:
        path = text_template(self.address.base_path + operation.path, lambda text: quote(text, safe=""))
        has_json, as_json = operation.json is not None, value_template(operation.json)
        as_text = text_template(operation.body or "")
        lower = {key.lower() for key in headers}
        fixed = {"Host": self.address.authority, "User-Agent": "perflib", "Accept": "*/*"}
        if has_json:
            fixed["Content-Type"] = "application/json"
        if not self.spec.keep_alive:
            fixed["Connection"] = "close"
        lines = "".join(f"{k}: {v}\r\n" for k, v in fixed.items() if k.lower() not in lower)
        fill = text_template("".join(f"{k}: {one_header_line(v)}\r\n" for k, v in headers.items()), one_header_line)
        sends_body = has_json or operation.body is not None or method in ("POST", "PUT", "PATCH")

        def make(row: Row) -> bytes:
            body = json.dumps(as_json(row), separators=(",", ":")).encode() if has_json else as_text(row).encode()
            length = f"Content-Length: {len(body)}\r\n" if sends_body else ""
            return f"{method} {path(row)} HTTP/1.1\r\n{lines}{fill(row)}{length}\r\n".encode() + body

        return make

    def lane(self, driver: Driver, index: int) -> Lane:
        return (ReadingHttpLane if self._reads else HttpLane)(driver, index, self)

    def hosts(self) -> list[str]:
        return [self.address.host]

    def info(self) -> dict[str, Any]:
        return {"host": self.address.host, "port": self.address.port}


def one_header_line(text: str) -> str:
    """The text without line breaks, which would end the header."""
    return text.replace("\r", " ").replace("\n", " ")


def parse_json(text: str) -> Any:
    """The JSON value of a text, or None where it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None
