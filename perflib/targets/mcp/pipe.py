"""A server on stdio: its process, one JSON-RPC message per line in each direction, any number of calls in flight."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from perflib.targets.guard import die_with_parent
from perflib.targets.mcp.channel import ID, Channel
from perflib.targets.mcp.events import LONGEST_MESSAGE_BYTES
from perflib.text import cleaned, one_line

clock = time.monotonic_ns
LONGEST_SAID_BYTES = 65_536  # of a line on stderr
LAST_WORDS_S, LAST_LINES_S = 0.3, 0.01  # after its stdout is closed, after it has ended
MOST_LAST_LINES = 3  # on stderr, which say why it ended
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


class Pipe(Channel, asyncio.SubprocessProtocol):
    """A server process."""

    transport = "stdio"

    def __init__(self, answers: Mapping[str, Any], capabilities: Mapping[str, Any]) -> None:
        super().__init__(answers, capabilities)
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._said = b""
        self._last_lines: deque[str] = deque(maxlen=MOST_LAST_LINES)
        self._is_too_long = False
        self._process: asyncio.SubprocessTransport | None = None
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(
        cls,
        command: tuple[str, ...],
        env: Mapping[str, str],
        cwd: str | None,
        answers: Mapping[str, Any],
        capabilities: Mapping[str, Any],
    ) -> Pipe:
        """Start the server. Raises OSError."""
        _, pipe = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(answers, capabilities),
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # its last lines say why it ended
            env={**os.environ, **env},
            cwd=cwd,
            start_new_session=os.name == "posix",  # npx and its like start the server as a child
            preexec_fn=die_with_parent(),
        )
        return pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process = transport  # type: ignore[assignment]
        self.pid = self._process.get_pid()  # type: ignore[union-attr]
        self._write = self._process.get_pipe_transport(0).write  # type: ignore[union-attr]

    def send(self, payload: bytes) -> bool:
        """Write to the server. False where it is gone."""
        if self.alive:
            try:
                self._write(payload)
                self.sent += len(payload)
            except (OSError, RuntimeError):  # its stdin is closed
                self.alive = False
        return self.alive

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._print(data)
            return
        if self._is_too_long:  # the rest of a line, which is not a message by itself
            _, newline, data = data.partition(b"\n")
            self._is_too_long = not newline
            if not data:
                return
        if b"\n" not in data:  # a part of a long line
            self._rest.append(data)
            self._rest_bytes += len(data)
            if self._rest_bytes > LONGEST_MESSAGE_BYTES:
                self._give_up()
            return
        *lines, last = b"".join([*self._rest, data]).split(b"\n")
        self._rest, self._rest_bytes = ([last], len(last)) if last else ([], 0)
        for line in lines:
            self.receive(line)

    def _give_up(self) -> None:
        """End the request whose answer is too long, and skip the rest of the line."""
        match = ID.search(b"".join(self._rest[:2])[:LONGEST_SAID_BYTES])
        waiting = self.pending.pop(int(match[1]), None) if match else None
        if waiting is not None:
            waiting.finish(None, self._rest_bytes, "protocol")
        self._rest, self._rest_bytes, self._is_too_long = [], 0, True

    def _print(self, data: bytes) -> None:
        """Print whole lines of what the server says on stderr, without secrets and control characters."""
        whole, newline, self._said = (self._said + data).rpartition(b"\n")
        if len(self._said) > LONGEST_SAID_BYTES:
            whole, newline, self._said = whole + newline + self._said, b"\n", b""
        if newline:
            text = cleaned(whole.decode("utf-8", "replace"))
            self._last_lines.extend(line.strip() for line in text.splitlines()[-MOST_LAST_LINES:] if line.strip())
            print(text, file=sys.stderr)

    def _unread_bytes(self) -> int:
        """Bytes that were written to the server, and wait for it to read them."""
        pipe: Any = self._process.get_pipe_transport(0) if self._process is not None else None
        return int(pipe.get_write_buffer_size()) if pipe is not None else 0

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.alive = False  # what it has read may still be answered
        if fd == 1:
            self._end_after(LAST_WORDS_S)

    def process_exited(self) -> None:
        self.alive = False
        self._end_after(LAST_LINES_S)
        if not self._gone.done():
            self._gone.set_result(None)

    def _end_after(self, seconds: float) -> None:
        """Fail all that waits, once it had time to say why: its exit code and its last lines come a little later."""
        asyncio.get_running_loop().call_later(seconds, self._end)

    async def end_in_words(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.shield(self._gone)
        return self.describe_end()

    def describe_end(self) -> str:
        """Why it answers no more: its exit code, and its last lines on stderr."""
        code = self._process.get_returncode() if self._process is not None else None
        if code is None:
            ended = "it closed its output"
        else:
            ended = f"it ended with code {code}" if code >= 0 else f"it was ended by signal {-code}"
        last = [*self._last_lines, cleaned(self._said.decode("utf-8", "replace")).strip()]
        said = one_line(" / ".join(filter(None, last[-MOST_LAST_LINES:])), 300)
        return f"{ended}: {said}" if said else ended

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
