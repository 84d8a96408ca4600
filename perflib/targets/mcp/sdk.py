"""The same operations through the official SDK's client (`client = "sdk"`), its own cost included.

Its response cache is off, and its connection pool has no limit. It needs the extra `service` (package mcp).
"""

from __future__ import annotations

import asyncio
import os
import time
import warnings
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from perflib.errors import TargetError
from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.suite.environment import from_environment
from perflib.targets.base import Driver, Lane, in_words
from perflib.targets.evidence import Evidence
from perflib.targets.http.request import one_header_line
from perflib.targets.mcp.session import MOST_NAMES, Session, about_server, session_spans
from perflib.targets.mcp.wire import MODERN, SESSION, McpRequest, outcome, server_time_ns
from perflib.targets.template import UnfilledError

if TYPE_CHECKING:
    from mcp import Client

    from perflib.targets.mcp.pool import Pool

clock = time.monotonic_ns
_CONNECTION_CLOSED: Final = -32000


async def enter_client(pool: Pool, stack: AsyncExitStack) -> Client:
    """A connected client of the SDK; the stack closes it. Raises TargetError where the SDK is not installed."""
    try:
        import httpx2
        from mcp import Client, StdioServerParameters
        from mcp.client.streamable_http import streamable_http_client
    except ImportError as error:
        mend = 'pip install "perflib-workbench[service]"'
        raise TargetError(f'client = "sdk" needs {error.name!r}', where=pool.where, mend=mend) from None
    import logging

    for name in ("mcp", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="mcp")
    warnings.filterwarnings("ignore", message=".*2026-07-28.*")
    protocol = pool.spec.protocol
    mode = "auto" if protocol in ("auto", MODERN) else "legacy"  # pinned, it would not ask the server who it is
    if pool.address is None:
        command, *args = pool.command
        cwd = str(Path(pool.folder) / pool.spec.cwd) if pool.spec.cwd else pool.folder or None
        server: Any = StdioServerParameters(command=command, args=args, env={**os.environ, **pool.env}, cwd=cwd)
    else:
        headers = {name: one_header_line(value) for name, value in pool.headers.items()}
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        http = await stack.enter_async_context(  # its proxies are not taken from the environment
            httpx2.AsyncClient(headers=headers, timeout=None, limits=limits, trust_env=False)
        )
        url = from_environment(pool.spec.url or "", f"{pool.where}.url")
        server = streamable_http_client(url, http_client=http)
    client = await stack.enter_async_context(Client(server, mode=mode, cache=None))
    if protocol == MODERN and client.protocol_version != MODERN:
        raise TargetError(f"the server does not speak {MODERN}", where=pool.where, mend='set protocol = "auto"')
    return client


class ConnectedClient:
    """A client that stays connected. One task enters and leaves it, since its cancel scopes belong to a task."""

    client: Client
    transport = "http"

    def __init__(self, pool: Pool) -> None:
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._task = pool.spawn(self._stay_connected(pool))

    @classmethod
    async def start(cls, pool: Pool) -> ConnectedClient:
        """Connect. Raises TargetError, OSError."""
        connected = cls(pool)
        connected.client = await connected._ready
        return connected

    async def _stay_connected(self, pool: Pool) -> None:
        try:
            async with AsyncExitStack() as stack:
                self._ready.set_result(await enter_client(pool, stack))
                await self._stop.wait()
        except Exception as problem:
            if not self._ready.done():
                self._ready.set_exception(_plain(problem, pool.where))

    @property
    def session(self) -> Session:
        """The negotiated session."""
        version, server = self.client.protocol_version, self.client.server_info
        about = {
            "protocol_version": version,
            "era": "modern" if version == MODERN else "handshake",
            "transport": self.transport,
            "server": about_server(server.model_dump(mode="json", by_alias=True, exclude_none=True))
            if server
            else None,
            "capabilities": sorted(self.client.server_capabilities.model_dump(exclude_none=True))[:MOST_NAMES],
        }
        return Session(version, version == MODERN, about=about)

    async def close(self) -> None:
        self._stop.set()
        try:
            async with asyncio.timeout(10):
                await asyncio.shield(self._task)
        except (TimeoutError, asyncio.CancelledError):
            self._task.cancel()


async def shared_client(pool: Pool) -> ConnectedClient:
    """The client that all lanes share; the processes that it starts become the pool's `children`."""
    before = {child.pid for child in psutil.Process().children()}
    connected = await ConnectedClient.start(pool)
    if pool.address is None:
        connected.transport = "stdio"
        pool.children = tuple(child.pid for child in psutil.Process().children() if child.pid not in before)
    return connected


class SdkLane(Lane):
    """One call at a time."""

    __slots__ = ("_client", "_pool", "_task")

    def __init__(self, driver: Driver, index: int, pool: Pool) -> None:
        super().__init__(driver, index)
        self._pool = pool
        self._client: ConnectedClient | None = pool.sdk_client if pool.spec.session == "shared" else None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.start_ns = clock()
        self._task = self._pool.spawn(self._serve())

    async def _serve(self) -> None:
        """Calls until the driver has no further request for this lane."""
        finish, me, more = self.driver.finish, asyncio.current_task(), True
        while more:
            self.start_ns = clock()
            spans: list[tuple[str, int, int]] = []
            server_ns = NONE_NS
            try:
                try:
                    params = self.op.request.params(self.row)
                except Exception as problem:  # nothing fills a name
                    raise UnfilledError(in_words(problem)) from None
                answer = await self._call(self.op.request, params, spans)
                now = clock()
                error, server_ns = self._read(answer)
            except asyncio.CancelledError:
                return  # aborted; `abort` has written the row
            except Exception as problem:
                name = _error_class(problem)
                self.driver.explain(name, in_words(problem))
                now, error = clock(), self.driver.error_code(name)
            if self._task is not me:
                return
            for span in spans:
                self.driver.span(*span)
            more = finish(self, now, NONE_NS, error, NONE_STATUS, 0, 0, server_ns)
            if error and more:
                await asyncio.sleep(0.001)  # no tight loop against a server that is gone

    async def _call(self, request: McpRequest, params: dict[str, Any], spans: list[tuple[str, int, int]]) -> Any:
        if request.method == SESSION:
            began = clock()
            async with AsyncExitStack() as stack:
                client = await enter_client(self._pool, stack)
                opened = clock()
                answer = await call(client, "tools/call" if "name" in params else "tools/list", params)
                worked = clock()
            spans += session_spans(began, opened, worked, clock())
            return answer
        if self._client is None:
            began = clock()
            self._client = await ConnectedClient.start(self._pool)
            self._pool.sdk_clients.append(self._client)
            spans.append(("session", began, clock() - began))
        return await call(self._client.client, request.method, params)

    def evidence(self, is_answered: bool) -> Evidence:
        return Evidence(self.op.request.in_words(self.row).decode("utf-8", "replace"))

    def _read(self, answer: Any) -> tuple[int, int]:
        if self.op.reader is not None:
            result = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
            return outcome(self, {"result": result}, None)
        failed = bool(getattr(answer, "is_error", False))
        return (self.driver.error_code("mcp_tool") if failed else 0), server_time_ns({"_meta": answer.meta})

    def abort(self, error: str) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None
        code = self.driver.error_code(error)
        if self.driver.finish(self, clock(), NONE_NS, code, NONE_STATUS, 0, 0, NONE_NS):
            self.start()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()


async def call(client: Client, method: str, params: dict[str, Any]) -> Any:
    """One operation by the name of its method."""
    meta = params.get("_meta")
    match method:
        case "tools/call":
            return await client.call_tool(params["name"], params.get("arguments") or {}, meta=meta)
        case "tools/list":
            return await client.list_tools(cursor=params.get("cursor"), meta=meta)
        case "resources/list":
            return await client.list_resources(cursor=params.get("cursor"), meta=meta)
        case "resources/templates/list":
            return await client.list_resource_templates(cursor=params.get("cursor"), meta=meta)
        case "resources/read":
            return await client.read_resource(params["uri"], meta=meta)
        case "prompts/list":
            return await client.list_prompts(cursor=params.get("cursor"), meta=meta)
        case "prompts/get":
            return await client.get_prompt(params["name"], params.get("arguments"), meta=meta)
        case "ping":
            return await client.send_ping(meta=meta)
    raise TargetError(f"the SDK's client does not do {method!r}", mend='use client = "lean"')


def _error_class(problem: BaseException) -> str:
    """The class a row names, the same as the lean client's where both can tell."""
    from mcp.shared.exceptions import MCPError

    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    if isinstance(problem, MCPError):
        return "reset" if problem.code == _CONNECTION_CLOSED else "mcp_rpc"
    if isinstance(problem, UnfilledError):
        return "template"
    if isinstance(problem, TargetError):
        return "mcp_session"
    if isinstance(problem, TimeoutError):
        return "timeout"
    return (
        "connect"
        if isinstance(problem, OSError) or "Connect" in type(problem).__name__
        else f"exception:{type(problem).__name__}"
    )


def _plain(problem: BaseException, where: str) -> Exception:
    """The first problem of a group, as an error of this package."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    if isinstance(problem, TargetError | OSError):
        return problem
    return TargetError(f"the SDK's client cannot connect: {problem}"[:300], where=where, mend="is this an MCP server?")
