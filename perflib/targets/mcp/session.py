"""Sessions with an MCP server: how one is negotiated, over HTTP or stdio, and what later messages need of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from perflib.errors import TargetError
from perflib.targets.connection import Address
from perflib.targets.exchange import HttpClient
from perflib.targets.http.request import one_header_line, parse_json
from perflib.targets.mcp.wire import CLIENT, FIRST_ID, HANDSHAKE, HANDSHAKE_VERSIONS, MODERN, Events, encode_request
from perflib.text import one_line

DISCOVER_S: Final = 10.0
MOST_NAMES: Final = 64  # of capabilities, and of what a server says of itself
_UNSUPPORTED: Final = -32022


@dataclass(frozen=True, slots=True)
class Session:
    """The negotiated session.

    head   request line and header lines of every POST, except its length and routing; empty over stdio
    """

    version: str
    modern: bool
    id: str = ""
    head: bytes = b""
    about: Mapping[str, Any] = field(default_factory=dict)


class McpConnection(Protocol):
    """Carries single messages: a request and its JSON-RPC answer, or a notification."""

    transport: str

    async def ask(self, method: str, params: Mapping[str, Any], *, modern: bool = False) -> dict[str, Any]:
        """The answer, {"result": …} or {"error": …}. Raises OSError where the server is gone."""
        ...

    async def notify(self, method: str) -> None:
        """Send a notification, which has no answer."""
        ...


async def negotiate(connection: McpConnection, protocol: str, where: str) -> Session:
    """Agree on an era as the specification's clients do: `server/discover` first, else `initialize`.

    Raises TargetError, OSError.
    """
    if protocol in ("auto", MODERN):
        answer = await _discover(connection, patient=protocol == MODERN)
        if session := _modern_session(connection, answer):
            return session
        error = _table(answer.get("error"))
        if protocol == MODERN or (
            error.get("code") == _UNSUPPORTED and not _supported(error) & set(HANDSHAKE_VERSIONS)
        ):
            what = f"the server does not speak {MODERN}: {error.get('message', 'it answered nothing like it')}"
            raise TargetError(what[:300], where=where, mend='set protocol = "auto"')
    version = HANDSHAKE if protocol == "auto" else protocol
    answer = await _initialize(connection, version)
    error, result = _table(answer.get("error")), answer.get("result")
    if protocol == "auto" and error.get("code") == _UNSUPPORTED and MODERN in _supported(error):
        answer = await _discover(
            connection, patient=True
        )  # it was slow to answer, and has settled on the modern era by now
        if session := _modern_session(connection, answer):
            return session
    if not isinstance(result, dict):
        what = f"the server refused `initialize`: {error.get('message', 'no JSON-RPC answer')}"
        raise TargetError(what[:300], where=where, mend="is this URL or command an MCP server?")
    agreed = str(result.get("protocolVersion", version))
    await connection.notify("notifications/initialized")
    return Session(agreed, False, about=_about(connection, agreed, result.get("serverInfo"), result))


async def _discover(connection: McpConnection, *, patient: bool) -> dict[str, Any]:
    try:
        async with asyncio.timeout(None if patient else DISCOVER_S):
            return await connection.ask("server/discover", {}, modern=True)
    except TimeoutError:  # a server of the older era may ignore a method that it does not know
        return {}


def _modern_session(connection: McpConnection, answer: Mapping[str, Any]) -> Session | None:
    """The session of the modern era that an answer to `server/discover` allows, or None."""
    result = _table(answer.get("result"))
    versions = result.get("supportedVersions")
    if not isinstance(versions, list) or MODERN not in versions:
        return None
    server = _table(result.get("_meta")).get("io.modelcontextprotocol/serverInfo", result.get("serverInfo"))
    return Session(MODERN, True, about=_about(connection, MODERN, server, result))


async def _initialize(connection: McpConnection, version: str) -> dict[str, Any]:
    return await connection.ask("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT})


def _about(connection: McpConnection, version: str, server: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "protocol_version": one_line(version, 40),
        "era": "modern" if version == MODERN else "handshake",
        "transport": connection.transport,
        "server": about_server(server),
        "capabilities": sorted(one_line(name, 80) for name in list(_table(result.get("capabilities")))[:MOST_NAMES]),
    }


def about_server(server: Any) -> dict[str, str] | None:
    """What a server says of itself: short texts in one line, and no more than a few."""
    texts = {one_line(key, 40): value for key, value in list(_table(server).items())[:MOST_NAMES]}
    return {key: one_line(value, 200) for key, value in texts.items() if isinstance(value, str)} or None


def _supported(error: Mapping[str, Any]) -> set[str]:
    """The versions that an error names as supported."""
    versions = _table(error.get("data")).get("supported")
    return {v for v in versions if isinstance(v, str)} if isinstance(versions, list) else set()


def _table(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one: a server may answer anything."""
    return value if isinstance(value, dict) else {}


async def call_or_list(connection: McpConnection, session: Session, params: Mapping[str, Any]) -> dict[str, Any]:
    """Call the tool that the parameters name, or list the tools where they name none. Raises OSError."""
    return await connection.ask("tools/call" if "name" in params else "tools/list", params, modern=session.modern)


def session_spans(began: int, opened: int, worked: int, ended: int) -> list[tuple[str, int, int]]:
    """The spans of a whole session, from the times in ns at which its steps began and ended."""
    return [
        ("session:open", began, opened - began),
        ("session:work", opened, worked - opened),
        ("session:end", worked, ended - worked),
    ]


class HttpConnection:
    """Single messages over streamable HTTP, on a connection of their own."""

    transport = "http"

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        self._address, self._headers = address, headers
        self._client = HttpClient(address)
        self._number = FIRST_ID // 2
        self.session_id = self.version = ""

    def head(self, version: str) -> bytes:
        """Request line and headers of a POST, except its length and routing."""
        fields = {
            "Host": self._address.authority, "User-Agent": "perflib", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }  # fmt: skip
        if version:
            fields["MCP-Protocol-Version"] = version
        if self.session_id:
            fields["Mcp-Session-Id"] = self.session_id
        own = {key.lower() for key in self._headers}
        if self._address.authorization and "authorization" not in own:
            fields["Authorization"] = self._address.authorization
        fields |= self._headers
        lines = "".join(f"{key}: {one_header_line(value)}\r\n" for key, value in fields.items())
        query = f"?{self._address.query}" if self._address.query else ""
        return f"POST {self._address.base_path or '/'}{query} HTTP/1.1\r\n{lines}".encode()

    async def ask(self, method: str, params: Mapping[str, Any], *, modern: bool = False) -> dict[str, Any]:
        self._number += 1
        request = encode_request(method, params, modern=modern)
        version = MODERN if modern else "" if method == "initialize" else self.version
        status, headers, body = await self.post(request.body(self._number), self.head(version) + request.lines)
        if method == "initialize":
            self.session_id = headers.get("mcp-session-id", "")
        answer = json_rpc(body, self._number)
        if isinstance(answer, dict) and ("result" in answer or "error" in answer):
            if method == "initialize":
                self.version = str(_table(answer.get("result")).get("protocolVersion", HANDSHAKE))
            return answer
        return {"error": {"code": 0, "message": f"HTTP status {status}"}}

    async def notify(self, method: str) -> None:
        await self.post(json.dumps({"jsonrpc": "2.0", "method": method}).encode(), self.head(self.version))

    async def post(self, body: bytes, head: bytes) -> tuple[int, dict[str, str], bytes]:
        return await self._client.request(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def end_session(self) -> None:
        """DELETE the session, where there is one. Raises OSError."""
        if self.session_id:
            head = self.head(self.version).replace(b"POST", b"DELETE", 1)
            await self._client.request(head + b"Content-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._client.close()


async def open_http(
    address: Address, headers: Mapping[str, str], protocol: str, where: str
) -> tuple[HttpConnection, Session]:
    """A negotiated session over HTTP, and the connection that holds it. Raises TargetError, OSError."""
    connection = HttpConnection(address, headers)
    try:
        agreed = await negotiate(connection, protocol, where)
    except BaseException:
        connection.close()
        raise
    return connection, Session(
        agreed.version, agreed.modern, connection.session_id, connection.head(agreed.version), agreed.about
    )


def json_rpc(body: bytes, number: int) -> Any:
    """The answer to request `number` in a body: JSON, or the server-sent event that carries it."""
    if body[:1] == b"{":
        return parse_json(body.decode("utf-8", "replace"))
    for message in Events().feed(body + b"\n\n"):
        if isinstance(message, dict) and message.get("id") == number and "method" not in message:
            return message
    return None
