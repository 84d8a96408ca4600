"""The same operations through the official SDK's client (`client = "sdk"`), its own cost included.

Its response cache is off, and its connection pool has no limit. It needs the extra `service` (package mcp).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from perflib.errors import TargetError, install
from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.suite.environment import from_environment
from perflib.targets.base import Driver, Lane, in_words
from perflib.targets.evidence import BODY_BYTES, Evidence
from perflib.targets.http.request import one_header_line
from perflib.targets.mcp.results import outcome, problem_of
from perflib.targets.mcp.session import MOST_NAMES, Session, about_server, refusal, session_spans
from perflib.targets.mcp.steps import MOST_STEPS
from perflib.targets.mcp.wire import HANDSHAKE, MODERN, SESSION, McpRequest, server_time_ns
from perflib.targets.template import UnfilledError
from perflib.text import one_line

if TYPE_CHECKING:
    from mcp import Client

    from perflib.targets.mcp.pool import Pool

clock = time.monotonic_ns
_CONNECTION_CLOSED: Final = -32000
_UNKNOWN_REFUSAL: Final = "Server returned an error response"  # what the SDK says of any status from 400 on


async def enter_client(pool: Pool, stack: AsyncExitStack) -> Client:
    """A connected client of the SDK; the stack closes it. Raises TargetError where the SDK is not installed."""
    try:
        import httpx2
        from mcp import Client, StdioServerParameters
        from mcp.client.sse import sse_client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared.exceptions import MCPError
        from pydantic import ValidationError
    except ImportError as error:
        raise TargetError(f'client = "sdk" needs {error.name!r}', where=pool.where, mend=install("mcp")) from None
    import logging

    import jsonschema  # noqa: F401 (the client imports it with its first answer, which would be a slow one)

    for name in ("mcp", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="mcp")
    warnings.filterwarnings("ignore", message=".*2026-07-28.*")
    protocol = pool.known.protocol
    mode = "auto" if protocol in ("auto", MODERN) else "legacy"  # pinned, it would not ask the server who it is
    if not pool.is_http:
        command, *args = pool.command
        cwd = str(Path(pool.folder) / pool.spec.cwd) if pool.spec.cwd else pool.folder or None
        server: Any = StdioServerParameters(command=command, args=args, env={**os.environ, **pool.env}, cwd=cwd)
    else:
        headers = {name: one_header_line(value) for name, value in pool.headers.items()}
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        hooks: dict[str, Any] = {"request": [partial(_add_token, pool)], "response": [partial(_look_at_status, pool)]}

        def new_client(*_: Any, **__: Any) -> httpx2.AsyncClient:  # its proxies are not taken from the environment
            return httpx2.AsyncClient(headers=headers, timeout=None, limits=limits, trust_env=False, event_hooks=hooks)

        url = from_environment(pool.spec.url or "", f"{pool.where}.url")
        if pool.known.is_legacy:
            server = sse_client(url, sse_read_timeout=86_400, httpx_client_factory=new_client)
        else:
            server = streamable_http_client(url, http_client=await stack.enter_async_context(new_client()))
    if pool.known.is_legacy:
        mode = "legacy"
    client = await stack.enter_async_context(Client(server, mode=mode, cache=None, **_callbacks(pool)))
    if protocol == MODERN and client.protocol_version != MODERN:
        raise TargetError(f"the server does not speak {MODERN}", where=pool.where, mend='set protocol = "auto"')
    if protocol == "auto":
        pool.known.protocol = MODERN if client.protocol_version == MODERN else HANDSHAKE
    if pool.calls_tools:
        with contextlib.suppress(MCPError, ValidationError):  # for schemas, and arguments that are headers
            await client.list_tools()
    return client


async def _add_token(pool: Pool, request: Any) -> None:
    """Add the token to a request of the SDK."""
    name, _, value = pool.token_line.decode().strip().partition(": ")
    if name:
        request.headers[name] = value


async def _look_at_status(pool: Pool, response: Any) -> None:
    """Notice what the server refused, which the SDK does not say."""
    if response.status_code == 401:
        pool.token_refused()
    if response.status_code >= 400:
        pool.last_refusal = (
            response.status_code,
            refusal(response.status_code, response.headers, await response.aread()),
        )


def _callbacks(pool: Pool) -> dict[str, Any]:
    """What the SDK's client answers to requests of the server, as the suite says."""
    import mcp_types as types

    kinds: dict[str, tuple[str, Any]] = {
        "elicitation/create": ("elicitation_callback", types.ElicitResult),
        "sampling/createMessage": ("sampling_callback", types.CreateMessageResult),
        "roots/list": ("list_roots_callback", types.ListRootsResult),
    }

    def answering(kind: Any, answer: dict[str, Any]) -> Any:
        result = kind.model_validate(answer)

        async def callback(*asked: Any) -> Any:
            return result

        return callback

    return {
        kinds[method][0]: answering(kinds[method][1], answer)
        for method, answer in pool.answers.items()
        if method in kinds
    }


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
                self._ready.set_exception(_plain(problem, pool))

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

    async def close_later(self) -> None:
        """Close it when the other calls on it have had time to fail for themselves."""
        await asyncio.sleep(1.0)
        await self.close()

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
    if not pool.is_http:
        connected.transport = "stdio"
        pool.children = tuple(child.pid for child in psutil.Process().children() if child.pid not in before)
    return connected


class SdkLane(Lane):
    """One call at a time."""

    __slots__ = ("_answer", "_client", "_pool", "_task", "_used")

    def __init__(self, driver: Driver, index: int, pool: Pool) -> None:
        super().__init__(driver, index)
        self._pool = pool
        self._client: ConnectedClient | None = None  # of its own
        self._used: ConnectedClient | None = None  # of the call in flight
        self._answer: Any = None  # to the call that is being finished
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
            server_ns, self._answer = NONE_NS, None
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
                now = clock()
                error = self._failed(problem)
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
        shared = self._pool.spec.session == "shared"
        connected = self._pool.sdk_client if shared else self._client
        if connected is None:
            began = clock()
            connected = await self._connect(shared)
            spans.append(("session", began, clock() - began))
        self._used = connected
        if request.all_pages:
            return await all_pages(connected.client, request.method, params)
        return await call(connected.client, request.method, params)

    async def _connect(self, shared: bool) -> ConnectedClient:
        """A client of its own, or the shared one, connected again where its session was lost."""
        pool = self._pool
        if not shared:
            self._client = await ConnectedClient.start(pool)
            pool.sdk_clients.append(self._client)
            return self._client
        async with pool.negotiating:
            if pool.sdk_client is None:
                pool.sdk_client = await shared_client(pool)
                pool.sdk_clients.append(pool.sdk_client)
        return pool.sdk_client  # type: ignore[no-any-return]

    def _failed(self, problem: Exception) -> int:
        """The error code of a call that raised. A session that is over is given up, and begun anew by the next call."""
        name, why = _error_class(problem, self.op.request.result_of)
        if why == _UNKNOWN_REFUSAL and self._pool.last_refusal is not None:
            status, why = self._pool.last_refusal
            name = f"http_{status // 100}xx"
        if name == "reset" and not self._pool.is_http and not self._pool.spec.restart:
            self.driver.stop(f"target {self._pool.name!r} died: {why}")
        if name in ("mcp_session", "reset"):
            self._client = None
            if self._pool.sdk_client is self._used:
                self._pool.sdk_client = None
            if self._used is not None:
                self._pool.spawn(self._used.close_later())
        self.driver.explain(name, why)
        return self.driver.error_code(name)

    def evidence(self, is_answered: bool) -> Evidence:
        answer, self._answer = self._answer, None
        body = json.dumps({"result": _dumped(answer)}, ensure_ascii=False)[:BODY_BYTES] if answer is not None else ""
        return Evidence(self.op.request.in_words(self.row).decode("utf-8", "replace"), body=body)

    def _read(self, answer: Any) -> tuple[int, int]:
        if self.op.reader is not None:
            return outcome(self, {"result": _dumped(answer)}, None)
        if getattr(answer, "is_error", False):
            self._answer = answer
            self.driver.explain("mcp_tool", Evidence(body=json.dumps({"result": _dumped(answer)})).message)
            return self.driver.error_code("mcp_tool"), server_time_ns({"_meta": answer.meta})
        kind = getattr(answer, "result_type", None) or "complete"  # the SDK takes any
        name, why = problem_of("", {"resultType": kind})
        if name:
            self.driver.explain(name, why)
        return self.driver.error_code(name) if name else 0, server_time_ns({"_meta": answer.meta})

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
    return await client.session.send_request(_any_request(method, params), _any_result())


async def all_pages(client: Client, method: str, params: dict[str, Any]) -> Any:
    """A list to its end; its last page."""
    params = dict(params)
    for _ in range(MOST_STEPS):
        page = await call(client, method, params)
        cursor = getattr(page, "next_cursor", None)
        if not cursor or cursor == params.get("cursor"):
            break
        params["cursor"] = cursor
    return page


def _any_request(method: str, params: dict[str, Any]) -> Any:
    """A request of a method that the SDK has no function for."""
    import mcp_types as types

    return types.Request[dict[str, Any], str](method=method, params=params)


@functools.cache
def _any_result() -> Any:
    """A result of any shape."""
    import mcp_types as types
    from pydantic import ConfigDict

    class AnyResult(types.Result):
        model_config = ConfigDict(extra="allow")

    return AnyResult


def _dumped(answer: Any) -> Any:
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


def _error_class(problem: BaseException, method: str) -> tuple[str, str]:
    """The class a row names, the same as the lean client's where both can tell, and why."""
    from mcp.client import InputRequiredRoundsExceededError
    from mcp.shared.exceptions import MCPError
    from pydantic import ValidationError

    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    why = one_line(str(problem), 300)
    match problem:
        case MCPError() if problem.message.endswith("not supported") and problem.message != "Method not supported":
            return "mcp_input", f"the server asks for input: {why}"
        case MCPError() if "session" in problem.message.lower():
            return "mcp_session", why
        case MCPError():
            return "reset" if problem.code == _CONNECTION_CLOSED else "mcp_rpc", why
        case InputRequiredRoundsExceededError():
            return "mcp_input", why
        case ValidationError():
            return _of_invalid(problem.errors(include_url=False, include_context=False), method)
        case RuntimeError() if "structured content" in why:
            return "mcp_schema", why
        case UnfilledError():
            return "template", in_words(problem)
        case TargetError():
            return "mcp_session", why
        case TimeoutError():
            return "timeout", why
    if isinstance(problem, OSError) or "Connect" in type(problem).__name__:
        return "connect", in_words(problem)
    return f"exception:{type(problem).__name__}", in_words(problem)


def _of_invalid(errors: Sequence[Any], method: str) -> tuple[str, str]:
    """The class of a result that the SDK's client refused to read."""
    for error in errors:
        result = error.get("input")
        if isinstance(result, dict):
            name, why = problem_of(method, result)
            if name:
                return name, why
    first = errors[0]
    where = ".".join(map(str, first.get("loc", ())))
    return "mcp_result", one_line(f"the SDK's client cannot read the result: {where}: {first.get('msg')}", 300)


def _plain(problem: BaseException, pool: Pool) -> Exception:
    """The first problem of a group, as an error of this package."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    if isinstance(problem, TargetError | OSError):
        return problem
    why = str(problem)
    if why == _UNKNOWN_REFUSAL and pool.last_refusal is not None:
        why = pool.last_refusal[1]
    return TargetError(f"the SDK's client cannot connect: {why}"[:300], where=pool.where, mend="is this an MCP server?")
