"""Calls over streamable HTTP: the HTTP lane's connection, answers as JSON or as server-sent events.

A lane that has no session yet gets one before its first request, whose service time begins after it; a span shows it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from perflib.errors import TargetError
from perflib.rows import NONE_NS, NONE_STATUS
from perflib.targets.base import Driver
from perflib.targets.http import ReadingHttpLane, parse_json
from perflib.targets.mcp.session import HttpTalk, Session, open_http
from perflib.targets.mcp.wire import SESSION, Events, McpRequest, outcome, refusal
from perflib.targets.oneshot import Conversation

if TYPE_CHECKING:
    from perflib.targets.mcp.target import McpTarget

clock = time.monotonic_ns


class McpHttpLane(ReadingHttpLane):
    """One connection, one call at a time."""

    __slots__ = ("_answer", "_events", "_id", "_task", "session")

    _kind: McpTarget  # type: ignore[assignment]

    def __init__(self, driver: Driver, index: int, kind: McpTarget) -> None:
        super().__init__(driver, index, kind)  # type: ignore[arg-type]
        self.session: Session | None = kind.session
        self._task: asyncio.Task[None] | None = None
        self._events: Events | None = None
        self._answer: Any = None
        self._id = 0

    def start(self) -> None:
        request: McpRequest = self.op.request
        session, kind = self.session, self._kind
        if session is None or request.method == SESSION:
            self.start_ns, self._sent = clock(), 0
            self._task = kind.spawn(self._whole_session() if request.method == SESSION else self._begin_session())
            return
        payload = self._message(session, request)
        self.start_ns = clock()
        self._write(payload)

    def _message(self, session: Session, request: McpRequest) -> bytes:
        self._body, self._events, self._answer = [], None, None
        self._id = number = next(self._kind.ids)
        made = request.message(session.modern, self.row)
        body = made.body(number)
        payload = b"%b%bContent-Length: %d\r\n\r\n%b" % (session.head, made.lines, len(body), body)
        self._sent = len(payload)
        return payload

    # Answers.

    def on_body(self, body: bytes) -> None:
        if self._events is None:
            if self._body or body[:1] in b"{[ \r\n":
                self._body.append(body)
                return
            self._events = Events()
        for message in self._events.feed(body):
            self._hear(message)

    def _hear(self, message: Any) -> None:
        """One message of an event stream: the answer, or what the server says and asks meanwhile."""
        if not isinstance(message, dict) or "method" not in message:
            self._answer = message if self._answer is None else self._answer
        elif "id" in message and self.session is not None:
            self._kind.spawn(self._refuse(message, self.session))

    async def _refuse(self, request: dict[str, Any], session: Session) -> None:
        answer, line = refusal(request), Conversation(self._kind.address)  # type: ignore[arg-type]
        try:
            await line.request(session.head + b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer))
        except OSError:
            pass  # the call itself will say what is wrong
        finally:
            line.close()

    def _read(self, status: int, timing_ns: int) -> tuple[int, int]:
        session, code = self.session, self.driver.error_code
        if status == 404 and session is not None and session.id:
            self.session = None  # it expired: the next call begins a new one
            self._kind.lost(session)
            return code("mcp_session"), timing_ns
        answer = self._answer if self._events else parse_json(b"".join(self._body).decode("utf-8", "replace"))
        if status >= 400 and not (isinstance(answer, dict) and isinstance(answer.get("error"), dict)):
            return super(ReadingHttpLane, self)._read(status, timing_ns)
        error, server_ns = outcome(self, answer, self._id)
        return error, timing_ns if server_ns == NONE_NS else server_ns

    # Sessions.

    async def _begin_session(self) -> None:
        """Get a session, then send what was to be sent."""
        request: McpRequest = self.op.request
        began = clock()
        try:
            async with asyncio.timeout(self._kind.spec.ready.timeout_s):
                self.session = await self._kind.session_for(self)
        except (OSError, TimeoutError, TargetError) as problem:
            self._session_failed(problem)
            return
        self._setup.append(("session", began, clock() - began))
        self._task = None
        payload = self._message(self.session, request)
        self.start_ns = clock()
        self._write(payload)

    async def _whole_session(self) -> None:
        """Connect, negotiate, list the tools or call one, end it: one row, a span for each step."""
        kind, request = self._kind, self.op.request
        assert kind.address is not None
        try:
            began = clock()
            talk, session = await open_http(kind.address, kind.headers, kind.spec.protocol, kind.where)
            opened = clock()
            answer = await _work(talk, session, request, self.row)
            worked = clock()
            await talk.end_session()
            talk.close()
            ended = clock()
        except (OSError, TargetError) as problem:
            self._session_failed(problem)
            return
        self._setup += [
            ("session:open", began, opened - began), ("session:work", opened, worked - opened), ("session:end", worked, ended - worked),
        ]  # fmt: skip
        self._task = None
        error, server_ns = outcome(self, answer, None)
        self._finish(ended, error, NONE_STATUS, server_ns)

    def _session_failed(self, problem: Exception) -> None:
        self._task = None
        self._setup.clear()
        if isinstance(problem, TargetError):
            self._finish(clock(), self.driver.error_code("mcp_session"), NONE_STATUS)
        else:
            self._refused("connect")

    def abort(self, error: str) -> None:
        if self._task is not None:
            if error == "timeout" and self.op.request.method != SESSION:
                return  # a session that begins has its own time
            self._task.cancel()
            self._task = None
        super().abort(error)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        super().close()


async def _work(talk: HttpTalk, session: Session, request: McpRequest, row: dict[str, Any]) -> dict[str, Any]:
    """What a session is opened for: the tool that the operation names, else the list of tools."""
    params = request.params(row)
    return await talk.ask("tools/call" if "name" in params else "tools/list", params, modern=session.modern)
