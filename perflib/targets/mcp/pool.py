"""What the lanes of one MCP target share: ids, sessions, pipes, and the answers seen before."""

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
from perflib.targets.http import Known
from perflib.targets.mcp.pipe import Pipe
from perflib.targets.mcp.session import HttpTalk, Session, negotiate, open_http
from perflib.targets.mcp.wire import FIRST_ID

MOST_ALIKE: Final = 256
LONGEST_ALIKE: Final = 16_384


class Closing(Protocol):
    """A client of the official SDK that stays open between calls."""

    async def close(self) -> None: ...


class Pool:
    """Sessions and connections to one MCP server, for all lanes of a worker.

    alike   error codes of answers seen before, by their bytes without the id: an answer that is the same is not read again
    """

    def __init__(self, name: str, spec: McpTargetSpec, folder: str) -> None:
        self.spec, self.folder = spec, folder
        self.children: tuple[int, ...] = ()  # processes that serve the shared session
        self.ids = itertools.count(FIRST_ID)
        self.where = f"targets.{name}"
        self.address = Address.of(spec, self.where) if spec.url else None
        self.headers = {k: from_environment(v, f"{self.where}.headers.{k}") for k, v in spec.headers.items()}
        self.env = {k: from_environment(v, f"{self.where}.env.{k}") for k, v in spec.env.items()}
        self.known: dict[bytes, Known] = {}
        self.alike: dict[bytes, int] = {}  # error codes of answers seen before, by their bytes without the id
        self.session: Session | None = None  # the one that is shared
        self.pipe: Pipe | None = None
        self.trace_id = secrets.token_hex(16) if spec.trace else None
        self.sdk_client: Any = None  # the HeldClient that is shared
        self.sdk_clients: list[Closing] = []
        self._talk: HttpTalk | None = None
        self._talks: dict[str, HttpTalk] = {}  # sessions to be ended, by their id
        self._pipes: set[Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._negotiating = asyncio.Lock()

    async def session_for(self, lane: Lane) -> Session:
        """A session for a lane that has none: its own, or the one that is shared, made anew where that was lost."""
        if self.spec.session == "own":
            return await self.new_session()
        async with self._negotiating:
            if self.session is None:
                self.session = await self.new_session()
            return self.session

    async def new_session(self) -> Session:
        """Negotiate over HTTP. Raises TargetError, OSError."""
        assert self.address is not None
        talk, session = await open_http(self.address, self.headers, self.spec.protocol, self.where)
        talk.close()  # a connection is not held for it
        self._talk = talk
        if session.id:
            self._talks[session.id] = talk
        return session

    def remember(self, answer: bytes, error: int) -> None:
        """That such an answer, whatever its id, has this error code."""
        if answer and len(answer) <= LONGEST_ALIKE:
            if len(self.alike) >= MOST_ALIKE:  # answers that never come again
                self.alike.clear()
            self.alike[answer] = error

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request outside the load on the session that is shared: {"result": …} or {"error": …}. Raises OSError."""
        talk = self.pipe or self._talk
        assert talk is not None and self.session is not None
        return await talk.ask(method, params, modern=self.session.modern)

    def lost(self, session: Session) -> None:
        """The server does not know this session any more."""
        self._talks.pop(session.id, None)
        if self.session is session:
            self.session = None

    async def start_pipe(self) -> tuple[Pipe, Session]:
        """Start a server on stdio and negotiate with it. Raises TargetError, OSError."""
        folder = str(Path(self.folder) / self.spec.cwd) if self.spec.cwd else self.folder or None
        pipe = await Pipe.start(self.spec.command, self.env, folder, self.alike)
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
        """A task that is not forgotten."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self.sdk_clients))
        await asyncio.gather(*(self.end_pipe(pipe) for pipe in list(self._pipes)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                for talk in self._talks.values():
                    with contextlib.suppress(OSError):
                        await talk.end_session()
                    talk.close()
        for task in list(self._tasks):
            task.cancel()
