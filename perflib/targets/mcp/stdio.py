"""Calls over stdio, or over the old transport HTTP+SSE: any number in flight on one pipe or stream."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.targets.base import Driver, Lane, in_words
from perflib.targets.evidence import BODY_BYTES, Evidence
from perflib.targets.mcp.channel import Channel
from perflib.targets.mcp.pool import Stepping
from perflib.targets.mcp.results import outcome
from perflib.targets.mcp.session import Session, call_or_list, session_spans
from perflib.targets.mcp.steps import Step, Steps
from perflib.targets.mcp.wire import SESSION, McpRequest, cancelled
from perflib.text import one_line

if TYPE_CHECKING:
    from perflib.targets.mcp.pool import Pool

clock = time.monotonic_ns
PAUSE_S: Final = 0.1  # after a failure without an answer: no tight loop against a closed door


class McpStdioLane(Stepping, Lane):
    """One call at a time on a pipe, its own or the one that all lanes share."""

    __slots__ = (
        "_answer", "_id", "_pause", "_pool", "_sent", "_spans", "_step", "_step_ns", "_steps", "_task", "pipe",
        "session",
    )  # fmt: skip

    def __init__(self, driver: Driver, index: int, pool: Pool) -> None:
        super().__init__(driver, index)
        self._pool, self._id, self._sent = pool, 0, 0
        self._answer: Any = None  # to the request that is being finished
        self.pipe: Channel | None = pool.pipe
        self.session: Session | None = pool.session
        self._task: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._spans: list[tuple[str, int, int]] = []
        self._step: Step | None = None  # what the call goes on with
        self._steps: Steps | None = None
        self._step_ns = 0  # when the latest request of the call began

    def start(self) -> None:
        request: McpRequest = self.op.request
        if self.pipe is not None and not self.pipe.alive:
            self._lost(self.pipe)
        if self.session is None or request.method == SESSION:
            self.start_ns, self._sent = clock(), 0
            self._task = self._pool.spawn(self._whole_session() if request.method == SESSION else self._begin_session())
            return
        self._encode_and_send(self.session)

    def _encode_and_send(self, session: Session) -> None:
        try:
            payload = self._encode(session)
        except Exception as problem:  # nothing fills a name, or what does cannot be written
            self._not_built(problem)
            return
        self.start_ns = clock()
        self._send(payload)

    def _lost(self, pipe: Channel) -> None:
        """The server has ended: it is started again where the suite says so, else the load ends."""
        self.pipe = self.session = None
        if not (self._pool.spec.restart or self._pool.is_http):
            self.driver.stop(f"target {self._pool.name!r} died: {pipe.describe_end()}")

    def _not_built(self, problem: Exception) -> None:
        self.start_ns, self._sent = clock(), 0
        self._later("template", in_words(problem))

    def _later(self, error: str, why: str = "") -> None:
        """End the request after a pause, as a row with this error."""
        self._pause = self.driver.loop.call_later(PAUSE_S, self.finish, None, 0, error, b"", why)

    def _encode(self, session: Session) -> bytes:
        self._id, self._steps, self._step = next(self._pool.ids), None, None
        payload = self.op.request.encoded(session.modern, self.row).body(self._id) + b"\n"
        self._sent = len(payload)
        return payload  # type: ignore[no-any-return]

    def _send(self, payload: bytes) -> None:
        assert self.pipe is not None
        self.pipe.pending[self._id] = self
        if not self.pipe.send(payload):
            self.pipe.pending.pop(self._id, None)
            self._later("connect", self.pipe.describe_end())

    @property
    def accepts_cached(self) -> bool:
        """Whether the cached error code of an equal answer is enough, so that this answer need not be read."""
        return self.op.reader is None and self._steps is None and bool(self.start_ns)

    def finish_cached(self, code: int, received: int) -> None:
        self._answer = None
        self._finish(clock(), code, received)

    def finish(self, answer: Any, received: int, error: str = "", without_id: bytes = b"", why: str = "") -> None:
        """The call is over. `without_id`: the bytes of its answer without the id, to remember its error code by."""
        if not self.start_ns:
            return
        self._pause = None
        if error == "reset" and self.pipe is not None:
            why = self.pipe.describe_end()
            self._lost(self.pipe)
        if why:
            self.driver.explain(error, why)
        if error:
            code, server_ns = self.driver.error_code(error), NONE_NS
        else:
            answer, self._step = self._pool.step_after(self, answer)
            if self._step is not None:
                self._take_step(self._step)
                return
            code, server_ns = self._outcome(answer)
        is_plain = self.op.reader is None and self._steps is None
        if without_id and server_ns == NONE_NS and is_plain and not self.driver.wants(code):
            self.op.request.remember(without_id, code)
        self._answer = answer
        self._finish(clock(), code, received, server_ns)

    def _take_step(self, step: Step) -> None:
        """The call goes on with another request."""
        now, began = clock(), self._step_ns or self.start_ns
        self._spans.append((step.name, began, now - began))
        self._step_ns = now
        if step.wait_s:
            self._pause = self.driver.loop.call_later(step.wait_s, self._go_on, step)
        else:
            self._go_on(step)

    def _go_on(self, step: Step) -> None:
        self._pause, self._step = None, None
        assert self.session is not None
        self._id = next(self._pool.ids)
        encoded = self.op.request.with_params(step.method, step.params, self.session.modern, self.row)
        payload = encoded.body(self._id) + b"\n"
        self._sent += len(payload)
        self._send(payload)

    def evidence(self, is_answered: bool) -> Evidence:
        answer, self._answer = self._answer, None
        body = "" if answer is None else json.dumps(answer, ensure_ascii=False)[:BODY_BYTES]
        return Evidence(self.op.request.in_words(self.row).decode("utf-8", "replace"), body=body)

    def _outcome(self, answer: Any) -> tuple[int, int]:
        try:
            return outcome(self, answer, None, self._pool.schemas)
        except Exception as problem:
            self.driver.explain("protocol", in_words(problem))
            return self.driver.error_code("protocol"), NONE_NS

    def _finish(self, now: int, code: int, received: int, server_ns: int = NONE_NS) -> None:
        for span in self._spans:
            self.driver.span(*span)
        self._spans.clear()
        self._step_ns = 0
        first_ns = now if received else NONE_NS
        if self.driver.finish(self, now, first_ns, code, NONE_STATUS, self._sent, received, server_ns):
            self.start()

    async def _begin_session(self) -> None:
        began = clock()
        try:
            async with asyncio.timeout(self._pool.spec.ready.timeout_s):
                self.pipe, self.session = await self._pool.pipe_for(self.driver)
        except Exception as problem:
            self._session_failed(problem)
            return
        self._spans.append(("session", began, clock() - began))
        self._task = None
        self._encode_and_send(self.session)

    async def _whole_session(self) -> None:
        """Start a server, negotiate, list its tools or call one, end it: one row, a span for each step."""
        pool, began = self._pool, clock()
        try:
            params = self.op.request.params(self.row)
        except Exception as problem:
            self._task = None
            self._not_built(problem)
            return
        try:
            pipe, session = await pool.start_pipe()
            opened = clock()
            answer = await call_or_list(pipe, session, params)
            worked = clock()
            await pool.end_pipe(pipe)
            ended = clock()
        except Exception as problem:
            self._session_failed(problem)
            return
        self._spans += session_spans(began, opened, worked, ended)
        self._task, self._sent = None, pipe.sent
        code, server_ns = self._outcome(answer)
        self._answer = answer
        self._finish(ended, code, pipe.received, server_ns)

    def _session_failed(self, problem: Exception) -> None:
        self._task = None
        self._spans.clear()
        error = "connect" if isinstance(problem, OSError) else "mcp_session"
        self._later(error, in_words(problem))

    def abort(self, error: str) -> None:
        if self._task is not None:
            if error == "timeout" and self.op.request.method != SESSION:
                return  # a session that begins has its own time
            self._task.cancel()
            self._task = None
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self.pipe is not None and self.pipe.pending.pop(self._id, None) is not None and error == "timeout":
            self.pipe.send(cancelled(self._id) + b"\n")
        self.finish(None, 0, error, why=self._stray_line() if error == "timeout" else "")

    def _stray_line(self) -> str:
        """What the server writes that is no message, which may be why no answer is found; "" where there is none."""
        stray = one_line(self.pipe.stray.decode("utf-8", "replace"), 80) if self.pipe is not None else ""
        return f"no answer; the server also writes lines that are no messages: {stray}" if stray else ""

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
