"""The kind "mcp": what is checked before, one session for all lanes or one for each, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perflib.errors import TargetError
from perflib.suite.environment import from_environment
from perflib.suite.operation import McpOperation
from perflib.suite.target import McpTargetSpec
from perflib.targets.base import Driver, Lane, TargetKind, require
from perflib.targets.connection import Address, check_url
from perflib.targets.http import Known
from perflib.targets.mcp.http import McpHttpLane
from perflib.targets.mcp.session import HttpTalk, Session, negotiate, open_http
from perflib.targets.mcp.stdio import McpStdioLane, Pipe
from perflib.targets.mcp.wire import FIRST_ID, HANDSHAKE_VERSIONS, METHODS, MODERN, McpRequest
from perflib.targets.template import check_path

if TYPE_CHECKING:
    from perflib.targets.mcp.sdk import HeldClient

MOST_ALIKE: Final = 256
LONGEST_ALIKE: Final = 16_384
PROTOCOLS: Final = ("auto", *HANDSHAKE_VERSIONS, MODERN)


class McpTarget(TargetKind):
    """`url = "http://…/mcp"` (streamable HTTP) or `command = ["npx", "some-server"]` (stdio).

    session   "shared": one for all connections of a worker (default) · "own": one for each; over stdio that is a process for each
    client    "lean": messages built beforehand, read no further than needed (default) · "sdk": the official SDK's client
    protocol  "auto": what the server speaks (default), or a version, as "2025-11-25"
    trace     whether requests carry a W3C trace context, so that the server's spans can be found by it
    """

    spec: McpTargetSpec

    def __init__(self, name: str, spec: McpTargetSpec, *, folder: str = "") -> None:
        super().__init__(name, spec, folder=folder)
        self.ids = itertools.count(FIRST_ID)
        self.where = f"targets.{name}"
        self.address = Address.of(spec, self.where) if spec.url else None
        self.headers = {k: from_environment(v, f"{self.where}.headers.{k}") for k, v in spec.headers.items()}
        self.env = {k: from_environment(v, f"{self.where}.env.{k}") for k, v in spec.env.items()}
        self.known: dict[bytes, Known] = {}
        self.alike: dict[bytes, int] = {}  # error codes of answers seen before, by their bytes without the id
        self.session: Session | None = None  # the one that is shared
        self.pipe: Pipe | None = None
        self._trace_id = secrets.token_hex(16) if spec.trace else None
        self._about: dict[str, Any] = {}
        self.sdk: HeldClient | None = None
        self.clients: list[HeldClient] = []
        self._talk: HttpTalk | None = None
        self._talks: dict[str, HttpTalk] = {}  # sessions to be ended, by their id
        self._pipes: set[Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._negotiating = asyncio.Lock()

    @classmethod
    def check(cls, name: str, spec: McpTargetSpec, operations: list[McpOperation]) -> None:
        where = f"targets.{name}"
        one = bool(spec.url) != bool(spec.command)
        require(one, "an MCP target needs a url or a command", where=where, mend="give exactly one of them")
        if spec.url:
            check_url(name, spec)
        known = f"known: {', '.join(PROTOCOLS)}"
        require(
            spec.protocol in PROTOCOLS, f"unknown protocol {spec.protocol!r}", where=f"{where}.protocol", mend=known
        )
        for operation in operations:
            _check_operation(operation)

    def compile(self, operation: McpOperation) -> McpRequest:
        return McpRequest.of(operation, self._trace_id)

    def lane(self, driver: Driver, index: int) -> Lane:
        if self.spec.client == "sdk":
            from perflib.targets.mcp.sdk import SdkLane

            return SdkLane(driver, index, self)
        return McpHttpLane(driver, index, self) if self.address else McpStdioLane(driver, index, self)

    async def open(self, driver: Driver | None = None) -> None:
        """Connect and negotiate, for the session that is shared, or to see who is there. Raises TargetError where nobody is."""
        try:
            async with asyncio.timeout(self.spec.ready.timeout_s):
                session = await self._open()
        except (OSError, TimeoutError) as error:
            said = f"{type(error).__name__} {error}".strip()
            raise TargetError(f"cannot reach the MCP server: {said}", where=self.where, mend="is it running?") from None
        self._about = {**session.about, "client": self.spec.client, "session": self.spec.session}
        if self._trace_id:
            self._about["trace_id"] = self._trace_id

    async def _open(self) -> Session:
        if self.spec.client == "sdk":
            from perflib.targets.mcp.sdk import hold

            self.sdk = await hold(self)
            self.clients.append(self.sdk)
            return self.sdk.session
        shared = self.spec.session == "shared"
        if self.address is None:
            pipe, session = await self.start_pipe()
            if shared:
                self.pipe, self.session, self.children = pipe, session, (pipe.pid or 0,)
            else:
                await self.end_pipe(pipe)
            return session
        session = await self.new_session()
        if shared:
            self.session = session
        return session

    async def session_for(self, lane: McpHttpLane) -> Session:
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
        await asyncio.gather(*(client.close() for client in self.clients))
        await asyncio.gather(*(self.end_pipe(pipe) for pipe in list(self._pipes)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                for talk in self._talks.values():
                    with contextlib.suppress(OSError):
                        await talk.end_session()
                    talk.close()
        for task in list(self._tasks):
            task.cancel()

    def hosts(self) -> list[str]:
        return [self.address.host] if self.address else []

    def info(self) -> dict[str, Any]:
        return self._about


def _check_operation(operation: McpOperation) -> None:
    at = f"operation {operation.name!r}"
    what, mend = "an MCP operation needs a tool or a method", 'set tool = "name"'
    require(operation.tool or operation.method, what, where=at, mend=mend)
    what, mend = f"unknown MCP method {operation.method!r}", f"known: {', '.join(METHODS)}"
    require(operation.method in (None, *METHODS), what, where=at, mend=mend)
    if operation.method == "resources/read":
        require(operation.uri, "resources/read needs a uri", where=at, mend='set uri = "…"')
    for path in (*operation.keep.values(), *((operation.expect.json or {}) if operation.expect else ())):
        check_path(path, at)
