"""One HTTP exchange outside the load: negotiation, readiness, clean-up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from perflib.targets.http import Address


async def exchange(address: Address, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Connect, send, read one answer: status, headers (names in lower case), body. Raises OSError."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(_OneShot, address.host, address.port, ssl=address.tls)
    try:
        transport.write(request)
        await protocol.done
    finally:
        transport.abort()
    return protocol.parser.get_status_code(), protocol.headers, b"".join(protocol.body)


class _OneShot(asyncio.Protocol):
    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._over(ConnectionError(f"not an HTTP answer: {error}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self._over(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over(exc or ConnectionError("the server closed the connection"))

    def _over(self, problem: Exception | None) -> None:
        if not self.done.done():
            if problem is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(problem)
