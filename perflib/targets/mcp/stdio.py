"""Calls over stdio: a server process, one JSON-RPC message a line each way, any number of calls in flight."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perflib.errors import TargetError
from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.targets.base import Driver, Lane
from perflib.targets.http import BACKOFF_S, parse_json
from perflib.targets.mcp.session import Session, steps, work
from perflib.targets.mcp.wire import FIRST_ID, SESSION, McpRequest, message, outcome, refusal

if TYPE_CHECKING:
    from perflib.targets.mcp.target import McpTarget

clock = time.monotonic_ns
_ID = re.compile(rb'"id":\s*(\d{1,18})(?=[,}\s])')
LONGEST_BYTES = 256_000_000  # of one message
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


class Pipe(asyncio.SubprocessProtocol):
    """A server process. Who waits for an answer is in `pending`, by the request's id. `alike`: McpTarget.alike."""

    transport = "stdio"

    def __init__(self, alike: dict[bytes, int]) -> None:
        self._alike = alike
        self.pending: dict[int, Any] = {}
        self.alive = True
        self.sent = self.received = 0
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._process: asyncio.SubprocessTransport | None = None
        self.pid: int | None = None
        self._numbers = itertools.count(FIRST_ID // 2)
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(
        cls, command: tuple[str, ...], env: Mapping[str, str], cwd: str | None, alike: dict[bytes, int]
    ) -> Pipe:
        """Start the server. Raises OSError."""
        _, pipe = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(alike),
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env={**os.environ, **env},
            cwd=cwd,
            start_new_session=os.name == "posix",  # npx and its like start what they are named for
        )
        return pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process = transport  # type: ignore[assignment]
        self.pid = self._process.get_pid()  # type: ignore[union-attr]
        self._write = self._process.get_pipe_transport(0).write  # type: ignore[union-attr]

    def send(self, payload: bytes) -> bool:
        """False where the server is gone."""
        if self.alive:
            try:
                self._write(payload)
                self.sent += len(payload)
            except (OSError, RuntimeError):  # its stdin is closed
                self.alive = False
        return self.alive

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if b"\n" not in data:  # a part of a long line
            self._rest.append(data)
            self._rest_bytes += len(data)
            if self._rest_bytes > LONGEST_BYTES:
                self._rest, self._rest_bytes = [], 0  # its end will be no message, and is passed over
            return
        *lines, last = b"".join([*self._rest, data]).split(b"\n")
        self._rest, self._rest_bytes = ([last], len(last)) if last else ([], 0)
        for line in lines:
            self._hear(line)

    def _hear(self, line: bytes) -> None:
        """One line. An answer that differs from one that was read before in nothing but its id means the same."""
        self.received += len(line) + 1
        match = _ID.search(line)
        alike = line[: match.start(1)] + line[match.end(1) :] if match else b""
        code = self._alike.get(alike)
        if code is not None and match is not None:
            waiting = self.pending.get(int(match[1]))
            if waiting is None or waiting.may_know:
                if waiting is not None:
                    del self.pending[int(match[1])]
                    waiting.known(code, len(line) + 1)
                return
        self._read(line, int(match[1]) if match else None, alike)

    def _read(self, line: bytes, first_id: int | None, alike: bytes) -> None:
        said = parse_json(line.decode("utf-8", "replace"))
        if not isinstance(said, dict):
            if line[:1] == b"{" and b'"jsonrpc"' in line and len(self.pending) == 1:
                # The one answer that is due, and it cannot be read; else a log line on stdout.
                self.pending.popitem()[1].over(None, len(line) + 1, "protocol")
            return
        if "method" in said:
            if "id" in said:
                self.send(refusal(said) + b"\n")
            return
        number = said.get("id")
        waiting = self.pending.pop(number, None) if isinstance(number, int) else None
        if waiting is not None:
            waiting.over(said, len(line) + 1, alike=alike if number == first_id else b"")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.alive = False  # what it has read may still be answered
        if fd == 1:
            self._end()

    def process_exited(self) -> None:
        self._end()
        if not self._gone.done():
            self._gone.set_result(None)

    def _end(self) -> None:
        """No answer comes any more."""
        self.alive = False
        waiting, self.pending = list(self.pending.values()), {}
        for each in waiting:
            each.over(None, 0, "reset")

    async def ask(self, method: str, params: Mapping[str, Any], *, modern: bool = False) -> dict[str, Any]:
        number, answered = next(self._numbers), asyncio.get_running_loop().create_future()
        self.pending[number] = _Asked(answered)
        try:
            if not self.send(message(method, params, modern=modern).body(number) + b"\n"):
                raise ConnectionResetError
            answer: dict[str, Any] = await answered
            return answer
        except ConnectionResetError:
            raise ConnectionResetError(await self._how_it_ended()) from None
        finally:
            self.pending.pop(number, None)

    async def _how_it_ended(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.shield(self._gone)
        code = self._process.get_returncode() if self._process is not None else None
        return "it closed its output" if code is None else f"it ended with code {code}"

    async def tell(self, method: str) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "method": method}).encode() + b"\n")

    async def close(self) -> None:
        """Close its stdin and wait; then terminate; then kill."""
        if self._process is None:
            return
        with contextlib.suppress(RuntimeError):  # it is closed already
            self._process.get_pipe_transport(0).close()  # type: ignore[union-attr]
        for number in (0, signal.SIGTERM, _KILL):
            self._signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.shield(self._gone)
                break
        self._signal(_KILL)  # what it started and left behind
        self._process.close()

    def _signal(self, number: int) -> None:
        """Send a signal to the server and all that it started; 0 is none."""
        if not number or self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self.pid, number)
            elif self._process is not None:
                self._process.terminate()


@dataclass(frozen=True, slots=True)
class _Asked:
    answered: asyncio.Future[dict[str, Any]]

    may_know = False

    def over(self, answer: Any, received: int, error: str = "", alike: bytes = b"") -> None:
        if self.answered.done():
            return
        if error == "reset":
            self.answered.set_exception(ConnectionResetError())
        else:
            self.answered.set_result(answer or {})


class McpStdioLane(Lane):
    """One call at a time on a pipe, its own or the one that all lanes share."""

    __slots__ = ("_id", "_kind", "_sent", "_spans", "_task", "pipe", "session")

    def __init__(self, driver: Driver, index: int, kind: McpTarget) -> None:
        super().__init__(driver, index)
        self._kind, self._id, self._sent = kind, 0, 0
        self.pipe: Pipe | None = kind.pipe
        self.session: Session | None = kind.session
        self._task: asyncio.Task[None] | None = None
        self._spans: list[tuple[str, int, int]] = []

    def start(self) -> None:
        request: McpRequest = self.op.request
        if self.session is None or request.method == SESSION:
            self.start_ns, self._sent = clock(), 0
            self._task = self._kind.spawn(self._whole_session() if request.method == SESSION else self._begin_session())
            return
        payload = self._message(self.session)
        self.start_ns = clock()
        self._send(payload)

    def _message(self, session: Session) -> bytes:
        self._id = next(self._kind.ids)
        payload = self.op.request.message(session.modern, self.row).body(self._id) + b"\n"
        self._sent = len(payload)
        return payload  # type: ignore[no-any-return]

    def _send(self, payload: bytes) -> None:
        assert self.pipe is not None
        self.pipe.pending[self._id] = self
        if not self.pipe.send(payload):
            self.pipe.pending.pop(self._id, None)
            self.driver.loop.call_later(BACKOFF_S[4], self.over, None, 0, "connect")

    @property
    def may_know(self) -> bool:
        """Whether what an answer of the same bytes meant is all that matters about it."""
        return not self.op.reads_answer and bool(self.start_ns)

    def known(self, code: int, received: int) -> None:
        self._finish(clock(), code, received)

    def over(self, answer: Any, received: int, error: str = "", alike: bytes = b"") -> None:
        """An answer, or what came instead of one; `alike`: its bytes without its id."""
        if not self.start_ns:
            return
        code, server_ns = (self.driver.error_code(error), NONE_NS) if error else outcome(self, answer, None)
        if alike and server_ns == NONE_NS and not self.op.reads_answer:
            self._kind.remember(alike, code)
        self._finish(clock(), code, received, server_ns)

    def _finish(self, now: int, code: int, received: int, server_ns: int = NONE_NS) -> None:
        for span in self._spans:
            self.driver.span(*span)
        self._spans.clear()
        first_ns = now if received else NONE_NS
        if self.driver.finish(self, now, first_ns, code, NONE_STATUS, self._sent, received, server_ns):
            self.start()

    async def _begin_session(self) -> None:
        began = clock()
        try:
            async with asyncio.timeout(self._kind.spec.ready.timeout_s):
                self.pipe, self.session = await self._kind.start_pipe()
        except (OSError, TimeoutError, TargetError) as problem:
            self._session_failed(problem)
            return
        self._spans.append(("session", began, clock() - began))
        self._task = None
        payload = self._message(self.session)
        self.start_ns = clock()
        self._send(payload)

    async def _whole_session(self) -> None:
        """Start a server, negotiate, list its tools or call one, end it: one row, a span for each step."""
        kind, began = self._kind, clock()
        try:
            pipe, session = await kind.start_pipe()
            opened = clock()
            answer = await work(pipe, session, self.op.request.params(self.row))
            worked = clock()
            await kind.end_pipe(pipe)
            ended = clock()
        except (OSError, TargetError) as problem:
            self._session_failed(problem)
            return
        self._spans += steps(began, opened, worked, ended)
        self._task, self._sent = None, pipe.sent
        code, server_ns = outcome(self, answer, None)
        self._finish(ended, code, pipe.received, server_ns)

    def _session_failed(self, problem: Exception) -> None:
        self._task = None
        self._spans.clear()
        error = "mcp_session" if isinstance(problem, TargetError) else "connect"
        self.driver.loop.call_later(
            BACKOFF_S[4], self.over, None, 0, error
        )  # not in a tight loop against a closed door

    def abort(self, error: str) -> None:
        if self._task is not None:
            if error == "timeout" and self.op.request.method != SESSION:
                return  # a session that begins has its own time
            self._task.cancel()
            self._task = None
        if self.pipe is not None:
            self.pipe.pending.pop(self._id, None)
        self.over(None, 0, error)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
