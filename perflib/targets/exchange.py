"""HTTP outside the load, for readiness, gauges, negotiation and clean-up: one connection, one exchange at a time.

It is the load's own client: it checks certificates or not as the load does, takes no proxy of the environment, follows
no redirects, and reads bounded answers only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeVar

import httptools

from perflib.targets.connection import Address, connect
from perflib.targets.heads import new_parser
from perflib.targets.reasons import worded

LONGEST_ANSWER_BYTES: Final = 64_000_000
LONGEST_HEAD_BYTES: Final = 100_000  # the parser copies a header with each piece of it that arrives
NO_HEADERS: Final[Mapping[str, str]] = {}
T = TypeVar("T")


def get(
    address: Address, path: str, *, timeout_s: float, most_bytes: int, headers: Mapping[str, str] = NO_HEADERS
) -> tuple[int, bytes]:
    """Status and body of one GET, from any thread, within a total time. Raises OSError, which TimeoutError is."""
    usual = {"User-Agent": "perflib", "Accept": "*/*"}
    if address.authorization:
        usual["Authorization"] = address.authorization
    fields = {"Host": address.authority, **usual, **headers, "Connection": "close"}

    async def exchange() -> tuple[int, bytes]:
        client = HttpClient(address, most_bytes)
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        try:
            async with asyncio.timeout(timeout_s):
                status, _, body = await client.request(f"{head}\r\n".encode())
            return status, body
        finally:
            client.close()

    return _run(exchange())


def accepts(address: Address, timeout_s: float) -> None:
    """Connect without TLS and disconnect, from any thread, within a total time. Raises OSError, as TimeoutError is."""

    async def exchange() -> None:
        made: list[asyncio.BaseTransport] = []

        class Made(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.append(transport)

        async with asyncio.timeout(timeout_s):
            await connect(asyncio.get_running_loop(), replace(address, tls=None), Made, [])
        for transport in made:
            transport.abort()  # type: ignore[attr-defined]

    _run(exchange())


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop of its own in a thread of its own. A name that is still looked up then is not waited for."""

    def whole() -> T:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(work)
        finally:
            loop.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(whole).result()


class HttpClient:
    """A client of one server, which connects anew where the server closed the connection.

    status, headers, body = await HttpClient(address).request(payload)

    The names of headers are in lower case, and cookies are one line each.
    """

    def __init__(self, address: Address, most_bytes: int = LONGEST_ANSWER_BYTES) -> None:
        self._address, self._most_bytes = address, most_bytes
        self._transport: asyncio.Transport | None = None

    async def request(
        self,
        payload: bytes,
        is_over: Callable[[dict[str, str], bytes], bool] | None = None,
        begins: asyncio.Event | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send the bytes of a request and wait for its answer. Raises OSError.

        `is_over`: is called with the headers and each piece of the body; where it returns True, the rest of the body is
        not waited for. `begins` is set when the head of the answer has come.
        """
        if self._transport is None or self._transport.is_closing():
            self._protocol = _Answer(self._most_bytes)
            await connect(asyncio.get_running_loop(), self._address, lambda: self._protocol, [])
            self._transport = self._protocol.transport
        answer = self._protocol
        answer.begin(is_over, begins)
        self._address.writer(self._transport)(payload)
        try:
            await answer.done
        except OSError as error:
            self.close()
            raise worded(error, self._address.place, self._address.server_name) from error
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
    """Collects one answer after the other. What comes without a request ends the connection."""

    transport: asyncio.Transport

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def begin(
        self, is_over: Callable[[dict[str, str], bytes], bool] | None = None, begins: asyncio.Event | None = None
    ) -> None:
        """Expect one answer."""
        self._is_over, self._begins = is_over, begins
        self._parser = new_parser(self)
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.status, self.keep_alive, self._received = 0, False, 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            self.transport.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._finish(ConnectionError(f"not an HTTP answer: {error}"))
        if self._received > self._most_bytes + LONGEST_HEAD_BYTES or (
            not self.body and self._received > LONGEST_HEAD_BYTES
        ):
            self._finish(ConnectionError(f"the answer is longer than {self._most_bytes:,} bytes"))
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key == "set-cookie" and key in self.headers:
            text = f"{self.headers[key]}\n{text}"
        self.headers[key] = text

    def on_headers_complete(self) -> None:
        if self._begins is not None:
            self._begins.set()

    def on_body(self, body: bytes) -> None:
        self.body.append(body)
        if self._is_over is not None and not self.done.done() and self._is_over(self.headers, body):
            self.status = self._parser.get_status_code()
            self._finish(None)

    def on_message_complete(self) -> None:
        if self.done.done():  # more than one answer to one request, or the end of one that is known
            self.transport.abort()
            return
        self.status, self.keep_alive = self._parser.get_status_code(), self._parser.should_keep_alive()
        if self.status >= 200:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or ConnectionError("the server closed the connection"))

    def _finish(self, problem: Exception | None) -> None:
        if self.done.done():
            return
        if problem is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(problem)
