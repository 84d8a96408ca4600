"""MCP servers, over streamable HTTP or stdio, by a lean wire client: prebuilt JSON-RPC on the engine's own lanes.

The official SDK's client costs about a millisecond of CPU per call and would be what is measured. All lanes of a worker
share one session. A tool that fails is a row with error `mcp_tool`, a JSON-RPC error `mcp_rpc`, an answer that is no
JSON-RPC `protocol`; transport errors are those of HTTP, or `reset` when a stdio server ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perflib.errors import TargetError
from perflib.rows import NONE_NS, NONE_STATUS
from perflib.suite import Operation, Target, variables_in
from perflib.targets.base import Driver, Lane, TargetKind, judge, keep, require
from perflib.targets.http import BACKOFF_S, Address, ReadingHttpLane, check_url, one_header_line, parse_json
from perflib.targets.oneshot import exchange
from perflib.targets.template import Row, check_path, from_environment, value_template

PROTOCOL_VERSION = "2025-11-25"
METHODS = ("tools/call", "tools/list", "resources/list", "resources/read", "prompts/list", "prompts/get", "ping")
_CLIENT = {"name": "perflib", "version": "1"}
_FIRST_ID = 1_000_000_000  # ten digits from the first to the last, so that a prebuilt length stays right


@dataclass(frozen=True, slots=True)
class McpRequest:
    """A JSON-RPC message but for its id: `tail(row)` is what follows it."""

    method: str
    tail: Callable[[Row], bytes]
    fixed: bytes | None
    head: bool = False

    @classmethod
    def of(cls, operation: Operation) -> McpRequest:
        method = operation.method or ("tools/call" if operation.tool else "ping")
        params: dict[str, Any] = dict(operation.params)
        if operation.tool:
            params |= {"name": operation.tool, "arguments": dict(operation.arguments)}
        elif operation.arguments:
            params["arguments"] = dict(operation.arguments)
        if operation.uri:
            params["uri"] = operation.uri
        fill = value_template(params)

        def tail(row: Row) -> bytes:
            text = f',"method":"{method}"' + (
                f',"params":{json.dumps(fill(row), separators=(",", ":"))}' if params else ""
            )
            return text.encode() + b"}"

        return cls(method, tail, None if variables_in(params) else tail({}))


class McpHttpLane(ReadingHttpLane):
    """One connection; every call is a POST that is answered with JSON or one server-sent event."""

    __slots__ = ()

    _kind: McpTarget  # type: ignore[assignment]

    def start(self) -> None:
        self._body = []
        request, kind = self.op.request, self._kind
        body = b'{"jsonrpc":"2.0","id":%d%b' % (next(kind.ids), request.fixed or request.tail(self.row))
        payload = b"%bContent-Length: %d\r\n\r\n%b" % (kind.head, len(body), body)
        self._sent = len(payload)
        self.start_ns = time.monotonic_ns()
        self._write(payload)

    def _error(self, status: int) -> int:
        if status >= 400:
            return self.driver.error_code("http_5xx" if status >= 500 else "http_4xx")
        return outcome(self, json_rpc(b"".join(self._body)))


class McpStdioLane(Lane):
    """One call at a time on the pipe that all lanes share."""

    __slots__ = ("_id", "_kind", "_retry", "_sent")

    def __init__(self, driver: Driver, index: int, kind: McpTarget) -> None:
        super().__init__(driver, index)
        self._kind, self._id, self._sent = kind, 0, 0
        self._retry: asyncio.TimerHandle | None = None

    def start(self) -> None:
        request: McpRequest = self.op.request
        self._id = next(self._kind.ids)
        payload = b'{"jsonrpc":"2.0","id":%d%b\n' % (self._id, request.fixed or request.tail(self.row))
        self._sent = len(payload)
        self.start_ns = time.monotonic_ns()
        pipe = self._kind.pipe
        if pipe is None or not pipe.send(self._id, self, payload):
            self.driver.loop.call_later(BACKOFF_S[4], self.over, None, 0, "connect")

    def over(self, message: Any, received: int, error: str = "") -> None:
        """An answer, or what came instead of one."""
        if not self.start_ns:
            return
        code = self.driver.error_code(error) if error else outcome(self, message)
        now = time.monotonic_ns()
        if self.driver.finish(self, now, now if message else NONE_NS, code, NONE_STATUS, self._sent, received, NONE_NS):
            self.start()

    def abort(self, error: str) -> None:
        if self._kind.pipe is not None:
            self._kind.pipe.pending.pop(self._id, None)
        self.over(None, 0, error)


class Pipe(asyncio.SubprocessProtocol):
    """A server on stdio, one message a line. Lanes wait in `pending` by id; callers of `ask` too."""

    def __init__(self) -> None:
        self.pending: dict[int, Any] = {}
        self.alive = True
        self._buffer = b""
        self._transport: asyncio.SubprocessTransport | None = None
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def send(self, number: int, lane: Any, payload: bytes) -> bool:
        """False where the server is gone."""
        if not self.alive or self._transport is None:
            return False
        if lane is not None:
            self.pending[number] = lane
        self._transport.get_pipe_transport(0).write(payload)  # type: ignore[union-attr]
        return True

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = parse_json(line.decode("utf-8", "replace"))
            if not isinstance(message, dict):
                continue  # a log line on stdout
            if "method" in message:
                self._serve(message)
            elif lane := self.pending.pop(_number(message.get("id")), None):
                lane.over(message, len(line) + 1)

    def _serve(self, message: dict[str, Any]) -> None:
        """Requests of the server: a ping is answered, all else is refused; notifications are heard and dropped."""
        if "id" in message:
            answer = (
                {"result": {}}
                if message["method"] == "ping"
                else {"error": {"code": -32601, "message": "not supported"}}
            )
            self.send(0, None, json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}).encode() + b"\n")

    def process_exited(self) -> None:
        self.alive = False
        waiting, self.pending = list(self.pending.values()), {}
        for lane in waiting:
            lane.over(None, 0, "reset")
        if not self.ended.done():
            self.ended.set_result(None)

    async def ask(self, number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request outside the load."""
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.send(number, _Asked(answered), json.dumps(message).encode() + b"\n")
        return await answered


@dataclass(frozen=True, slots=True)
class _Asked:
    answered: asyncio.Future[dict[str, Any]]

    def over(self, message: Any, received: int, error: str = "") -> None:
        if not self.answered.done():
            self.answered.set_result(message or {"error": {"message": "the server ended"}})


class McpTarget(TargetKind):
    """`url = "http://…/mcp"` (streamable HTTP) or `command = ["npx", "some-server"]` (stdio)."""

    def __init__(self, name: str, spec: Target, *, folder: str = "") -> None:
        super().__init__(name, spec, folder=folder)
        self.ids = itertools.count(_FIRST_ID)
        self.where = f"targets.{name}"
        self.address = Address.of(spec, self.where) if spec.url else None
        self.headers = {
            key: from_environment(value, f"{self.where}.headers.{key}") for key, value in spec.headers.items()
        }
        self.head, self.pipe = b"", None  # type: bytes, Pipe | None
        self._process: asyncio.SubprocessTransport | None = None
        self._session = ""
        self._about: dict[str, Any] = {}

    @classmethod
    def check(cls, name: str, spec: Target, operations: list[Operation]) -> None:
        where = f"targets.{name}"
        require(
            bool(spec.url) != bool(spec.command),
            "an MCP target needs a url or a command",
            where=where,
            mend="give exactly one of them",
        )
        if spec.url:
            check_url(name, spec)
        for operation in operations:
            at = f"operation {operation.name!r}"
            require(
                operation.tool or operation.method,
                "an MCP operation needs a tool or a method",
                where=at,
                mend='set tool = "name"',
            )
            require(
                operation.method in (None, *METHODS),
                f"unknown MCP method {operation.method!r}",
                where=at,
                mend=f"known: {', '.join(METHODS)}",
            )
            require(
                operation.method != "resources/read" or operation.uri,
                "resources/read needs a uri",
                where=at,
                mend='set uri = "…"',
            )
            for path in (*operation.keep.values(), *((operation.expect.json or {}) if operation.expect else ())):
                check_path(path, at)

    def compile(self, operation: Operation) -> McpRequest:
        return McpRequest.of(operation)

    def lane(self, driver: Driver, index: int) -> Lane:
        return McpHttpLane(driver, index, self) if self.address else McpStdioLane(driver, index, self)  # type: ignore[arg-type]

    async def open(self, driver: Driver) -> None:
        """Connect and negotiate. Raises TargetError where the server does not."""
        params = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": _CLIENT}
        try:
            async with asyncio.timeout(self.spec.ready.timeout_s):
                answer = await (self._open_http(params) if self.address else self._open_stdio(params))
        except (OSError, TimeoutError) as error:
            raise TargetError(
                f"cannot reach the MCP server: {type(error).__name__} {error}", where=self.where, mend="is it running?"
            ) from None
        if "result" not in answer:
            said = answer.get("error", {}).get("message", "no JSON-RPC answer")
            raise TargetError(
                f"the server refused `initialize`: {said}",
                where=self.where,
                mend="is this URL or command an MCP server?",
            )
        result = answer["result"]
        self._about = {"protocol_version": result.get("protocolVersion"), "server": result.get("serverInfo"),
                       "capabilities": sorted(result.get("capabilities", {})), "transport": "http" if self.address else "stdio"}  # fmt: skip
        await self._initialized(str(result.get("protocolVersion", PROTOCOL_VERSION)))

    async def _open_http(self, params: dict[str, Any]) -> dict[str, Any]:
        self.head = self._lines("")
        status, headers, body = await self._post({"id": next(self.ids), "method": "initialize", "params": params})
        self._session = headers.get("mcp-session-id", "")
        return json_rpc(body) or {"error": {"message": f"HTTP status {status}"}}

    async def _open_stdio(self, params: dict[str, Any]) -> dict[str, Any]:
        env = {**os.environ, **{k: from_environment(v, f"{self.where}.env.{k}") for k, v in self.spec.env.items()}}
        folder = self.spec.cwd or self.folder or None
        self._process, self.pipe = await asyncio.get_running_loop().subprocess_exec(
            Pipe, *self.spec.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, env=env, cwd=folder
        )
        self.children = (self._process.get_pid(),)
        return await self.pipe.ask(next(self.ids), "initialize", params)

    async def _initialized(self, version: str) -> None:
        if self.pipe is not None:
            self.pipe.send(0, None, b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        else:
            self.head = self._lines(version)
            await self._post({"method": "notifications/initialized"})

    def _lines(self, version: str) -> bytes:
        """Request line and headers of every POST, all but its length."""
        address = self.address
        assert address is not None
        fields = {
            "Host": address.authority,
            "User-Agent": "perflib",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if version:
            fields["MCP-Protocol-Version"] = version
        if self._session:
            fields["Mcp-Session-Id"] = self._session
        fields |= self.headers
        lines = "".join(f"{key}: {one_header_line(value)}\r\n" for key, value in fields.items())
        return f"POST {address.base_path or '/'} HTTP/1.1\r\n{lines}".encode()

    async def _post(self, message: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.address is not None
        return await exchange(self.address, self.head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def close(self) -> None:
        if self._session and self.address:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await exchange(
                        self.address, self.head.replace(b"POST", b"DELETE", 1) + b"Content-Length: 0\r\n\r\n"
                    )
        if self._process is not None and self.pipe is not None:
            self._process.get_pipe_transport(0).close()  # type: ignore[union-attr]
            for stop in (_nothing, self._process.terminate, self._process.kill):
                with contextlib.suppress(ProcessLookupError, TimeoutError):
                    stop()
                    async with asyncio.timeout(2):
                        await asyncio.shield(self.pipe.ended)
                    break
            self._process.close()

    def hosts(self) -> list[str]:
        return [self.address.host] if self.address else []

    def info(self) -> dict[str, Any]:
        return self._about


def _nothing() -> None:
    """The first thing to try on a server that should end: its stdin is closed, wait."""


def outcome(lane: Lane, message: Any) -> int:
    """The error code of a JSON-RPC answer, 0 for a good one; keeps what the operation keeps."""
    op = lane.op
    if not isinstance(message, dict) or not ("result" in message or "error" in message):
        return lane.driver.error_code("protocol")
    if "error" in message:
        return lane.driver.error_code("mcp_rpc")
    result = message["result"]
    if isinstance(result, dict) and result.get("isError"):
        return lane.driver.error_code("mcp_tool")
    if op.reads_answer:
        answer = _content(result)
        text = json.dumps(result) if op.expect and op.expect.contains else ""
        if not judge(op, NONE_STATUS, text, answer) or not keep(lane, answer):
            return lane.driver.error_code("check")
    return 0


def json_rpc(body: bytes) -> Any:
    """The JSON-RPC answer in a body: JSON, or the last server-sent event that carries one."""
    if body[:1] == b"{":
        return parse_json(body.decode("utf-8", "replace"))
    found = None
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        message = parse_json(data.decode("utf-8", "replace")) if data else None
        if isinstance(message, dict) and "id" in message and "method" not in message:
            found = message
    return found


def _content(result: Any) -> Any:
    """What a tool answered: its structured content, else its text as JSON, else the result itself."""
    if not isinstance(result, dict) or "content" not in result:
        return result
    if result.get("structuredContent") is not None:
        return result["structuredContent"]
    texts = [part.get("text", "") for part in result["content"] if part.get("type") == "text"]
    return parse_json(texts[0]) if texts else None


def _number(value: Any) -> int:
    return value if isinstance(value, int) else -1
