"""Calls over streamable HTTP: the HTTP lane's connection, answers as JSON or as server-sent events.

A lane that has no session yet gets one before its first request, whose service time begins after it; a span shows it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.targets.base import Driver, in_words
from perflib.targets.exchange import HttpClient
from perflib.targets.http.reading import ReadingHttpLane
from perflib.targets.http.request import parse_json
from perflib.targets.mcp.session import Session, call_or_list, open_http, session_spans
from perflib.targets.mcp.wire import (
    LONGEST_MESSAGE_BYTES,
    REQUEST_START,
    SESSION,
    Events,
    McpRequest,
    outcome,
    reply_to_server,
)

if TYPE_CHECKING:
    from perflib.targets.mcp.pool import Pool

clock = time.monotonic_ns
MOST_REPLIES: Final = 16  # to requests of the server, during one call


class McpHttpLane(ReadingHttpLane):
    """One connection, one call at a time.

    An answer whose bytes, apart from its id, have been read before is not read again: its error code is cached.
    """

    __slots__ = (
        "_after",
        "_answer",
        "_before",
        "_body_bytes",
        "_cached_code",
        "_events",
        "_id",
        "_pool",
        "_ready_for",
        "_replies",
        "_task",
        "_without_id",
        "session",
    )

    def __init__(self, driver: Driver, index: int, pool: Pool) -> None:
        super().__init__(driver, index, pool)
        self._pool = pool
        self.session: Session | None = pool.session
        self._task: asyncio.Task[None] | None = None
        self._events: Events | None = None
        self._answer: Any = None
        self._id = b""
        self._body_bytes = self._replies = 0
        self._without_id = self._before = self._after = b""
        self._cached_code: int | None = None
        self._ready_for: tuple[Session, McpRequest] | None = None

    def start(self) -> None:
        request: McpRequest = self.op.request
        session, pool = self.session, self._pool
        if session is None or request.method == SESSION:
            self.start_ns, self._sent = clock(), 0
            self._task = pool.spawn(self._whole_session() if request.method == SESSION else self._begin_session())
            return
        self._encode_and_send(session, request)

    def _encode_and_send(self, session: Session, request: McpRequest) -> None:
        try:
            payload = self._encode(session, request)
        except Exception as problem:  # nothing fills a name, or what does cannot be written
            self._not_built(problem)
            return
        self.start_ns = clock()
        self._write(payload)

    def _same_again(self) -> bytes | None:
        request: McpRequest = self.op.request
        return self._encode(self.session, request) if request.idempotent and self.session is not None else None

    def _request_bytes(self) -> bytes:
        return self.op.request.in_words(self.row)  # type: ignore[no-any-return]

    def _encode(self, session: Session, request: McpRequest) -> bytes:
        self._body, self._events, self._answer, self._cached_code = [], None, None, None
        self._body_bytes = self._replies = 0
        number = next(self._pool.ids)
        self._id = b"%d" % number
        ready = self._ready_for
        if ready is not None and ready[0] is session and ready[1] is request:
            payload = b"%b%b%b" % (self._before, self._id, self._after)
        else:
            encoded = request.encoded(session.modern, self.row)
            body = encoded.body(number)
            head = b"%b%bContent-Length: %d\r\n\r\n" % (session.head, encoded.lines, len(body))
            payload = head + body
            if request.fixed is not None and encoded.rest is None:  # the next one differs in its id alone
                self._ready_for = session, request
                self._before, self._after = head + REQUEST_START, encoded.tail
        self._sent = len(payload)
        return payload

    # Answers.

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > LONGEST_MESSAGE_BYTES:
            raise ValueError(f"the answer is longer than {LONGEST_MESSAGE_BYTES:,} bytes")
        if len(self._body) == 1:
            self._without_id = body.replace(self._id, b"", 1)
            self._cached_code = self._pool.cached_codes.get(self._without_id)
            if self._cached_code is not None or body[:1] in b"{[ \r\n":
                return
            self._events = Events()
        if self._events is not None:
            for message in self._events.feed(body):
                self._receive(message)

    def _receive(self, message: Any) -> None:
        """Handle one message of an event stream: the answer, or what the server says and asks meanwhile."""
        if not isinstance(message, dict) or "method" not in message:
            self._answer = message if self._answer is None else self._answer
        elif "id" in message and self.session is not None and self._replies < MOST_REPLIES:
            self._without_id = b""
            self._replies += 1
            self._pool.spawn(self._reply(message, self.session))

    async def _reply(self, request: dict[str, Any], session: Session) -> None:
        answer, client = reply_to_server(request), HttpClient(self._pool.address)  # type: ignore[arg-type]
        try:
            await client.request(session.head + b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer))
        except OSError:
            pass  # the call itself will say what is wrong
        finally:
            client.close()

    def _read(self, status: int, timing_ns: int) -> tuple[int, int]:
        if self._cached_code is not None and status == 200 and len(self._body) == 1 and self.op.reader is None:
            return self._cached_code, timing_ns
        session, code = self.session, self.driver.error_code
        if status == 404 and session is not None and session.id:
            self.session = None  # it expired: the next call begins a new one
            self._pool.lost(session)
            return code("mcp_session"), timing_ns
        answer = self._json_answer()
        if status >= 400 and not (isinstance(answer, dict) and isinstance(answer.get("error"), dict)):
            return super(ReadingHttpLane, self)._read(status, timing_ns)
        error, server_ns = outcome(self, answer, int(self._id))
        if server_ns != NONE_NS:
            return error, server_ns
        self._pool.remember(
            self._without_id if len(self._body) == 1 and status == 200 and self.op.reader is None else b"", error
        )
        return error, timing_ns

    def _json_answer(self) -> Any:
        if self._cached_code is not None and self._body[0][:1] not in b"{[ \r\n":  # an event stream that was not read
            answers = [m for m in Events().feed(b"".join(self._body)) if isinstance(m, dict) and "method" not in m]
            return answers[0] if answers else None
        return self._answer if self._events else parse_json(b"".join(self._body).decode("utf-8", "replace"))

    # Sessions.

    async def _begin_session(self) -> None:
        """Get a session, then send what was to be sent."""
        request: McpRequest = self.op.request
        began = clock()
        try:
            async with asyncio.timeout(self._pool.spec.ready.timeout_s):
                self.session = await self._pool.session_for(self)
        except Exception as problem:
            self._session_failed(problem)
            return
        self._setup.append(("session", began, clock() - began))
        self._task = None
        self._encode_and_send(self.session, request)

    async def _whole_session(self) -> None:
        """Connect, negotiate, list the tools or call one, end it: one row, a span for each step."""
        pool, request = self._pool, self.op.request
        assert pool.address is not None
        try:
            params = request.params(self.row)
        except Exception as problem:
            self._task = None
            self._not_built(problem)
            return
        try:
            began = clock()
            connection, session = await open_http(pool.address, pool.headers, pool.spec.protocol, pool.where)
            opened = clock()
            answer = await call_or_list(connection, session, params)
            worked = clock()
            await connection.end_session()
            connection.close()
            ended = clock()
        except Exception as problem:
            self._session_failed(problem)
            return
        self._setup += session_spans(began, opened, worked, ended)
        self._task = None
        try:
            error, server_ns = outcome(self, answer, None)
        except Exception as problem:
            error, server_ns = self._unreadable(problem), NONE_NS
        self._finish(ended, error, NONE_STATUS, server_ns)

    def _session_failed(self, problem: Exception) -> None:
        self._task = None
        self._not_connected("connect" if isinstance(problem, OSError) else "mcp_session", in_words(problem))

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
