"""What the lanes of one MCP target share: ids, sessions, pipes, and cached error codes of answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from perflib.errors import PerflibError
from perflib.suite.auth import CommandAuth, LoginAuth, OAuthAuth
from perflib.suite.environment import filled_from_environment, from_environment
from perflib.suite.placeholders import literal, variables_in
from perflib.suite.target import McpTargetSpec
from perflib.targets.base import Driver, Lane, is_loopback
from perflib.targets.connection import Address
from perflib.targets.http.connected import ParsedHead
from perflib.targets.http.reading import MOST_BODY_BYTES
from perflib.targets.http.token import fixed_header
from perflib.targets.mcp.auth import Renewal
from perflib.targets.mcp.channel import Channel
from perflib.targets.mcp.legacy import EventChannel
from perflib.targets.mcp.listening import Listener
from perflib.targets.mcp.pipe import Pipe
from perflib.targets.mcp.results import Schemas, is_task
from perflib.targets.mcp.session import HttpConnection, Known, Session, negotiate, open_http
from perflib.targets.mcp.steps import Step, Steps
from perflib.targets.mcp.wire import (
    FIRST_ID,
    HANDSHAKE,
    MODERN,
    SESSION,
    McpRequest,
    capabilities_for,
    param_headers_of,
)
from perflib.targets.short_connections import ShortConnections
from perflib.targets.template import text_template

MUTE_S: Final = 0.8  # without an answer to a method that it may not know, a server on stdio is started once more
MOST_OPEN_STREAMS: Final = 3  # in a row, whose end was waited for in vain
TRIED_AGAIN_AFTER: Final = 64  # streams that were left at once
MOST_PAGES: Final = 50  # of tools that are listed before the load
NOTIFIED_S: Final = 0.5  # that notifications may take at the end of the load
LISTED_WITHIN_S: Final = 10.0
MOST_FAILED_STARTS: Final = 5  # in a row: then a server on stdio does not start again


class Closable(Protocol):
    """A client of the official SDK that stays open between calls."""

    async def close(self) -> None: ...


class Stepping(Lane):
    """Of a lane of either transport: what comes after each answer of the call in flight."""

    __slots__ = ()
    _pool: Pool
    _steps: Steps | None

    @property
    def is_stepping(self) -> bool:
        """Whether a step of the call has been taken."""
        return self._steps is not None

    @property
    def steps(self) -> Steps:
        """The steps of the call in flight, made when they are asked for."""
        if self._steps is None:
            request: McpRequest = self.op.request
            self._steps = self._pool.steps(request, request.params(self.row))  # type: ignore[misc]  # of the lane
        return self._steps


class Pool:
    """Sessions and connections to one MCP server, for all lanes of a worker.

    known                      what has been learned of the server
    answers, capabilities      what is answered where the server asks, and what follows from it
    schemas                    of the tools' structured content
    streams_that_stayed_open   in a row, after their answer had come
    """

    def __init__(self, name: str, spec: McpTargetSpec, folder: str) -> None:
        self.name, self.spec, self.folder = name, spec, folder
        self.children: tuple[int, ...] = ()  # processes that serve the shared session
        self.ids = itertools.count(FIRST_ID)
        self.where = f"targets.{name}"
        self._address = Address.of(spec, self.where, folder) if spec.url else None
        self.headers: dict[str, str] = {}
        self.command = tuple(from_environment(part, f"{self.where}.command") for part in spec.command)
        self.env = {k: from_environment(v, f"{self.where}.env.{k}") for k, v in spec.env.items()}
        self.keep_alive, self.redirects, self.max_body_bytes = True, 0, MOST_BODY_BYTES
        self.parsed_heads: dict[bytes, ParsedHead] = {}
        self.short_connections: ShortConnections | None = None  # connections are kept
        self.known = Known(spec.protocol)
        self.answers = {method: dict(answer) for method, answer in spec.answers.items()}
        self.capabilities: Mapping[str, Any] = capabilities_for(self.answers, polls_tasks=spec.poll_tasks)
        self.schemas = Schemas()
        self.streams_that_stayed_open = 0
        self.token_line = b""  # the header line of the token that requests carry
        self.calls_tools = False
        self.allow_hosts: tuple[str, ...] = ()
        self._renewal: Renewal | None = None
        if isinstance(spec.auth, LoginAuth | OAuthAuth | CommandAuth):
            self._renewal = Renewal(spec.auth, self)
        elif spec.auth is not None:
            self.headers |= fixed_header(spec.auth, f"{self.where}.auth")
        self.fill_headers({})
        self.session: Session | None = None  # the shared one
        self.pipe: Channel | None = None
        self.trace_id = secrets.token_hex(16) if spec.trace else None
        self.last_refusal: tuple[int, str] | None = None  # by a status, and what it said, where the SDK hides it
        self.sdk_client: Any = None  # the shared ConnectedClient
        self.sdk_clients: list[Closable] = []
        self._connection: HttpConnection | None = None
        self._connections: dict[str, HttpConnection] = {}  # sessions to be ended, by their id
        self._listeners: dict[str, Listener] = {}  # for what the server asks outside of calls, by session
        self._pipes: set[Channel] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._notifications: list[asyncio.Task[None]] = []
        self.negotiating = asyncio.Lock()
        self._failed_starts = 0

    def fill_headers(self, given: Mapping[str, Any]) -> None:
        """Set the target's headers, with values of the set-up. One whose names are not known yet is left out."""
        self.given = given
        for key, value in self.spec.headers.items():
            template = filled_from_environment(value, f"{self.where}.headers.{key}")
            if variables_in(template) <= given.keys():
                self.headers.setdefault(key, text_template(template)(given))

    @property
    def header_templates(self) -> dict[str, str]:
        return {key: literal(value) for key, value in self.headers.items()}

    async def session_for(self, lane: Lane) -> Session:
        """A session for a lane that has none: its own, or the shared one, opened again where it was lost."""
        if self.spec.session == "own":
            return await self.new_session()
        async with self.negotiating:
            if self.session is None:
                self.session = await self.new_session()
            return self.session

    async def new_session(self) -> Session:
        """Negotiate over HTTP. Raises TargetError, OSError."""
        connection, session = await open_http(self)
        connection.close()  # a connection is not held for it
        self._connection = connection
        if session.id:
            self._connections[session.id] = connection
            if self.answers and not session.modern:
                self._listeners[session.id] = listener = Listener(self, session, self.answers)
                await listener.opened()
        return session

    @property
    def address(self) -> Address:
        """Of a server over HTTP."""
        assert self._address is not None
        return self._address

    @property
    def is_http(self) -> bool:
        return self._address is not None

    @property
    def is_channel(self) -> bool:
        """Whether any number of calls go over one pipe or stream."""
        return not self.is_http or self.known.is_legacy

    def may_go_to(self, host: str) -> bool:
        """Whether requests for tokens may go to this host."""
        if host == self.address.host or host in self.allow_hosts:
            return True
        return is_loopback(host) and is_loopback(self.address.host)

    def address_of(self, origin: str) -> Address:
        """The address of another server, without what is for the target's own alone."""
        spec = replace(self.spec, url=origin, server_name=None, client_cert=None, connect_to=None, unix_socket=None)
        return Address.of(spec, self.where, self.folder)

    async def get_token(self) -> None:
        """Get the first token, where one is needed. Raises TargetError."""
        if self._renewal is not None:
            await self._renewal.begin()

    def token_refused(self) -> None:
        """The server did not accept the token that requests carry."""
        if self._renewal is not None:
            self._renewal.refused()

    def leaves_streams(self) -> bool:
        """Whether the end of a stream is not worth waiting for, since several in a row stayed open; some are tried."""
        if self.streams_that_stayed_open < MOST_OPEN_STREAMS:
            return False
        self.streams_that_stayed_open += 1
        return self.streams_that_stayed_open % TRIED_AGAIN_AFTER != 0

    def steps(self, request: McpRequest, params: dict[str, Any]) -> Steps:
        """What comes after each answer to a call."""
        return Steps(
            request.method, params, self.answers, polls_tasks=self.spec.poll_tasks, all_pages=request.all_pages
        )

    def step_after(self, lane: Stepping, answer: Any) -> tuple[Any, Step | None]:
        """The answer that a call has come to, or the step with which it goes on."""
        result = answer.get("result") if isinstance(answer, dict) else None
        if not isinstance(result, dict) or not (lane.is_stepping or self._may_go_on(lane.op.request, result)):
            return answer, None
        came = lane.steps.take(result)
        return (answer, came) if isinstance(came, Step) else ({**answer, "result": came}, None)

    def _may_go_on(self, request: McpRequest, result: dict[str, Any]) -> bool:
        if request.method == SESSION:
            return False
        return (
            result.get("resultType", "complete") != "complete"
            or (request.all_pages and "nextCursor" in result)
            or (self.spec.poll_tasks and is_task(result))
        )

    async def learn_tools(self, requests: Sequence[McpRequest]) -> None:
        """List the tools that are called, for the schemas of their answers, and arguments that are headers too.

        A server that cannot list its tools is called all the same.
        """
        called = {request.tool for request in requests if request.tool}
        if not called:
            return
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LISTED_WITHIN_S):
                for tool in await self._listed_tools():
                    if tool.get("name") in called:
                        self._learn(tool, requests)

    async def _listed_tools(self) -> list[dict[str, Any]]:
        tools: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            result = (await self.ask("tools/list", params)).get("result")
            if not isinstance(result, dict) or not isinstance(result.get("tools"), list):
                break
            tools += [tool for tool in result["tools"] if isinstance(tool, dict)]
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or not cursor or cursor == params.get("cursor"):
                break
            params = {"cursor": cursor}
        return tools

    def _learn(self, tool: dict[str, Any], requests: Sequence[McpRequest]) -> None:
        if isinstance(tool.get("outputSchema"), dict):
            self.schemas.add(tool["name"], tool["outputSchema"])
        headers = param_headers_of(tool.get("inputSchema"))
        for request in requests:
            if request.tool == tool["name"] and headers:
                request.prepare(headers)

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request outside the load on the shared session: {"result": …} or {"error": …}. Raises OSError."""
        connection = self.pipe or self._connection
        assert connection is not None and self.session is not None
        return await connection.ask(method, params, modern=self.session.modern)

    def lost(self, session: Session) -> None:
        """The server does not know this session any more."""
        self._connections.pop(session.id, None)
        if listener := self._listeners.pop(session.id, None):
            listener.close()
        if self.session is session:
            self.session = None

    async def pipe_for(self, driver: Driver) -> tuple[Channel, Session]:
        """A server on stdio for a lane that has none: its own, or the shared one, started again where it ended."""
        if self.spec.session == "own":
            return await self._started_again(driver)
        async with self.negotiating:
            if self.pipe is None or not self.pipe.alive or self.session is None:
                self.pipe, self.session = await self._started_again(driver)
            return self.pipe, self.session

    async def _started_again(self, driver: Driver) -> tuple[Channel, Session]:
        try:
            started = await self.start_pipe()
        except (OSError, PerflibError) as problem:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                driver.stop(f"target {self.name!r} does not start any more: {problem}")
            raise
        self._failed_starts = 0
        return started

    async def start_pipe(self) -> tuple[Channel, Session]:
        """Start a server on stdio and negotiate with it. Raises TargetError, OSError.

        Servers of the older era may end, or fall silent, where their first message is one that they do not know. Such
        a server is started a second time with a message that it knows; whichever is ready first is taken.
        """
        if self.known.is_legacy:
            return await self._negotiated(HANDSHAKE if self.spec.protocol == "auto" else self.spec.protocol)
        if self.known.protocol != "auto":
            return await self._negotiated(self.known.protocol)
        first = asyncio.ensure_future(self._negotiated("auto"))
        try:
            await asyncio.wait({first}, timeout=MUTE_S)
        except BaseException:
            first.cancel()
            raise
        if first.done() and not isinstance(first.exception(), OSError):
            started = first.result()
        else:
            started = await self._first_of(first, asyncio.ensure_future(self._negotiated(HANDSHAKE)))
        self.known.protocol = MODERN if started[1].modern else HANDSHAKE
        return started

    async def learn_protocol(self) -> None:
        """Start a server on stdio, see which protocol it speaks, and end it. Raises TargetError, OSError."""
        pipe, _ = await self.start_pipe()
        self.spawn(self.end_pipe(pipe))

    async def _first_of(self, *starts: asyncio.Future[tuple[Channel, Session]]) -> tuple[Channel, Session]:
        """The server that is ready first; the others are ended. Raises what the last one raised where none is."""
        waiting, ready = set(starts), None
        try:
            while waiting and ready is None:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                ready = next((each for each in done if each.exception() is None), None)
        finally:
            for each in starts:
                each.cancel()
                if each is not ready and each.done() and not each.cancelled() and each.exception() is None:
                    self.spawn(self.end_pipe(each.result()[0]))
        return (ready or starts[-1]).result()

    async def _negotiated(self, protocol: str) -> tuple[Channel, Session]:
        pipe = await self._new_channel()
        self._pipes.add(pipe)
        try:
            return pipe, await negotiate(pipe, protocol, self.where)
        except BaseException:
            self.spawn(self.end_pipe(pipe))
            raise

    async def _new_channel(self) -> Channel:
        if self.known.is_legacy:
            return await EventChannel.start(self, self.answers, self.capabilities)
        folder = str(Path(self.folder) / self.spec.cwd) if self.spec.cwd else self.folder or None
        return await Pipe.start(self.command, self.env, folder, self.answers, self.capabilities)

    async def finds_legacy(self) -> bool:
        """Whether the URL is that of an event stream, as a server of 2024-11-05 has it; this is then known."""
        if self.spec.protocol == MODERN:
            return False
        try:
            channel = await EventChannel.start(self, self.answers, self.capabilities)
        except (OSError, TimeoutError):
            return False
        await channel.close()
        self.known.is_legacy = True
        return True

    async def end_pipe(self, pipe: Channel) -> None:
        await pipe.close()
        self._pipes.discard(pipe)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task and hold a reference to it, so that it is not garbage-collected."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def notify(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that sends a notification, which the end of the load waits for a little."""
        self._notifications.append(self.spawn(work))
        self._notifications = [task for task in self._notifications if not task.done()]

    async def close(self) -> None:
        if self._notifications:
            await asyncio.wait(self._notifications, timeout=NOTIFIED_S)
        if self._renewal is not None:
            self._renewal.close()
        for listener in self._listeners.values():
            listener.close()
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
