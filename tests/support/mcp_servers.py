"""Small MCP servers in plain Python, over stdio or HTTP, in both protocol eras, which misbehave as they are told.

    python -m tests.support.mcp_servers stdio|http [--era both|legacy|modern] [--answers json|sse]
                                                   [--fault NAME] [--after N] [--log FILE]

Over HTTP they listen at a free port of loopback, printed as the last word of the first line; GET /counts counts what
they received. They insist on what a client must send (session, version and routing headers, `initialized`).
Faults befall `tools/call`, from call number N on; FAULTS and `--help` name them. A call whose argument `habit` names
one has that one. Tests use `http_server` and `Stdio`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = "io.modelcontextprotocol/"
OWN = "own"  # the stream of a session for what belongs to no request
ABOUT = {"name": "perflib-test", "version": "1.2"}
CAPABILITIES = {
    "tools": {"listChanged": False},
    "resources": {"subscribe": False, "listChanged": False},
    "prompts": {"listChanged": False},
}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
SIZE = {"type": "object", "properties": {"bytes": {"type": "integer"}}, "required": ["bytes"]}
TOOLS = [
    {"name": "echo", "description": "Says the text again.", "inputSchema": TEXT},
    {"name": "écho", "description": "The same, its name not fit for a header.", "inputSchema": TEXT},
    {"name": "letters", "description": "Says so many letters.", "inputSchema": SIZE},
    {
        "name": "measured",
        "description": "Has a schema for its answers, and a header for an argument.",
        "inputSchema": {"type": "object", "properties": {"unit": {"type": "string", "x-mcp-header": "Unit"}}},
        "outputSchema": {"type": "object", "properties": {"length": {"type": "integer", "maximum": 3}}},
    },
]
PROMPTS = [{"name": "greet", "arguments": [{"name": "name", "required": True}]}]
RESOURCES = [{"uri": "test://greeting", "name": "greeting", "mimeType": "text/plain"}]
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
CACHEABLE = ("server/discover", "tools/list", "prompts/list", "resources/list", "resources/read")
STATUS = {-32700: 400, -32600: 400, -32602: 400, -32020: 400, -32022: 400, -32601: 404}
Message = dict[str, Any]


@dataclass
class Refused(Exception):
    """An answer that is a JSON-RPC error; over HTTP with a status of its own."""

    code: int
    text: str
    status: int = 200
    data: Any = None

    def reply(self, number: Any) -> Message:
        error = {"code": self.code, "message": self.text} | ({} if self.data is None else {"data": self.data})
        return {"jsonrpc": "2.0", "id": number, "error": error}


@dataclass
class Session:
    """What `initialize` opened; in the modern era there is none, and every request brings all it needs."""

    name: str = "-"
    version: str = ""
    ready: bool = False
    calls: int = 0


class Peer:
    """The client as one request sees it."""

    async def send(self, message: Message) -> None:
        """A message before the answer."""
        await self.text(json.dumps(message, separators=(",", ":")).encode())

    async def text(self, text: bytes) -> None:
        """Any bytes in a message's place."""

    async def answer(self, message: Message, status: int = 200) -> None:
        """The answer; the request is over."""

    async def gone(self) -> None:
        """Until the client has left."""


@dataclass
class Server:
    """What all connections share."""

    era: str = "both"
    answers: str = "json"
    fault: str = ""
    after: int = 0
    log: str = ""
    token_calls: int = 0
    token: str = ""  # that is good at the moment
    token_used: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    sessions: dict[str, Session] = field(default_factory=dict)
    asked: dict[str, asyncio.Future[Message]] = field(default_factory=dict)
    held: list[asyncio.Future[None]] = field(default_factory=list)
    calls: int = 0
    expired: bool = False
    door: asyncio.Server | None = None  # over HTTP
    arguments: list[Any] = field(default_factory=list)  # of all calls
    headers: list[dict[str, str]] = field(default_factory=list)  # of all requests over HTTP
    page: int = 0  # tools on a page of the list
    tasks: dict[str, list[Any]] = field(default_factory=dict)  # how often each is still at work, and its result
    streams: dict[str, tuple[Session, Peer]] = field(default_factory=dict)  # of the old transport, by session
    inputs: list[Any] = field(default_factory=list)  # what calls brought for input that was asked for
    resumed: dict[str, Message] = field(default_factory=dict)  # answers by the event that they follow
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def count(self, what: str, session: Session) -> None:
        """One line a thing heard: process, session, what. Appended at once, so that a death loses none."""
        self.counts[what] += 1
        if self.log:
            line = f"{os.getpid()} {session.name} {what}\n".encode()
            file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, line)
            os.close(file)

    async def request(self, message: Message, session: Session, peer: Peer) -> None:
        """Answer a request."""
        method, number = message["method"], message["id"]
        modern = META + "protocolVersion" in (_params(message).get("_meta") or {})
        self.count(method, session)
        try:
            if method != "initialize":
                self._admit(message, modern, session)
            reply = {"jsonrpc": "2.0", "id": number, "result": self._result(message, modern, session)}
        except Refused as refused:
            status = STATUS.get(refused.code, refused.status) if modern or refused.status != 200 else 200
            await peer.answer(refused.reply(number), status)
            return
        if method != "tools/call":
            await peer.answer(reply)
            return
        self.calls += 1
        session.calls += 1
        self.arguments.append(_params(message).get("arguments"))
        self.inputs.append(_params(message) if "inputResponses" in _params(message) else None)
        habit = (_params(message).get("arguments") or {}).get("habit", self.fault)
        fault = FAULTS[habit] if habit and self.calls > self.after else _well
        await fault(self, peer, reply)

    def _admit(self, message: Message, modern: bool, session: Session) -> None:
        """Raise Refused for what comes in the wrong era or too early."""
        version = _params(message).get("_meta", {}).get(META + "protocolVersion") if modern else ""
        if modern and self.era == "legacy":
            raise Refused(-32601, "Method not found" if message["method"] == "server/discover" else "Not initialized")
        if modern and version != MODERN:
            raise Refused(
                -32022, "Unsupported protocol version", 400, {"supported": [MODERN], "requested": str(version)}
            )
        if modern and META + "clientCapabilities" not in message["params"]["_meta"]:
            raise Refused(-32602, "params._meta is missing clientCapabilities", 400)
        if not modern and not (session.ready or message["method"] == "ping"):
            raise Refused(-32600, "Received request before initialization was complete", 400)

    def _result(self, message: Message, modern: bool, session: Session) -> Message:
        method, params = message["method"], _params(message)
        if method == "initialize":
            return self._initialize(params, session)
        if method == "ping" and not modern:
            return {}
        if method in ("tasks/get", "tasks/result"):
            return self._task(method, params["taskId"], modern)
        if method == "tools/list" and self.page:
            at = int(params.get("cursor", 0))
            more = {"nextCursor": str(at + self.page)} if at + self.page < len(TOOLS) else {}
            return {"tools": TOOLS[at : at + self.page], **more}
        make = RESULTS.get(method)
        if make is None or (method == "server/discover" and not modern):
            raise Refused(-32601, "Method not found", 404 if modern else 200)
        result = make(params)
        if modern:
            result |= {"resultType": "complete", "_meta": {META + "serverInfo": ABOUT}}
            result |= {"ttlMs": 0, "cacheScope": "private"} if method in CACHEABLE else {}
        return result

    def _task(self, method: str, name: str, modern: bool) -> Message:
        left, result = self.tasks[name]
        if method == "tasks/result":
            return dict(result)
        self.tasks[name][0] -= 1
        status = "working" if left > 1 else "completed"
        task = {"taskId": name, "status": status, "pollIntervalMs" if modern else "pollInterval": 15}
        done = {"result": result} if modern and status == "completed" else {}
        return task | done | ({"resultType": "complete"} if modern else {})

    def _initialize(self, params: Message, session: Session) -> Message:
        asked = str(params.get("protocolVersion"))
        if self.era == "modern":
            raise Refused(-32022, "Unsupported protocol version", 400, {"supported": [MODERN], "requested": asked})
        if not {"capabilities", "clientInfo"} <= params.keys():
            raise Refused(-32602, "initialize needs capabilities and clientInfo")
        session.version = asked if asked in ("2024-11-05", "2025-03-26", "2025-06-18", LEGACY) else LEGACY
        return {"protocolVersion": session.version, "capabilities": CAPABILITIES, "serverInfo": ABOUT}

    def hear(self, message: Message, session: Session) -> None:
        """A notification, or the client's answer to what it was asked."""
        self.count(str(message.get("method", "response")), session)
        if message.get("method") == "notifications/initialized":
            session.ready = bool(session.version)
        elif "method" not in message and (asked := self.asked.pop(str(message.get("id")), None)) and not asked.done():
            asked.set_result(message)

    async def ask(self, peer: Peer, method: str, params: Message | None = None) -> Message:
        """Ask the client, and wait for what it says."""
        number = f"server-{next(self.numbers)}"
        self.asked[number] = asyncio.get_running_loop().create_future()
        await peer.send(
            {"jsonrpc": "2.0", "id": number, "method": method} | ({} if params is None else {"params": params})
        )
        return await self.asked[number]


def _params(message: Message) -> Message:
    params = message.get("params")
    return params if isinstance(params, dict) else {}


def _call(params: Message) -> Message:
    arguments = params.get("arguments") or {}
    if params.get("name") in ("echo", "écho", "measured"):
        text = str(arguments.get("text", ""))
    elif params.get("name") == "letters":
        text = "x" * int(arguments["bytes"])
    else:
        raise Refused(-32602, f"Unknown tool: {params.get('name')}")
    content = [{"type": "text", "text": text}]
    return {"content": content, "structuredContent": {"length": len(text), "arguments": arguments}, "isError": False}


def _read(params: Message) -> Message:
    if params.get("uri") != "test://greeting":
        raise Refused(-32602, "Resource not found")
    return {"contents": [{"uri": "test://greeting", "mimeType": "text/plain", "text": "hello"}]}


def _prompt(params: Message) -> Message:
    if params.get("name") != "greet":
        raise Refused(-32602, "Unknown prompt")
    text = f"Greet {(params.get('arguments') or {}).get('name')}"
    return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}


RESULTS: dict[str, Callable[[Message], Message]] = {
    "server/discover": lambda params: {"supportedVersions": [MODERN], "capabilities": CAPABILITIES},
    "tools/list": lambda params: {"tools": TOOLS},
    "tools/call": _call,
    "prompts/list": lambda params: {"prompts": PROMPTS},
    "prompts/get": _prompt,
    "resources/list": lambda params: {"resources": RESOURCES},
    "resources/read": _read,
}

# Faults: each is told the good answer and does as it likes.
Fault = Callable[[Server, Peer, Message], Awaitable[None]]


async def _well(server: Server, peer: Peer, good: Message) -> None:
    await peer.answer(good)


async def _never(server: Server, peer: Peer, good: Message) -> None:
    await peer.gone()


async def _late(server: Server, peer: Peer, good: Message) -> None:
    await asyncio.sleep(0.5)
    await peer.answer(good)


async def _die(server: Server, peer: Peer, good: Message) -> None:
    if server.door is not None:
        server.door.close()  # so that nobody comes in while the process ends
    os._exit(1)


async def _hang_up(server: Server, peer: Peer, good: Message) -> None:
    if isinstance(peer, HttpPeer):
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await peer.cut()
    os._exit(1)


async def _malformed(server: Server, peer: Peer, good: Message) -> None:
    if isinstance(peer, HttpPeer):
        await peer.whole(b'{"jsonrpc": "2.0", "id": 12 what is this')
    else:
        await peer.text(b'{"jsonrpc": "2.0", "id": %d, "result": what is this' % good["id"])


async def _not_rpc(server: Server, peer: Peer, good: Message) -> None:
    await peer.answer({"id": good["id"], "state": "ready"})


async def _half_event_cut(server: Server, peer: Peer, good: Message) -> None:
    if isinstance(peer, HttpPeer):
        await peer.begin_stream()
        peer.writer.write(b"200\r\nevent: message\r\ndata: " + json.dumps(good).encode()[:20])
        await peer.cut()


async def _half_event(server: Server, peer: Peer, good: Message) -> None:
    if isinstance(peer, HttpPeer):
        await peer.begin_stream()
        peer.chunk(b"event: message\r\ndata: " + json.dumps(good).encode()[:20])
        await peer.end_stream()


async def _no_event(server: Server, peer: Peer, good: Message) -> None:
    if isinstance(peer, HttpPeer):
        await peer.begin_stream()
        peer.chunk(b": nothing to say\n\n")
        await peer.end_stream()


async def _wrong_id(server: Server, peer: Peer, good: Message) -> None:
    await peer.answer(good | {"id": 7})


async def _duplicate_id(server: Server, peer: Peer, good: Message) -> None:
    await peer.send(good)
    await peer.answer(good | {"result": good["result"] | {"isError": True}})


async def _logs_on_stdout(server: Server, peer: Peer, good: Message) -> None:
    lines = (
        b"INFO a call",
        b"",
        b'{"level":"info","msg":"a call"}',
        b"[1, 2]",
        b"12",
        b"\xff\xfe no UTF-8",
        b"{",
        b'  "id": 1',
        b"}",
    )
    for line in lines:
        await peer.text(line)
    await peer.answer(good)


async def _floods_stderr(server: Server, peer: Peer, good: Message) -> None:
    os.write(2, b"WARNING what a day\n" * (256 * 1024 // 19))
    await peer.answer(good)


async def _asks_for_sampling(server: Server, peer: Peer, good: Message) -> None:
    message = {"role": "user", "content": {"type": "text", "text": "Well?"}}
    said = await server.ask(peer, "sampling/createMessage", {"messages": [message], "maxTokens": 10})
    roots = await server.ask(peer, "roots/list")
    await peer.answer(good if _is_reply(said) and _is_reply(roots) else _oops(good, "no reply to a request"))


async def _asks_on_own_stream(server: Server, peer: Peer, good: Message) -> None:
    """Input is asked for on the stream that a GET opens, as SDKs do for what belongs to no request."""
    if OWN not in server.streams:
        await peer.answer(_oops(good, "there is no stream to ask on"))
        return
    said = await server.ask(server.streams[OWN][1], "elicitation/create", {"message": "Name?", "requestedSchema": {}})
    named = said.get("result", {}).get("content", {}).get("name")
    await peer.answer(good if named == "Ann" else _oops(good, "no name"))


async def _pings(server: Server, peer: Peer, good: Message) -> None:
    said = await server.ask(peer, "ping")
    await peer.answer(good if isinstance(said.get("result"), dict) else _oops(good, "a ping was not answered"))


async def _progress(server: Server, peer: Peer, good: Message) -> None:
    for share in range(3):
        await peer.send(_notification("notifications/progress", progressToken="t", progress=share, total=3))
    await peer.send(_notification("notifications/message", level="info", data="half way"))
    await peer.send(_notification("notifications/of-a-kind-unknown", id=good["id"]))
    await peer.answer(good)


async def _out_of_order(server: Server, peer: Peer, good: Message) -> None:
    """Calls of the last 30 ms are answered together, the last one first."""
    loop = asyncio.get_running_loop()
    if not server.held:
        loop.call_later(0.03, _let_go, server)
    server.held.append(loop.create_future())
    await server.held[-1]
    await peer.answer(good)


def _let_go(server: Server) -> None:
    held, server.held = server.held, []
    server.counts["out of order"] += len(held) > 1
    for future in reversed(held):
        future.set_result(None)


async def _tool_error(server: Server, peer: Peer, good: Message) -> None:
    content = [{"type": "text", "text": "the tool failed"}]
    result = {k: v for k, v in good["result"].items() if k != "structuredContent"}
    await peer.answer(good | {"result": result | {"content": content, "isError": True}})


async def _rpc_error(server: Server, peer: Peer, good: Message) -> None:
    await peer.answer(_oops(good, "internal error"))


async def _rpc_error_400(server: Server, peer: Peer, good: Message) -> None:
    await peer.answer(Refused(-32602, "Invalid params").reply(good["id"]), 400)


async def _http_500(server: Server, peer: Peer, good: Message) -> None:
    if isinstance(peer, HttpPeer):
        peer.head(500, "text/plain", 4)
        peer.writer.write(b"oops")
        await peer.writer.drain()


async def _chunked(server: Server, peer: Peer, good: Message) -> None:
    """The answer in many chunks, cut anywhere; on stdio in many writes."""
    text = json.dumps(good, separators=(",", ":")).encode()
    if isinstance(peer, HttpPeer):
        if server.answers == "json":
            await peer.begin_stream("application/json")
        else:
            await peer.begin_stream()
            text = b"event: message\r\ndata: " + text + b"\r\n\r\n"
        for piece in _pieces(text):
            peer.chunk(piece)
            await peer.writer.drain()
            await asyncio.sleep(0.001)
        await peer.end_stream()
    else:
        for piece in _pieces(text + b"\n"):
            _write(piece)
            time.sleep(0.0005)


async def _sse_oddities(server: Server, peer: Peer, good: Message) -> None:
    """An event stream with comments, ids, retry, an empty first event, other line ends, and data in several lines."""
    if not isinstance(peer, HttpPeer):
        await peer.answer(good)
        return
    lines = json.dumps(good, indent=1).encode().split(b"\n")
    await peer.begin_stream()
    peer.chunk(b": hello\n\nid: 1\nretry: 1000\ndata:\n\n: more\r\n\r\nevent: other\ndata: nothing\n\n")
    peer.chunk(b"id: 2\nevent: message\n" + b"".join(b"data:%b\n" % line for line in lines) + b"\n")
    await peer.end_stream()


# Habits of streams and of bodies: the answer is there, and has to be found.


def _stream(*pieces: bytes, after_s: float | None = 0.0) -> Fault:
    """An event stream of these pieces, in which ANSWER stands for the answer; it ends `after_s` later, or never."""

    async def fault(server: Server, peer: Peer, good: Message) -> None:
        assert isinstance(peer, HttpPeer)
        text = json.dumps(good, separators=(",", ":")).encode()
        await peer.begin_stream()
        for piece in pieces:
            peer.chunk(piece.replace(b"ANSWER", text))
            await peer.writer.drain()
        if after_s is None:
            await peer.gone()
            await peer.cut()
        await asyncio.sleep(after_s or 0.0)
        await peer.end_stream()

    return fault


def _body(wrap: Callable[[bytes], bytes], kind: str = "application/json") -> Fault:
    """A body of this type, made of the answer's JSON."""

    async def fault(server: Server, peer: Peer, good: Message) -> None:
        text = wrap(json.dumps(good).encode())
        if isinstance(peer, HttpPeer):
            peer.head(200, kind, len(text))
            peer.writer.write(text)
            await peer.writer.drain()
        else:
            await peer.text(text)

    return fault


def _result(**result: Any) -> Fault:
    """Another result."""

    async def fault(server: Server, peer: Peer, good: Message) -> None:
        await peer.answer(good | {"result": result})

    return fault


async def _id_as_text(server: Server, peer: Peer, good: Message) -> None:
    await peer.answer(good | {"id": str(good["id"])})


async def _error_without_id(server: Server, peer: Peer, good: Message) -> None:
    await peer.answer(Refused(-32700, "Parse error").reply(None))


async def _many_lines(server: Server, peer: Peer, good: Message) -> None:
    await peer.text(json.dumps(good, indent=1).encode())


async def _resumed(server: Server, peer: Peer, good: Message) -> None:
    """The stream ends before the answer, which a GET with the id of the last event gets."""
    assert isinstance(peer, HttpPeer)
    name = f"event-{next(server.numbers)}"
    server.resumed[name] = good
    await peer.begin_stream()
    peer.chunk(f"id: {name}\nretry: 20\ndata:\n\n".encode())
    await peer.end_stream()


async def _a_task(server: Server, peer: Peer, good: Message) -> None:
    """A task, which is at work for a while."""
    name = f"task-{next(server.numbers)}"
    result = good["result"]
    server.tasks[name] = [3, result]
    if "resultType" in result:
        created = {"resultType": "task", "taskId": name, "status": "working", "pollIntervalMs": 15}
    else:
        created = {"task": {"taskId": name, "status": "working", "pollInterval": 15}}
    await peer.answer(good | {"result": created})


async def _asks_for_a_name(server: Server, peer: Peer, good: Message) -> None:
    """Input is asked for as the modern era has it, until it comes with the state that was sent."""
    said = server.inputs[-1]
    if said is not None and said["requestState"] == "st/1" and said["inputResponses"]["who"]["content"]["name"]:
        await peer.answer(good)
    else:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        params = {"mode": "form", "message": "Your name?", "requestedSchema": schema}
        asked = {"method": "elicitation/create", "params": params}
        result = {"resultType": "input_required", "inputRequests": {"who": asked}, "requestState": "st/1"}
        await peer.answer(good | {"result": result})


def _pieces(text: bytes) -> Iterator[bytes]:
    size = max(7, len(text) // 20)
    return (text[at : at + size] for at in range(0, len(text), size))


def _notification(method: str, **params: Any) -> Message:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def _is_reply(message: Message) -> bool:
    return ("result" in message) != ("error" in message)


def _oops(good: Message, text: str) -> Message:
    return Refused(-32603, text).reply(good["id"])


FAULTS: dict[str, Fault] = {
    "never": _never,  # no answer
    "late": _late,  # half a second later
    "die": _die,  # the process ends
    "hang-up": _hang_up,  # the connection ends within the answer's head
    "malformed": _malformed,  # not JSON
    "not-rpc": _not_rpc,  # JSON, but no JSON-RPC
    "half-event-cut": _half_event_cut,  # the connection ends within an event
    "half-event": _half_event,  # the answer ends, its event does not
    "no-event": _no_event,  # the stream ends without an answer
    "wrong-id": _wrong_id,
    "duplicate-id": _duplicate_id,  # answers twice, the second time with an error
    "expired-session": _well,  # the first session ends after N calls: 404 until a new one
    "logs-on-stdout": _logs_on_stdout,
    "floods-stderr": _floods_stderr,  # a quarter of a megabyte a call
    "asks-for-sampling": _asks_for_sampling,  # and for roots, and answers only when the client has replied
    "asks-on-own-stream": _asks_on_own_stream,
    "pings": _pings,
    "progress": _progress,  # notifications, known and unknown, before the answer
    "out-of-order": _out_of_order,
    "tool-error": _tool_error,
    "rpc-error": _rpc_error,
    "rpc-error-400": _rpc_error_400,  # with HTTP status 400, as the modern era has it
    "http-500": _http_500,
    "chunked": _chunked,
    "sse-oddities": _sse_oddities,
    "stays-open": _stream(b"data: ANSWER\n\n", after_s=None),
    "comment-last": _stream(b"data: ANSWER\n\n", b": the end\n\n"),
    "ends-late": _stream(b"data: ANSWER\n\n", after_s=0.2),
    "no-blank-line": _stream(b"data: ANSWER\n"),
    "no-line-end": _stream(b"event: message\ndata: ANSWER"),
    "blank-first": _stream(b"\n\n", b"event: message\ndata: ANSWER\n\n"),
    "carriage-returns": _stream(b": hm\revent: message\r", b"data: ANSWER\r", b"\r"),
    "priming-event": _stream(b"id: 1\nretry: 5\ndata:\n\n", b"data: ANSWER\n\n"),
    "stream-bom": _stream(b"\xef\xbb\xbfdata: ANSWER\n\n"),
    "resumed": _resumed,
    "json-blanks": _body(lambda text: b" \r\n" + text),
    "json-bom": _body(lambda text: b"\xef\xbb\xbf" + text),
    "json-batch": _body(lambda text: b"[" + text + b"]"),
    "web-page": _body(lambda text: b"<title>Sign in</title>", "text/html"),
    "id-as-text": _id_as_text,
    "many-lines": _many_lines,
    "error-without-id": _error_without_id,
    "asks-for-a-name": _asks_for_a_name,
    "a-task": _a_task,
    "only-a-task": _result(resultType="task", taskId="t9", status="working", ttlMs=1000),
    "only-a-legacy-task": _result(task={"taskId": "t9", "status": "working", "createdAt": "2025-01-01T00:00:00Z"}),
    "unknown-result": _result(resultType="haiku", content=[]),
    "no-content": _result(structuredContent={"length": 1}),
    "breaks-schema": _result(content=[], structuredContent={"length": 4}),
    "stays": _well,  # stdio: does not end with its stdin, nor by SIGTERM
}


class HttpPeer(Peer):
    """One POST."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sse: bool) -> None:
        self.reader, self.writer, self.sse = reader, writer, sse
        self.streaming = False
        self.session = ""  # the id to hand out
        self.more = ""  # another header

    def head(self, status: int, kind: str = "", length: int | None = 0) -> None:
        """Status line and headers; without a length the body is chunked."""
        lines = [f"HTTP/1.1 {status} Whatever"]
        lines += [f"Content-Type: {kind}"] if kind else []
        lines += ["Transfer-Encoding: chunked"] if length is None else [f"Content-Length: {length}"]
        lines += [f"Mcp-Session-Id: {self.session}"] if self.session else []
        lines += [self.more] if self.more else []
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def begin_stream(self, kind: str = "text/event-stream") -> None:
        if not self.streaming:
            self.streaming = True
            self.head(200, kind, None)
            await self.writer.drain()

    async def end_stream(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def text(self, text: bytes) -> None:
        await self.begin_stream()
        self.chunk(b"event: message\r\ndata: " + text + b"\r\n\r\n")
        await self.writer.drain()

    async def answer(self, message: Message, status: int = 200) -> None:
        await self.whole(json.dumps(message, separators=(",", ":")).encode(), status)

    async def whole(self, text: bytes, status: int = 200) -> None:
        """An answer's text as a body, or as the last event of a stream."""
        if self.streaming or (self.sse and status == 200):
            await self.text(text)
            await self.end_stream()
        else:
            await self.json(text, status)

    async def json(self, text: bytes, status: int = 200) -> None:
        self.head(status, "application/json", len(text))
        self.writer.write(text)
        await self.writer.drain()

    async def gone(self) -> None:
        await self.reader.read()

    async def cut(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            await self.writer.drain()
        raise ConnectionAbortedError


class StreamPeer(Peer):
    """One request whose answer comes on the stream of its session."""

    def __init__(self, stream: HttpPeer) -> None:
        self.stream = stream

    async def text(self, text: bytes) -> None:
        await self.stream.text(text)

    async def answer(self, message: Message, status: int = 200) -> None:
        await self.send(message)


async def _http(server: Server) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await _exchange(server, reader, writer):
                pass
        writer.close()

    server.door = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=512)
    print(f"listening on http://127.0.0.1:{server.door.sockets[0].getsockname()[1]}/mcp", flush=True)
    await server.door.serve_forever()


async def _exchange(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    verb, path, _ = first.split(" ")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    peer = HttpPeer(reader, writer, server.answers == "sse")
    server.headers.append(headers)
    if path == "/counts":
        await peer.json(json.dumps({**server.counts, "open sessions": len(server.sessions)}).encode())
    elif path in (where := _metadata(server)):
        await peer.json(json.dumps(where[path]()).encode())
    elif path.startswith("/headers/"):
        await peer.json(json.dumps([each[path[9:]] for each in server.headers if path[9:] in each]).encode())
    elif path == "/arguments":
        await peer.json(json.dumps(server.arguments).encode())
    elif path == "/sse" and verb == "GET":
        await _old_stream(server, peer)
        return False
    elif path.startswith("/messages?"):
        await _old_message(server, path, json.loads(body), peer)
    elif path != "/mcp":
        peer.head(405 if path == "/sse" else 404)
    elif verb == "POST" and _is_refused(server, headers):
        peer.more = 'WWW-Authenticate: Bearer error="invalid_token", resource_metadata="/resource"'
        peer.head(401)
    elif verb == "POST":
        await _post(server, headers, body, peer)
    elif verb == "DELETE":
        session = server.sessions.pop(headers.get("mcp-session-id", ""), None)
        server.count("DELETE", session or Session())
        peer.head(200 if session else 404)
    elif headers.get("last-event-id") in server.resumed:
        server.count("GET", Session())
        await peer.text(json.dumps(server.resumed.pop(headers["last-event-id"])).encode())
        await peer.end_stream()
    elif server.fault == "asks-on-own-stream" and verb == "GET":
        await _own_stream(server, peer)
        return False
    else:
        peer.head(405)
    return True


async def _own_stream(server: Server, peer: HttpPeer) -> None:
    server.streams[OWN] = Session(OWN), StreamPeer(peer)
    await peer.begin_stream()
    await peer.gone()
    del server.streams[OWN]


async def _old_stream(server: Server, peer: HttpPeer) -> None:
    """The transport HTTP+SSE of 2024-11-05: a stream for all answers of a session, which names where to post."""
    name = f"old-{next(server.numbers)}"
    server.streams[name] = Session(name), StreamPeer(peer)
    await peer.begin_stream()
    peer.chunk(f"event: endpoint\r\ndata: /messages?session={name}\r\n\r\n".encode())
    await peer.gone()
    del server.streams[name]


async def _old_message(server: Server, path: str, message: Message, peer: HttpPeer) -> None:
    session, stream = server.streams[path.partition("=")[2]]
    peer.head(202)
    if "id" in message and "method" in message:
        await server.request(message, session, stream)
    else:
        server.hear(message, session)


def _metadata(server: Server) -> dict[str, Callable[[], Message]]:
    """Where tokens come from, as a protected resource and its authorization server say, and the tokens."""
    if not server.token_calls or server.door is None:
        return {}
    origin = f"http://127.0.0.1:{server.door.sockets[0].getsockname()[1]}"

    def new_token() -> Message:
        server.token, server.token_used = f"token-{next(server.numbers)}", 0
        server.counts["tokens"] += 1
        return {"access_token": server.token, "token_type": "Bearer", "expires_in": 3600}

    return {
        "/resource": lambda: {"resource": f"{origin}/mcp", "authorization_servers": [f"{origin}/issuer"]},
        "/.well-known/oauth-authorization-server/issuer": lambda: {"token_endpoint": f"{origin}/token"},
        "/token": new_token,
    }


def _is_refused(server: Server, headers: dict[str, str]) -> bool:
    """Whether a token is needed, and this is none that is good."""
    if not server.token_calls:
        return False
    server.token_used += 1
    good = headers.get("authorization") == f"Bearer {server.token}"
    return not good or server.token_used > server.token_calls


async def _post(server: Server, headers: dict[str, str], body: bytes, peer: HttpPeer) -> None:
    try:
        message = json.loads(body)
        session = _session(server, headers, message)
    except Refused as refused:
        server.count("refused", Session())
        await peer.answer(refused.reply("server-error"), refused.status)
        return
    if "id" in message and "method" in message:
        peer.session = session.name if message["method"] == "initialize" and server.era != "modern" else ""
        await server.request(message, session, peer)
    else:
        server.hear(message, session)
        peer.head(202)


def _session(server: Server, headers: dict[str, str], message: Message) -> Session:
    """The session that a POST belongs to. Raises Refused for headers that do not fit."""
    if headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Refused(-32600, "Content-Type must be application/json", 415)
    if not all(kind in headers.get("accept", "") for kind in ("application/json", "text/event-stream")):
        raise Refused(-32600, "Accept must take application/json and text/event-stream", 406)
    if message.get("method") == "initialize":
        session = Session(f"s{next(server.numbers)}")
        if server.era != "modern":
            server.sessions[session.name] = session
        return session
    if headers.get("mcp-protocol-version") == MODERN and server.era != "legacy":
        _routed(headers, message)
        return Session("-", MODERN, ready=True)
    return _known(server, headers, message)


def _routed(headers: dict[str, str], message: Message) -> None:
    """Modern era: the headers say again what the body says."""
    if "method" not in message or "id" not in message:
        return
    params = _params(message)
    if headers.get("mcp-method") != message["method"]:
        raise Refused(-32020, "mcp-method header does not match the body", 400)
    key = NAMED_BY.get(message["method"])
    if key and _decoded(headers.get("mcp-name", "")) != params.get(key):
        raise Refused(-32020, "mcp-name header does not match the body", 400)
    unit = (params.get("arguments") or {}).get("unit") if params.get("name") == "measured" else None
    if unit is not None and _decoded(headers.get("mcp-param-unit", "")) != unit:
        raise Refused(-32020, "mcp-param-unit header does not match the body", 400)
    if (params.get("_meta") or {}).get(META + "protocolVersion") != MODERN:
        raise Refused(-32020, "mcp-protocol-version header does not match the body", 400)


def _decoded(value: str) -> str:
    """A header's text: as it is, or in the specification's base64 form."""
    if value.startswith("=?base64?") and value.endswith("?="):
        return base64.b64decode(value[9:-2]).decode()
    return value


def _known(server: Server, headers: dict[str, str], message: Message) -> Session:
    """Legacy era: an open session, named by its header."""
    name = headers.get("mcp-session-id", "")
    if not name:
        raise Refused(-32600, "Bad Request: Missing session ID", 400)
    session = server.sessions.get(name)
    if server.fault == "expired-session" and not server.expired and session and session.calls >= server.after > 0:
        server.expired = True
        del server.sessions[name]
        session = None
    if session is None:
        server.count(str(message.get("method")), Session(name))
        raise Refused(-32600, "Session not found", 404)
    if headers.get("mcp-protocol-version") != session.version:
        raise Refused(-32600, "Bad Request: Unsupported protocol version", 400)
    return session


class StdioPeer(Peer):
    """One request on the pipe."""

    async def text(self, text: bytes) -> None:
        _write(text + b"\n")

    async def answer(self, message: Message, status: int = 200) -> None:
        await self.send(message)

    async def gone(self) -> None:
        await asyncio.Event().wait()


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


async def _stdio(server: Server) -> None:
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    session, tasks = Session(f"p{os.getpid()}"), set()
    if server.fault == "stays":
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
    while line := await reader.readline():
        message = json.loads(line)
        if "id" in message and "method" in message:
            task = asyncio.ensure_future(server.request(message, session, StdioPeer()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        else:
            server.hear(message, session)
    if server.fault == "stays":
        await asyncio.sleep(60)


@dataclass
class Running:
    """A server over HTTP in a process of its own."""

    process: subprocess.Popen[str]
    url: str

    def counts(self) -> dict[str, int]:
        """How often each method was heard; also `response`, `DELETE`, `refused` and `open sessions`."""
        return dict(self._get("/counts"))

    def arguments(self) -> list[Any]:
        """The arguments of every tool call."""
        return list(self._get("/arguments"))

    def headers(self, name: str) -> list[str]:
        """The values of a header, in lower case, of all requests."""
        return list(self._get(f"/headers/{name}"))

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url.replace("/mcp", path), timeout=10) as answer:
            return json.loads(answer.read())


def command(*options: str) -> list[str]:
    """What starts a server; works from any folder."""
    return [sys.executable, str(Path(__file__).resolve()), *options]


@contextlib.contextmanager
def http_server(*options: str) -> Iterator[Running]:
    """http_server("--fault", "never") until the block ends."""
    process = subprocess.Popen(command("http", *options), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Running(process, process.stdout.readline().split()[-1])
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@dataclass
class Stdio:
    """A server's command, and the log of all the processes that are started by it."""

    log: Path
    options: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        return command("stdio", "--log", str(self.log), *self.options)

    def heard(self) -> list[tuple[int, str, str]]:
        """Process, session and method of all that was heard."""
        if not self.log.exists():
            return []
        lines = [line.split(" ", 2) for line in self.log.read_text().splitlines()]
        return [(int(pid), session, what) for pid, session, what in lines]

    def counts(self) -> dict[str, int]:
        return dict(Counter(what for _, _, what in self.heard()))

    def pids(self) -> set[int]:
        return {pid for pid, _, _ in self.heard()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.mcp_servers", description=__doc__)
    parser.add_argument("transport", choices=["stdio", "http"])
    parser.add_argument("--era", choices=["both", "legacy", "modern"], default="both")
    parser.add_argument("--answers", choices=["json", "sse"], default="json")
    parser.add_argument("--fault", choices=list(FAULTS), default="")
    parser.add_argument("--after", type=int, default=0, help="calls that are answered well first")
    parser.add_argument("--token-calls", type=int, default=0, help="over HTTP: a token is needed, for so many requests")
    parser.add_argument("--page", type=int, default=0, help="tools on a page of the list; 0: all")
    parser.add_argument("--log", default="", help="file that gets a line for all that is heard")
    options = vars(parser.parse_args())
    serve = _stdio if options.pop("transport") == "stdio" else _http
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(Server(**options)))


if __name__ == "__main__":
    main()
