"""The target kind "mcp": its checks, and its sessions, shared by all lanes or one per lane."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

from perflib.errors import TargetError
from perflib.suite.auth import LoginAuth, OAuthAuth
from perflib.suite.operation import McpOperation
from perflib.suite.target import McpTargetSpec
from perflib.targets.base import Driver, Lane, TargetKind, refuse_http_only, require
from perflib.targets.connection import check_url
from perflib.targets.mcp.http import McpHttpLane
from perflib.targets.mcp.pool import Pool
from perflib.targets.mcp.session import Session
from perflib.targets.mcp.stdio import McpStdioLane
from perflib.targets.mcp.wire import HANDSHAKE_VERSIONS, MODERN, McpRequest

_METHOD: Final = re.compile(r"[!-~]{1,200}")
_OWN_HEADERS: Final = (
    "accept", "content-length", "content-type", "host", "mcp-method", "mcp-name", "mcp-protocol-version",
    "mcp-session-id", "transfer-encoding",
)  # fmt: skip
PROTOCOLS: Final = ("auto", *HANDSHAKE_VERSIONS, MODERN)


class McpTarget(TargetKind):
    """`url = "http://…/mcp"` (streamable HTTP) or `command = ["npx", "some-server"]` (stdio).

    session   "shared": one for all connections of a worker (default) · "own": one per connection; over stdio each of
              them is a process
    client    "lean": messages encoded beforehand, read no further than needed (default)
              · "sdk": the official SDK's client
    protocol  "auto": what the server speaks (default), or a version, as "2025-11-25"
    trace     whether requests carry a W3C trace context, so that the server's spans can be matched with them
    """

    spec: McpTargetSpec

    def __init__(self, name: str, spec: McpTargetSpec, *, folder: str = "") -> None:
        super().__init__(name, spec, folder=folder)
        self.pool = Pool(name, spec, folder)
        self._about: dict[str, Any] = {}
        self._requests: list[McpRequest] = []

    @classmethod
    def check(cls, name: str, spec: McpTargetSpec, operations: list[McpOperation]) -> None:
        where = f"targets.{name}"
        one = bool(spec.url) != bool(spec.command)
        require(one, "an MCP target needs a url or a command", where=where, mend="give exactly one of them")
        if spec.url:
            check_url(name, spec)
        require(spec.url or spec.auth is None, "auth is for servers over HTTP", where=f"{where}.auth", mend="use env")
        what, mend = "the SDK's client does not poll tasks", 'use client = "lean"'
        require(not (spec.poll_tasks and spec.client == "sdk"), what, where=f"{where}.poll_tasks", mend=mend)
        per_user = isinstance(spec.auth, LoginAuth) and spec.auth.per == "user"
        what, mend = "an MCP server's users share a token", 'set per = "worker", or headers of the operations'
        require(not per_user, what, where=f"{where}.auth.per", mend=mend)
        known = f"known: {', '.join(PROTOCOLS)}"
        require(
            spec.protocol in PROTOCOLS, f"unknown protocol {spec.protocol!r}", where=f"{where}.protocol", mend=known
        )
        for method, answer in spec.answers.items():
            what, mend = "an answer is a table", 'as { action = "accept", content = { name = "Ann" } }'
            require(isinstance(answer, Mapping), what, where=f"{where}.answers.{method}", mend=mend)
        for operation in operations:
            _check_operation(operation, spec)

    def compile(self, operation: McpOperation) -> McpRequest:
        request = McpRequest.of(operation, self.pool.trace_id, self.pool.capabilities)
        self._requests.append(request)
        self.pool.calls_tools |= request.tool is not None
        return request

    def lane(self, driver: Driver, index: int) -> Lane:
        if self.spec.client == "sdk":
            from perflib.targets.mcp.sdk import SdkLane

            return SdkLane(driver, index, self.pool)
        return (McpStdioLane if self.pool.is_channel else McpHttpLane)(driver, index, self.pool)

    async def open(self, driver: Driver | None = None) -> None:
        """Connect and negotiate: for the shared session, or to learn which server it is.

        Raises TargetError where no server answers.
        """
        self.pool.allow_hosts = self.allow_hosts
        self.pool.fill_headers(self.given)
        await self.pool.get_token()
        try:
            async with asyncio.timeout(self.spec.ready.timeout_s):
                session = await self._open()
        except (OSError, TimeoutError) as error:
            raise self._unreachable(error) from None
        self._about = {**session.about, "client": self.spec.client, "session": self.spec.session}
        if self.pool.trace_id:
            self._about["trace_id"] = self.pool.trace_id

    def _unreachable(self, error: Exception) -> TargetError:
        """Why no session could be begun."""
        where, why = self.pool.where, (error.strerror if isinstance(error, OSError) else None) or str(error)
        if isinstance(error, TimeoutError):
            what, mend = f"the MCP server did not answer within {self.spec.ready.timeout_s:g} s", "is it running?"
        elif not self.pool.is_http:
            what, mend = f"the MCP server does not start: {why}", "try its command in a terminal"
        else:
            what, mend = f"cannot reach the MCP server: {why}", "is it running?"
        return TargetError(what, where=where, mend=mend)

    async def _open(self) -> Session:
        if self.spec.client == "sdk":
            from perflib.targets.mcp.sdk import shared_client

            if not self.pool.is_http and self.pool.known.protocol == "auto":
                await self.pool.learn_protocol()  # the SDK's client does not start a server again that ended
            try:
                client = await shared_client(self.pool)
            except TargetError:
                if not (self.pool.is_http and await self.pool.finds_legacy()):
                    raise
                client = await shared_client(self.pool)
            self.pool.sdk_client = client if self.spec.session == "shared" else None
            self.pool.sdk_clients.append(client)
            self.children = self.pool.children
            return client.session
        shared = self.spec.session == "shared"
        if self.pool.is_http and (session := await self._streamable()) is not None:
            self.pool.session = session
        else:
            pipe, session = await self.pool.start_pipe()
            self.pool.pipe, self.pool.session = pipe, session
            self.children = (pipe.pid,) if pipe.pid else ()
        await self.pool.learn_tools(self._requests)
        if not shared:
            first, self.pool.pipe, self.pool.session, self.children = self.pool.pipe, None, None, ()
            if first is not None:
                await self.pool.end_pipe(first)
        return session

    async def _streamable(self) -> Session | None:
        """A session over streamable HTTP; None where the server has only the transport that came before it."""
        try:
            return await self.pool.new_session()
        except TargetError:
            if await self.pool.finds_legacy():
                return None
            raise

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request outside the load on the shared session: {"result": …} or {"error": …}. Raises OSError."""
        return await self.pool.ask(method, params)

    async def close(self) -> None:
        await self.pool.close()

    def hosts(self) -> list[str]:
        if not self.pool.is_http:
            return []
        auth = self.spec.auth
        by_auth = self.pool.address_of(auth.token_url).hosts if isinstance(auth, OAuthAuth) and auth.token_url else []
        return self.pool.address.hosts + by_auth

    def info(self) -> dict[str, Any]:
        return self._about


def _check_operation(operation: McpOperation, spec: McpTargetSpec) -> None:
    at = f"operation {operation.name!r}"
    what, mend = "an MCP operation needs a tool or a method", 'set tool = "name"'
    require(operation.tool or operation.method, what, where=at, mend=mend)
    what, mend = f"not a method: {operation.method!r}", 'write it like "tools/list"'
    require(operation.method is None or _METHOD.fullmatch(operation.method), what, where=at, mend=mend)
    if operation.method == "resources/read":
        require(operation.uri, "resources/read needs a uri", where=at, mend='set uri = "…"')
    twice = {name.lower() for name in operation.headers} & {*map(str.lower, spec.headers), *_OWN_HEADERS}
    what, mend = f"the header {', '.join(twice)} would be sent twice", "give it in one place"
    require(not twice, what, where=f"{at}.headers", mend=mend)
    refuse_http_only(operation)
