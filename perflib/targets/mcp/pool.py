"""What the lanes of one MCP target share: ids, sessions, pipes, and cached error codes of answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, Protocol

from perflib.suite.environment import from_environment
from perflib.suite.target import McpTargetSpec
from perflib.targets.base import Lane
from perflib.targets.connection import Address
from perflib.targets.http.connected import ParsedHead
from perflib.targets.http.reading import MOST_BODY_BYTES
from perflib.targets.mcp.pipe import Pipe
from perflib.targets.mcp.session import HttpConnection, Session, negotiate, open_http
from perflib.targets.mcp.wire import FIRST_ID

MOST_CACHED: Final = 256
LONGEST_CACHED_BYTES: Final = 16_384


class Closable(Protocol):
    """A client of the official SDK that stays open between calls."""

    async def close(self) -> None: ...


class Pool:
    """Sessions and connections to one MCP server, for all lanes of a worker.

    cached_codes   error codes of answers read before, by their bytes without the id; an equal answer is not read again
    """

    def __init__(self, name: str, spec: McpTargetSpec, folder: str) -> None:
        self.spec, self.folder = spec, folder
        self.children: tuple[int, ...] = ()  # processes that serve the shared session
        self.ids = itertools.count(FIRST_ID)
        self.where = f"targets.{name}"
        self.address = Address.of(spec, self.where, folder) if spec.url else None
        self.headers = {k: from_environment(v, f"{self.where}.headers.{k}") for k, v in spec.headers.items()}
        self.command = tuple(from_environment(part, f"{self.where}.command") for part in spec.command)
        self.env = {k: from_environment(v, f"{self.where}.env.{k}") for k, v in spec.env.items()}
        self.keep_alive, self.redirects, self.max_body_bytes = True, 0, MOST_BODY_BYTES
        self.parsed_heads: dict[bytes, ParsedHead] = {}
        self.cached_codes: dict[bytes, int] = {}
        self.session: Session | None = None  # the shared one
        self.pipe: Pipe | None = None
        self.trace_id = secrets.token_hex(16) if spec.trace else None
        self.sdk_client: Any = None  # the shared ConnectedClient
        self.sdk_clients: list[Closable] = []
        self._connection: HttpConnection | None = None
        self._connections: dict[str, HttpConnection] = {}  # sessions to be ended, by their id
        self._pipes: set[Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._negotiating = asyncio.Lock()

    async def session_for(self, lane: Lane) -> Session:
        """A session for a lane that has none: its own, or the shared one, opened again where it was lost."""
        if self.spec.session == "own":
            return await self.new_session()
        async with self._negotiating:
            if self.session is None:
                self.session = await self.new_session()
            return self.session

    async def new_session(self) -> Session:
        """Negotiate over HTTP. Raises TargetError, OSError."""
        assert self.address is not None
        connection, session = await open_http(self.address, self.headers, self.spec.protocol, self.where)
        connection.close()  # a connection is not held for it
        self._connection = connection
        if session.id:
            self._connections[session.id] = connection
        return session

    def remember(self, answer: bytes, error: int) -> None:
        """Cache the error code of an answer, which is given without its id."""
        if answer and len(answer) <= LONGEST_CACHED_BYTES:
            if len(self.cached_codes) >= MOST_CACHED:  # answers that never come again
                self.cached_codes.clear()
            self.cached_codes[answer] = error

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request outside the load on the shared session: {"result": …} or {"error": …}. Raises OSError."""
        connection = self.pipe or self._connection
        assert connection is not None and self.session is not None
        return await connection.ask(method, params, modern=self.session.modern)

    def lost(self, session: Session) -> None:
        """The server does not know this session any more."""
        self._connections.pop(session.id, None)
        if self.session is session:
            self.session = None

    async def start_pipe(self) -> tuple[Pipe, Session]:
        """Start a server on stdio and negotiate with it. Raises TargetError, OSError."""
        folder = str(Path(self.folder) / self.spec.cwd) if self.spec.cwd else self.folder or None
        pipe = await Pipe.start(self.command, self.env, folder, self.cached_codes)
        self._pipes.add(pipe)
        try:
            return pipe, await negotiate(pipe, self.spec.protocol, self.where)
        except BaseException:
            self.spawn(self.end_pipe(pipe))
            raise

    async def end_pipe(self, pipe: Pipe) -> None:
        await pipe.close()
        self._pipes.discard(pipe)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task and hold a reference to it, so that it is not garbage-collected."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self.sdk_clients))
        await asyncio.gather(*(self.end_pipe(pipe) for pipe in list(self._pipes)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                for connection in self._connections.values():
                    with contextlib.suppress(OSError):
                        await connection.end_session()
                    connection.close()
        for task in list(self._tasks):
            task.cancel()
