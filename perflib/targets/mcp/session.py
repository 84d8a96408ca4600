"""Sessions with an MCP server: how one is negotiated, over HTTP or stdio, and what later messages need of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urljoin, urlsplit

from perflib.errors import TargetError
from perflib.targets.connection import Address
from perflib.targets.evidence import said_in
from perflib.targets.exchange import HttpClient
from perflib.targets.http.request import one_header_line
from perflib.targets.mcp.events import EVENTS, Events, json_answer, kind_of
from perflib.targets.mcp.wire import CLIENT, FIRST_ID, HANDSHAKE, HANDSHAKE_VERSIONS, MODERN, encode_request
from perflib.text import one_line

DISCOVER_S: Final = 10.0
MOST_NAMES: Final = 64  # of capabilities, and of what a server says of itself
MOST_REDIRECTS: Final = 4
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


@dataclass(slots=True)
class Known:
    """What has been learned of a server, so that it is not found out anew for each session.

    protocol   "auto" until it has been negotiated, then the version to ask for
    path       where its URL redirected to, with the query; "" where it did not
    is_legacy  it speaks the transport of 2024-11-05, "HTTP+SSE"
    """

    protocol: str
    path: str = ""
    is_legacy: bool = False


class Site(Protocol):
    """A server over HTTP. `headers`: of every request; `token_line`: the header line of a token that is renewed."""

    headers: dict[str, str]
    capabilities: Mapping[str, Any]
    known: Known
    where: str
    token_line: bytes

    @property
    def address(self) -> Address: ...


class McpConnection(Protocol):
    """Carries single messages: a request and its JSON-RPC answer, or a notification."""

    transport: str
    capabilities: Mapping[str, Any]

    async def ask(self, method: str, params: Mapping[str, Any], *, modern: bool = False) -> dict[str, Any]:
        """The answer, {"result": …} or {"error": …}. Raises OSError where the server is gone."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
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
    if agreed not in HANDSHAKE_VERSIONS:
        what = f"the server speaks version {one_line(agreed, 40)} of the protocol, and no client does"
        raise TargetError(what, where=where, mend=f"known versions: {', '.join((*HANDSHAKE_VERSIONS, MODERN))}")
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
    params = {"protocolVersion": version, "capabilities": dict(connection.capabilities), "clientInfo": CLIENT}
    return await connection.ask("initialize", params)


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

    def __init__(self, site: Site) -> None:
        self._site, self._address = site, site.address
        self.capabilities = site.capabilities
        self._client = HttpClient(site.address)
        self._number = FIRST_ID // 2
        self.session_id = self.version = ""
        self._cookies: dict[str, str] = {}  # of load balancers

    def head(self, version: str, method: str = "POST") -> bytes:
        """Request line and headers, except length, routing and token."""
        fields = {
            "Host": self._address.authority, "User-Agent": "perflib", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }  # fmt: skip
        if version:
            fields["MCP-Protocol-Version"] = version
        if self.session_id:
            fields["Mcp-Session-Id"] = self.session_id
        if self._address.authorization:
            fields["Authorization"] = self._address.authorization
        if self._cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        own = {key.lower() for key in self._site.headers}
        fields = {key: value for key, value in fields.items() if key.lower() not in own} | self._site.headers
        lines = "".join(f"{key}: {one_header_line(value)}\r\n" for key, value in fields.items())
        return f"{method} {self.path} HTTP/1.1\r\n{lines}".encode()

    @property
    def path(self) -> str:
        """What is asked for, with the query."""
        query = f"?{self._address.query}" if self._address.query else ""
        return self._site.known.path or f"{self._address.base_path or '/'}{query}"

    async def ask(self, method: str, params: Mapping[str, Any], *, modern: bool = False) -> dict[str, Any]:
        self._number += 1
        request = encode_request(method, params, modern=modern, capabilities=self.capabilities)
        version = MODERN if modern else "" if method == "initialize" else self.version
        reading = _Reading(self._number)
        status, headers, body = await self._post(request.body(self._number), version, request.lines, reading.feed)
        if method == "initialize":
            self.session_id = headers.get("mcp-session-id", "")
            self._cookies |= cookies_in(headers.get("set-cookie", ""))
        answer = reading.answer(headers, body)
        if isinstance(answer, dict) and ("result" in answer or isinstance(answer.get("error"), dict)):
            if method == "initialize":
                self.version = str(_table(answer.get("result")).get("protocolVersion", HANDSHAKE))
            elif method == "server/discover" and "mcp-session-id" in headers:
                await self._end_stray_session(headers["mcp-session-id"])
            return answer
        return {"error": {"code": 0, "message": refusal(status, headers, body)}}

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method} | ({"params": params} if params else {})
        await self._post(json.dumps(message).encode(), self.version)

    async def _post(
        self,
        body: bytes,
        version: str,
        lines: bytes = b"",
        is_over: Callable[[dict[str, str], bytes], bool] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """POST a message; a redirect within the same origin is followed, and remembered."""
        for _ in range(MOST_REDIRECTS):
            head = self.head(version) + self._site.token_line + lines
            answer = await self._client.request(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), is_over)
            to = self._redirected(answer[0], answer[1])
            if not to or to == self.path:
                break
            self._site.known.path = to
        return answer

    def _redirected(self, status: int, headers: Mapping[str, str]) -> str:
        """Where a redirect leads, which keeps the method and stays within the origin; "" for any other answer."""
        if status not in (307, 308):
            return ""
        to = urlsplit(urljoin(f"{self._address.origin}{self.path}", headers.get("location", "")))
        if f"{to.scheme}://{to.netloc}" != self._address.origin:
            return ""
        return to.path + (f"?{to.query}" if to.query else "")

    async def end_session(self) -> None:
        """DELETE the session, where there is one. Raises OSError."""
        if self.session_id:
            head = self.head(self.version, "DELETE") + self._site.token_line
            await self._client.request(head + b"Content-Length: 0\r\n\r\n")

    async def _end_stray_session(self, session_id: str) -> None:
        """End a session that a server has begun for a method that it does not know."""
        before, self.session_id = self.session_id, session_id
        await self.end_session()
        self.session_id = before

    def close(self) -> None:
        self._client.close()


class _Reading:
    """Reads an answer as it comes, and knows when it has."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._events: Events | None = None
        self._answers: list[Any] = []

    def feed(self, headers: Mapping[str, str], piece: bytes) -> bool:
        """Whether the answer has come."""
        if self._events is None:
            if kind_of(_media_type(headers), piece) != EVENTS:
                return False
            self._events = Events()
        self._keep(self._events.feed(piece))
        return bool(self._answers)

    def answer(self, headers: Mapping[str, str], body: bytes) -> Any:
        """The answer, where the body is over; None where there is none."""
        if self._events is None:
            return json_answer(body, self._number)
        self._keep(self._events.end())
        return self._answers[0] if self._answers else None

    def _keep(self, messages: list[Any]) -> None:
        self._answers += [each for each in messages if isinstance(each, dict) and "method" not in each]


def _media_type(headers: Mapping[str, str]) -> str | None:
    text = headers.get("content-type")
    return text.partition(";")[0].strip().lower() if text is not None else None


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """What an answer that is no JSON-RPC says, for people."""
    said = [f"HTTP status {status}", one_line(said_in(body.decode("utf-8", "replace")), 120)]
    if "location" in headers:
        said.append(f"a redirect to {one_line(headers['location'], 80)}")
    if "www-authenticate" in headers:
        said.append(f"WWW-Authenticate: {one_line(headers['www-authenticate'], 120)}")
    return "; ".join(filter(None, said))


def cookies_in(lines: str) -> dict[str, str]:
    """The cookies of Set-Cookie lines, by name."""
    pairs = (line.partition(";")[0].partition("=") for line in lines.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


async def open_http(site: Site) -> tuple[HttpConnection, Session]:
    """A negotiated session over HTTP, and the connection that holds it. Raises TargetError, OSError."""
    connection = HttpConnection(site)
    try:
        agreed = await negotiate(connection, site.known.protocol, site.where)
    except BaseException:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await connection.end_session()
        connection.close()
        raise
    if site.known.protocol == "auto":
        site.known.protocol = MODERN if agreed.modern else HANDSHAKE
    head = connection.head(agreed.version)
    return connection, Session(agreed.version, agreed.modern, connection.session_id, head, agreed.about)
