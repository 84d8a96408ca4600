"""HTTP outside the load: negotiation, clean-up. One connection, one exchange at a time, made anew where the server closed it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from perflib.targets.connection import Address


class Conversation:
    """await Conversation(address).request(bytes) → status, headers (names in lower case), body. Raises OSError."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._transport: asyncio.Transport | None = None

    async def request(self, payload: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._transport is None or self._transport.is_closing():
            loop, address = asyncio.get_running_loop(), self._address
            self._transport, self._protocol = await loop.create_connection(
                _Reader, address.host, address.port, ssl=address.tls
            )
        reader = self._protocol
        reader.begin()
        self._transport.write(payload)
        try:
            await reader.done
        except BaseException:
            self.close()
            raise
        if not reader.stays:
            self.close()
        return reader.status, reader.headers, b"".join(reader.body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class _Reader(asyncio.Protocol):
    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Expect one answer."""
        self._parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.status, self.stays = 0, False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._over(ConnectionError(f"not an HTTP answer: {error}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.status, self.stays = self._parser.get_status_code(), self._parser.should_keep_alive()
        if self.status >= 200:
            self._over(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over(exc or ConnectionError("the server closed the connection"))

    def _over(self, problem: Exception | None) -> None:
        if not self.done.done():
            if problem is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(problem)
