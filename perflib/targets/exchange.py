"""HTTP outside the load, for negotiation and clean-up: one connection, one exchange at a time."""

from __future__ import annotations

import asyncio

import httptools

from perflib.targets.connection import Address, connect
from perflib.targets.heads import new_parser


class HttpClient:
    """A client of one server, which connects anew where the server closed the connection.

    status, headers, body = await HttpClient(address).request(payload)    # names of headers in lower case
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._transport: asyncio.Transport | None = None

    async def request(self, payload: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send the bytes of a request and wait for its answer. Raises OSError."""
        if self._transport is None or self._transport.is_closing():
            self._protocol = _Answer()
            await connect(asyncio.get_running_loop(), self._address, lambda: self._protocol, [])
            self._transport = self._protocol.transport
        answer = self._protocol
        answer.begin()
        self._transport.write(payload)
        try:
            await answer.done
        except BaseException:
            self.close()
            raise
        if not answer.keep_alive:
            self.close()
        return answer.status, answer.headers, b"".join(answer.body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class _Answer(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def begin(self) -> None:
        """Expect one answer."""
        self._parser = new_parser(self)
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.status, self.keep_alive = 0, False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._finish(ConnectionError(f"not an HTTP answer: {error}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.status, self.keep_alive = self._parser.get_status_code(), self._parser.should_keep_alive()
        if self.status >= 200:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or ConnectionError("the server closed the connection"))

    def _finish(self, problem: Exception | None) -> None:
        if not self.done.done():
            if problem is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(problem)
