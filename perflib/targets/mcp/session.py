"""A session with an MCP server: how it is negotiated, over whatever carries messages, and what later messages need of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from perflib.errors import TargetError
from perflib.targets.connection import Address
from perflib.targets.exchange import Conversation
from perflib.targets.http import one_header_line, parse_json
from perflib.targets.mcp.wire import CLIENT, FIRST_ID, HANDSHAKE, HANDSHAKE_VERSIONS, MODERN, Events, message

DISCOVER_S: Final = 10.0
_UNSUPPORTED: Final = -32022


@dataclass(frozen=True, slots=True)
class Session:
    """What was agreed. `head`: request line and header lines of every POST, all but its length and routing; empty over stdio."""

    version: str
    modern: bool
    id: str = ""
    head: bytes = b""
    about: Mapping[str, Any] = field(default_factory=dict)


class Talk(Protocol):
    """Whatever carries single messages: one request and its JSON-RPC answer, or a notification."""

    transport: str

    async def ask(self, method: str, params: Mapping[str, Any], *, modern: bool = False) -> dict[str, Any]:
        """The answer, {"result": …} or {"error": …}. Raises OSError where the server is gone."""
        ...

    async def tell(self, method: str) -> None: ...


async def negotiate(talk: Talk, protocol: str, where: str) -> Session:
    """Agree on an era as the specification's clients do: `server/discover` first, else `initialize`. Raises TargetError, OSError."""
    if protocol in ("auto", MODERN):
        answer = await _discover(talk, patient=protocol == MODERN)
        if session := _adopted(talk, answer):
            return session
        said = _table(answer.get("error"))
        if protocol == MODERN or (said.get("code") == _UNSUPPORTED and not _supported(said) & set(HANDSHAKE_VERSIONS)):
            what = f"the server does not speak {MODERN}: {said.get('message', 'it answered nothing like it')}"
            raise TargetError(what[:300], where=where, mend='set protocol = "auto"')
    version = HANDSHAKE if protocol == "auto" else protocol
    answer = await _initialize(talk, version)
    said, result = _table(answer.get("error")), answer.get("result")
    if protocol == "auto" and said.get("code") == _UNSUPPORTED and MODERN in _supported(said):
        answer = await _discover(
            talk, patient=True
        )  # it was only slow to answer: by now it has settled on the modern era
        if session := _adopted(talk, answer):
            return session
    if not isinstance(result, dict):
        what = f"the server refused `initialize`: {said.get('message', 'no JSON-RPC answer')}"
        raise TargetError(what[:300], where=where, mend="is this URL or command an MCP server?")
    agreed = str(result.get("protocolVersion", version))
    await talk.tell("notifications/initialized")
    return Session(agreed, False, about=_about(talk, agreed, result.get("serverInfo"), result))


async def _discover(talk: Talk, *, patient: bool) -> dict[str, Any]:
    try:
        async with asyncio.timeout(None if patient else DISCOVER_S):
            return await talk.ask("server/discover", {}, modern=True)
    except TimeoutError:  # a server of the older era that does not answer what it does not know
        return {}


def _adopted(talk: Talk, answer: Mapping[str, Any]) -> Session | None:
    """The session that an answer to `server/discover` opens, if it does."""
    result = _table(answer.get("result"))
    versions = result.get("supportedVersions")
    if not isinstance(versions, list) or MODERN not in versions:
        return None
    server = _table(result.get("_meta")).get("io.modelcontextprotocol/serverInfo", result.get("serverInfo"))
    return Session(MODERN, True, about=_about(talk, MODERN, server, result))


async def _initialize(talk: Talk, version: str) -> dict[str, Any]:
    return await talk.ask("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT})


def _about(talk: Talk, version: str, server: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "protocol_version": version, "era": "modern" if version == MODERN else "handshake", "transport": talk.transport,
        "server": _table(server) or None, "capabilities": sorted(map(str, _table(result.get("capabilities")))),
    }  # fmt: skip


def _supported(said: Mapping[str, Any]) -> set[str]:
    """The versions that an error names as supported."""
    versions = _table(said.get("data")).get("supported")
    return {v for v in versions if isinstance(v, str)} if isinstance(versions, list) else set()


def _table(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one: a server may answer anything."""
    return value if isinstance(value, dict) else {}


async def work(talk: Talk, session: Session, params: Mapping[str, Any]) -> dict[str, Any]:
    """What a session is opened for: the tool that the parameters name, else the list of tools. Raises OSError."""
    return await talk.ask("tools/call" if "name" in params else "tools/list", params, modern=session.modern)


def steps(began: int, opened: int, worked: int, ended: int) -> list[tuple[str, int, int]]:
    """The spans of a whole session, from the moments between its steps, ns."""
    return [
        ("session:open", began, opened - began),
        ("session:work", opened, worked - opened),
        ("session:end", worked, ended - worked),
    ]


class HttpTalk:
    """Single messages over streamable HTTP, on a connection of their own."""

    transport = "http"

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        self._address, self._headers = address, headers
        self._line = Conversation(address)
        self._number = FIRST_ID // 2
        self.session_id = self.version = ""

    def head(self, version: str) -> bytes:
        """Request line and headers of a POST, all but its length and routing."""
        fields = {
            "Host": self._address.authority, "User-Agent": "perflib", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }  # fmt: skip
        if version:
            fields["MCP-Protocol-Version"] = version
        if self.session_id:
            fields["Mcp-Session-Id"] = self.session_id
        fields |= self._headers
        lines = "".join(f"{key}: {one_header_line(value)}\r\n" for key, value in fields.items())
        query = f"?{self._address.query}" if self._address.query else ""
        return f"POST {self._address.base_path or '/'}{query} HTTP/1.1\r\n{lines}".encode()

    async def ask(self, method: str, params: Mapping[str, Any], *, modern: bool = False) -> dict[str, Any]:
        self._number += 1
        made = message(method, params, modern=modern)
        version = MODERN if modern else "" if method == "initialize" else self.version
        status, headers, body = await self.post(made.body(self._number), self.head(version) + made.lines)
        if method == "initialize":
            self.session_id = headers.get("mcp-session-id", "")
        answer = json_rpc(body, self._number)
        if isinstance(answer, dict) and ("result" in answer or "error" in answer):
            if method == "initialize":
                self.version = str(_table(answer.get("result")).get("protocolVersion", HANDSHAKE))
            return answer
        return {"error": {"code": 0, "message": f"HTTP status {status}"}}

    async def tell(self, method: str) -> None:
        await self.post(json.dumps({"jsonrpc": "2.0", "method": method}).encode(), self.head(self.version))

    async def post(self, body: bytes, head: bytes) -> tuple[int, dict[str, str], bytes]:
        return await self._line.request(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def end_session(self) -> None:
        """DELETE the session, where there is one. Raises OSError."""
        if self.session_id:
            head = self.head(self.version).replace(b"POST", b"DELETE", 1)
            await self._line.request(head + b"Content-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._line.close()


async def open_http(
    address: Address, headers: Mapping[str, str], protocol: str, where: str
) -> tuple[HttpTalk, Session]:
    """A negotiated session over HTTP, and the talk that holds it. Raises TargetError, OSError."""
    talk = HttpTalk(address, headers)
    try:
        agreed = await negotiate(talk, protocol, where)
    except BaseException:
        talk.close()
        raise
    return talk, Session(agreed.version, agreed.modern, talk.session_id, talk.head(agreed.version), agreed.about)


def json_rpc(body: bytes, number: int) -> Any:
    """The answer to request `number` in a body: JSON, or the server-sent event that carries it."""
    if body[:1] == b"{":
        return parse_json(body.decode("utf-8", "replace"))
    for found in Events().feed(body + b"\n\n"):
        if isinstance(found, dict) and found.get("id") == number and "method" not in found:
            return found
    return None
