"""The transport of 2024-11-05, "HTTP+SSE": one event stream with all answers, and a URL that requests are posted to.

The stream's first event names that URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httptools

from perflib.targets.connection import connect
from perflib.targets.exchange import HttpClient
from perflib.targets.heads import new_parser
from perflib.targets.mcp.channel import ID, Channel
from perflib.targets.mcp.events import Events
from perflib.targets.mcp.session import Site
from perflib.text import one_line

ENDPOINT_S: Final = 3.0  # that the URL for requests is waited for


class EventChannel(Channel, asyncio.Protocol):
    """A session: the stream, and connections for what is posted. `EventChannel.start(site, …)` connects it."""

    transport = "http+sse"

    def __init__(self, site: Site, answers: Mapping[str, Any], capabilities: Mapping[str, Any]) -> None:
        super().__init__(answers, capabilities)
        self._site = site
        self._events = Events(kinds=(b"", b"message", b"endpoint"), endless=True)
        self._path = ""
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._why = "the event stream ended"
        self._idle: list[HttpClient] = []
        self._posts: set[asyncio.Task[None]] = set()
        self._stream: asyncio.Transport | None = None
        self._parser = new_parser(self)

    @classmethod
    async def start(cls, site: Site, answers: Mapping[str, Any], capabilities: Mapping[str, Any]) -> EventChannel:
        """Open the stream, and wait for the URL. Raises OSError, as TimeoutError is."""
        channel = cls(site, answers, capabilities)
        try:
            async with asyncio.timeout(ENDPOINT_S):
                await connect(asyncio.get_running_loop(), site.address, lambda: channel, [])
                await channel._ready
        except BaseException:
            await channel.close()
            raise
        return channel

    # The stream.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = transport  # type: ignore[assignment]
        address = self._site.address
        path = (address.base_path or "/") + (f"?{address.query}" if address.query else "")
        request = f"GET {path} HTTP/1.1\r\n{self._lines('text/event-stream')}\r\n"
        address.writer(self._stream)(request.encode())  # type: ignore[arg-type]

    def _lines(self, accept: str) -> str:
        address = self._site.address
        fields = {"Host": address.authority, "User-Agent": "perflib", "Accept": accept, "Cache-Control": "no-store"}
        if address.authorization:
            fields["Authorization"] = address.authorization
        own = {key.lower() for key in self._site.headers}
        fields = {key: value for key, value in fields.items() if key.lower() not in own} | self._site.headers
        lines = "".join(f"{key}: {one_line(value, 8_000)}\r\n" for key, value in fields.items())
        return lines + self._site.token_line.decode()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError) as problem:
            self._fail(f"the event stream cannot be read: {problem}")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 300:
            self._fail(f"the event stream was refused with status {status}")

    def on_body(self, body: bytes) -> None:
        for kind, data in self._events.raw(body):
            if kind != b"endpoint":
                self.receive(data)
            elif not self._path:
                self._set_endpoint(data.decode("utf-8", "replace").strip())

    def _set_endpoint(self, text: str) -> None:
        address = self._site.address
        parts = urlsplit(urljoin(f"{address.origin}{address.base_path or '/'}", text))
        if f"{parts.scheme}://{parts.netloc}" != address.origin:
            self._fail("the URL for requests is of another origin")
            return
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        if not self._ready.done():
            self._ready.set_result(None)

    def on_message_complete(self) -> None:
        self._fail("the event stream ended")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the event stream ended")

    def _fail(self, why: str) -> None:
        if self.alive:
            self._why = why
            self._end()
        if not self._ready.done():
            self._ready.set_exception(ConnectionError(why))
        if self._stream is not None:
            self._stream.abort()

    # Requests.

    def send(self, payload: bytes) -> bool:
        if self.alive:
            self.sent += len(payload)
            task = asyncio.get_running_loop().create_task(self._post(payload.rstrip(b"\n")))
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)
        return self.alive

    async def _post(self, payload: bytes) -> None:
        """Post a message. What the server refuses, or cannot be sent, ends the request that it is."""
        client = self._idle.pop() if self._idle else HttpClient(self._site.address)
        lines = self._lines("*/*")
        head = f"POST {self._path} HTTP/1.1\r\n{lines}Content-Type: application/json\r\n"
        try:
            status, _, _ = await client.request(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        except OSError as problem:
            self._refused(payload, "reset", str(problem))
            client.close()
            return
        if status >= 400:
            self._refused(payload, f"http_{status // 100}xx", f"HTTP status {status}")
        self._idle.append(client)

    def _refused(self, payload: bytes, error: str, why: str) -> None:
        match = ID.search(payload)
        waiting = self.pending.pop(int(match[1]), None) if match else None
        if waiting is not None:
            waiting.finish(None, 0, error, why=why)

    def describe_end(self) -> str:
        return self._why

    async def close(self) -> None:
        self.alive = False
        for task in list(self._posts):
            task.cancel()
        for client in self._idle:
            client.close()
        if self._stream is not None:
            self._stream.abort()
