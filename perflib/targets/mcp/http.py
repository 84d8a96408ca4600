"""Calls over streamable HTTP: the HTTP lane's connection, answers as JSON or as server-sent events.

A lane that has no session yet gets one before its first request, whose service time begins after it; a span shows it.
A call is over when its answer has come. The end of the stream is waited for a moment, so that the connection can be
used again; a stream that stays open is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.targets.base import Driver, in_words
from perflib.targets.http.connected import NO_HEADS
from perflib.targets.http.reading import ReadingHttpLane
from perflib.targets.mcp.events import (
    EVENTS,
    JSON,
    LONGEST_MESSAGE_BYTES,
    OTHER,
    Events,
    content_type_of,
    json_answer,
    kind_of,
)
from perflib.targets.mcp.listening import post
from perflib.targets.mcp.pool import Stepping
from perflib.targets.mcp.results import outcome
from perflib.targets.mcp.session import Session, call_or_list, open_http, session_spans
from perflib.targets.mcp.steps import Step, Steps
from perflib.targets.mcp.wire import REQUEST_START, SESSION, McpRequest, cancelled, reply_to_server

if TYPE_CHECKING:
    from perflib.targets.mcp.pool import Pool

clock = time.monotonic_ns
MOST_REPLIES: Final = 16  # to requests of the server, during one call
STREAM_END_S: Final = 0.02  # that the end of a stream is waited for, once the answer has come
RESUMED_AFTER_S: Final = 1.0  # where the server does not say when a stream is to be resumed


class McpHttpLane(Stepping, ReadingHttpLane):
    """One connection, one call at a time.

    An answer whose bytes, apart from its id, have been read before is not read again: its error code is cached.
    """

    __slots__ = (
        "_after",
        "_answer",
        "_answered_ns",
        "_before",
        "_body_bytes",
        "_cached_code",
        "_events",
        "_id",
        "_kind",
        "_later",
        "_pool",
        "_ready_for",
        "_replies",
        "_resumes",
        "_step",
        "_step_ns",
        "_steps",
        "_task",
        "_without_id",
        "session",
    )

    _head_says_all: ClassVar = False  # the status of a call that failed is 200

    def __init__(self, driver: Driver, index: int, pool: Pool) -> None:
        super().__init__(driver, index, pool)
        self._pool = pool
        self.session: Session | None = pool.session
        self._task: asyncio.Task[None] | None = None
        self._events: Events | None = None
        self._answer: Any = None
        self._id = self._without_id = self._before = self._after = b""
        self._kind = JSON
        self._body_bytes = self._replies = 0
        self._cached_code: int | None = None
        self._ready_for: tuple[Session, McpRequest, bytes] | None = None
        self._answered_ns = 0  # when the answer came, while the end of its stream is waited for
        self._later: asyncio.TimerHandle | None = (
            None  # the end of a wait: for that end, to resume a stream, for a step
        )
        self._resumes = False  # what comes is the rest of a stream that broke off
        self._step: Step | None = None  # what the call goes on with
        self._steps: Steps | None = None
        self._step_ns = 0  # when the latest request of the call began

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
        self._expect_message()
        self._steps, self._replies = None, 0
        number = next(self._pool.ids)
        self._id = b"%d" % number
        ready, token = self._ready_for, self._pool.token_line
        if ready is not None and ready[0] is session and ready[1] is request and ready[2] is token:
            payload = b"%b%b%b" % (self._before, self._id, self._after)
        else:
            encoded = request.encoded(session.modern, self.row)
            body = encoded.body(number)
            head = b"%b%b%bContent-Length: %d\r\n\r\n" % (session.head, token, encoded.lines, len(body))
            payload = head + body
            if request.fixed is not None and encoded.rest is None:  # the next one differs in its id alone
                self._ready_for = session, request, token
                self._before, self._after = head + REQUEST_START, encoded.tail
        self._sent = len(payload)
        return payload

    def _expect_message(self) -> None:
        """Make ready for another answer."""
        self._body, self._kind = [], JSON
        self._events = self._answer = self._cached_code = self._step = None
        self._body_bytes = self._answered_ns = 0
        self._resumes = False

    # Answers.

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > LONGEST_MESSAGE_BYTES:
            raise ValueError(f"the answer is longer than {LONGEST_MESSAGE_BYTES:,} bytes")
        if len(self._body) == 1:
            self._without_id = body.replace(self._id, b"", 1)
            self._cached_code = None if self._resumes else self.op.request.cached_codes.get(self._without_id)
            if self._cached_code is not None:
                return
            self._kind = self._kind_of_body(body)
            if self._kind != EVENTS:
                return
            self._events = self._events or Events()
        if self._events is not None:
            for message in self._events.feed(body):
                self._receive(message)

    def _kind_of_body(self, body: bytes) -> str:
        return kind_of(content_type_of(self._head or self._answer_head), body)

    def _receive(self, message: Any) -> None:
        """Handle one message of an event stream: the answer, or what the server says and asks meanwhile."""
        if not isinstance(message, dict) or "method" not in message:
            if self._answer is None:
                self._answer = {} if message is None else message
        elif "id" in message and self.session is not None and self._replies < MOST_REPLIES:
            self._without_id = b""
            self._replies += 1
            self._pool.spawn(post(self._pool, self.session, reply_to_server(message, self._pool.answers)))

    def _parse(self, data: bytes, now: int) -> None:
        super()._parse(data, now)
        if self.start_ns and not self._answered_ns and self._has_answer and not self._closing:
            self._answered_ns = now
            if self._pool.leaves_streams():
                self._leave_stream()
            else:
                self._later = self.driver.loop.call_later(STREAM_END_S, self._stayed_open)

    @property
    def _has_answer(self) -> bool:
        """Whether the answer to the request in flight has come in events, or as bytes that are known."""
        return self._answer is not None or (self._cached_code is not None and bool(self._body))

    def _stayed_open(self) -> None:
        self._pool.streams_that_stayed_open += 1
        self._leave_stream()

    def _leave_stream(self) -> None:
        """The answer has come, and the stream goes on: the call is over, and the next one gets another connection."""
        self._stop_waiting()
        status = self._parser.get_status_code()
        error, server_ns = self._judge(status)
        self._disconnect()
        self._finish(self._answered_ns, error, status, server_ns)

    def _stop_waiting(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _answered(self, now: int) -> None:
        if self._answered_ns:
            self._pool.streams_that_stayed_open = 0
            self._stop_waiting()
            now = self._answered_ns
        elif self._events is not None and self._answer is None and self._cached_code is None:
            for message in self._events.end():
                self._receive(message)
            if self._answer is None and self._events.last_id:
                if not self._keep_alive or not self._server.keep_alive:
                    self._disconnect()
                self._resume_later(self._events)
                return
        super()._answered(now)

    def _resume_later(self, events: Events) -> None:
        """The stream ended before the answer: ask for the rest of it, after the time that the server wants."""
        wait_s = RESUMED_AFTER_S if events.retry_ms is None else events.retry_ms / 1e3
        self._forget_answer()
        self._later = self.driver.loop.call_later(wait_s, self._resume, events.last_id, events.retry_ms)

    def _resume(self, last_id: str, retry_ms: int | None) -> None:
        self._later = None
        session, now = self.session, clock()
        assert session is not None
        self._setup.append(("resumed", self._step_ns or self.start_ns, now - (self._step_ns or self.start_ns)))
        self._step_ns = now
        self._expect_message()
        self._events, self._resumes = Events(last_id, retry_ms), True
        line, _, lines = session.head.partition(b"\r\n")
        last = last_id.replace("\r", "").replace("\n", "").encode()
        get = line.replace(b"POST", b"GET", 1)
        payload = b"%b\r\nLast-Event-ID: %b\r\n%b%b\r\n" % (get, last, lines, self._pool.token_line)
        self._sent += len(payload)
        self._write(payload)

    def _forget_answer(self) -> None:
        """Another answer comes to the same call."""
        self._complete, self._first_ns, self._heads, self._head = 0, NONE_NS, NO_HEADS, b""
        self._body = []

    def _broken_off(self, exc: Exception | None, now: int) -> None:
        if self._answered_ns or self._has_answer:
            self._answered_ns = self._answered_ns or now
            self._leave_stream()
            return
        self._stop_waiting()
        events = self._events
        if events is not None and events.last_id and self._body:
            self._resume_later(events)
        else:
            super()._broken_off(exc, now)

    def _read(self, status: int, timing_ns: int) -> tuple[int, int]:
        if (
            self._cached_code is not None
            and status == 200
            and len(self._body) == 1
            and self.op.reader is None
            and self._steps is None
        ):
            return self._cached_code, timing_ns
        session, code = self.session, self.driver.error_code
        if self._cached_code is not None:  # its bytes are known, and it has to be read all the same
            self._kind = self._kind_of_body(self._body[0])
        answer = self._json_answer()
        if session is not None and session.id and is_session_over(status, answer):
            self.session = None  # it expired: the next call begins a new one
            self._pool.lost(session)
            return code("mcp_session"), timing_ns
        if status == 401:
            self._pool.token_refused()
        if status >= 400 and not (isinstance(answer, dict) and isinstance(answer.get("error"), dict)):
            return super(ReadingHttpLane, self)._read(status, timing_ns)
        if self._kind == OTHER and status < 400 and self._body:
            media_type = content_type_of(self._head or self._answer_head)
            self.driver.explain("protocol", f"an answer of type {media_type}, which is neither JSON nor events")
            return code("protocol"), timing_ns
        answer, self._step = self._pool.step_after(self, answer)
        if self._step is not None:
            return code("mcp_input"), timing_ns  # it goes on: see `_finish`
        error, server_ns = outcome(self, answer, None if self._steps else int(self._id), self._pool.schemas)
        if server_ns != NONE_NS:
            return error, server_ns
        is_plain = self.op.reader is None and self._steps is None and not self._resumes
        if is_plain and len(self._body) == 1 and status == 200 and self._without_id and not self.driver.wants(error):
            self.op.request.remember(self._without_id, error)
        return error, timing_ns

    def _remember(self, status: int, error: int, server_ns: int) -> None:
        if server_ns == NONE_NS:  # else the time may be of the body, which another answer with this head does not share
            super()._remember(status, error, server_ns)

    def _json_answer(self) -> Any:
        if self._kind == EVENTS:
            if self._events is not None:
                return self._answer
            events = Events()  # a stream that was not read
            messages = events.feed(b"".join(self._body)) + events.end()
            return next((m for m in messages if isinstance(m, dict) and "method" not in m), None)
        return json_answer(b"".join(self._body), int(self._id))

    # Calls of more than one request.

    def _finish(self, now: int, error: int, status: int, server_ns: int = NONE_NS) -> None:
        step, self._step = self._step, None
        if step is None:
            self._step_ns = 0
            super()._finish(now, error, status, server_ns)
            return
        began = self._step_ns or self.start_ns
        self._setup.append((step.name, began, now - began))
        self._step_ns = now
        self._forget_answer()
        if step.wait_s:
            self._later = self.driver.loop.call_later(step.wait_s, self._go_on, step)
        else:
            self._go_on(step)

    def _go_on(self, step: Step) -> None:
        """Send the next request of the call."""
        self._later = None
        session = self.session
        assert session is not None
        self._expect_message()
        number = next(self._pool.ids)
        self._id = b"%d" % number
        encoded = self.op.request.with_params(step.method, step.params, session.modern, self.row)
        body = encoded.body(number)
        head = session.head + self._pool.token_line + encoded.lines
        payload = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        self._sent += len(payload)
        self._write(payload)

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
        try:
            params = request.params(self.row)
        except Exception as problem:
            self._task = None
            self._not_built(problem)
            return
        try:
            began = clock()
            connection, session = await open_http(pool)
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
            error, server_ns = outcome(self, answer, None, pool.schemas)
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
        if self._answered_ns:
            self._leave_stream()
            return
        self._stop_waiting()
        self._step = None
        session = self.session
        if error == "timeout" and session is not None and not session.modern and self._transport is not None:
            self._pool.notify(post(self._pool, session, cancelled(int(self._id))))
        super().abort(error)  # in the modern era, the end of the connection says it

    def close(self) -> None:
        self._stop_waiting()
        if self._task is not None:
            self._task.cancel()
        super().close()


def is_session_over(status: int, answer: Any) -> bool:
    """Whether the server does not know the session any more: as a status, or as an error that answers no request."""
    if status == 404:
        return True
    error: Mapping[str, Any] | None = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict) or answer.get("id") is not None or status not in (200, 400):
        return False
    return "session" in str(error.get("message", "")).lower() or (status == 200 and error.get("code") == -32600)
