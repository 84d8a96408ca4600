"""A lane with a connection of its own: made with its first request, and anew where it was lost or closed.

Where several requests fail in a row without any answer, each next one begins later (`BACKOFF_S`).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from perflib.store.schema import NONE_NS, NONE_STATUS
from perflib.targets.base import Driver, Lane
from perflib.targets.connection import Address, connect
from perflib.targets.reasons import worded
from perflib.targets.short_connections import ShortConnection, ShortConnections

clock = time.monotonic_ns
NO_HEADS: dict[bytes, ParsedHead] = {}
BACKOFF_S: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # after so many failures in a row


@dataclass(frozen=True, slots=True)
class ParsedHead:
    """What a head parsed before means: length of the whole answer in bytes, error code, status, time.

    closes   the connection is not used again
    """

    length: int
    error: int
    status: int
    server_ns: int
    closes: bool


class Server(Protocol):
    """What the lanes of one server share: its address, heads parsed before, and how it is spoken to.

    keep_alive       connections are used again
    redirects        how many in a row are followed
    max_body_bytes   a longer body is an error; None: no limit, but where bodies are read
    short_connections   of requests that have a connection each; None: those of the event loop
    """

    @property
    def address(self) -> Address: ...

    @property
    def keep_alive(self) -> bool: ...

    @property
    def redirects(self) -> int: ...

    @property
    def max_body_bytes(self) -> int | None: ...

    @property
    def short_connections(self) -> ShortConnections | None: ...

    @property
    def parsed_heads(self) -> dict[bytes, ParsedHead]: ...

    def may_go_to(self, host: str) -> bool:
        """Whether a redirect to this host is followed."""
        ...

    def address_of(self, origin: str) -> Address:
        """The address of another server, to which a redirect leads."""
        ...


class ConnectedLane(Lane, asyncio.Protocol):
    """The connection of a lane, and the end of a request on it. What is sent and read is up to a subclass."""

    __slots__ = (
        "_cancelling",
        "_closing",
        "_connecting",
        "_elsewhere",
        "_failures",
        "_first_ns",
        "_heads",
        "_parser",
        "_payload",
        "_sent",
        "_served",
        "_server",
        "_setup",
        "_transport",
        "_write",
    )

    def __init__(self, driver: Driver, index: int, server: Server) -> None:
        super().__init__(driver, index)
        self._server = server
        self._heads = NO_HEADS
        self._transport: asyncio.Transport | None = None
        self._write: Callable[[bytes], None] = self._send_later
        self._connecting: asyncio.Task[Any] | asyncio.TimerHandle | ShortConnection | None = None
        self._closing = self._cancelling = self._served = False
        self._payload = b""
        self._elsewhere: Address | None = None  # of the server that a redirect led to
        self._failures = self._sent = 0
        self._setup: list[tuple[str, int, int]] = []  # spans of the request in flight: name, start, duration
        self._first_ns = NONE_NS

    @abstractmethod
    def _row(self, now: int, error: int, status: int, server_ns: int) -> bool:
        """Make the request a row. True: the next one is assigned."""

    @abstractmethod
    def _broken_off(self, exc: Exception | None, now: int) -> None:
        """The connection ended during a request."""

    @property
    def _address(self) -> Address:
        """Of the server that the request in flight is sent to."""
        return self._elsewhere or self._server.address

    def _finish(self, now: int, error: int, status: int, server_ns: int = NONE_NS) -> None:
        """The request is over: it becomes a row, and the next one starts, if there is one."""
        if self._row(now, error, status, server_ns):
            self.start()

    def _failed(self, error: str, why: object, now: int) -> None:
        """The request is over without a whole answer. The next one starts after a pause where nobody answered."""
        if why:
            self.driver.explain(error, str(why))
        if self._first_ns != NONE_NS:
            self._failures = 0  # somebody is there
        if self._row(now, self.driver.error_code(error), NONE_STATUS, NONE_NS):
            wait_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
            self._failures += 1
            self.start_ns = clock()
            self._connecting = self.driver.loop.call_later(wait_s, self._start_late)

    def _start_late(self) -> None:
        self._connecting = None
        self.start()

    def _connect(self) -> None:
        short = self._server.short_connections
        if short is not None and self._elsewhere is None:
            self._connecting = connection = ShortConnection(short, self)
            short.begin(connection)
            return
        self._connecting = self.driver.loop.create_task(self._try_to_connect())

    async def _try_to_connect(self) -> None:
        try:
            await connect(self.driver.loop, self._address, lambda: self, self._setup)
        except asyncio.CancelledError:
            self._cancelling = False
            if not self._closing and self.start_ns and self._payload:  # else connection_lost connects again
                self._connect()
            raise
        except Exception as error:  # refused, unreachable, no name, no descriptors, no certificate
            self._not_connected("tls" if isinstance(error, ssl.SSLError) else "connect", error)

    def connection_begins(self) -> None:
        now = clock()
        if not self._setup:  # else the request has begun, and was redirected
            self.start_ns = now
        self._setup.append(("connect", now, 0))

    def connection_failed(self, error: OSError) -> None:
        self._not_connected("connect", worded(error, self._address.place, ""))

    def _not_connected(self, error: str, why: object) -> None:
        """End a request that reached no server."""
        self._connecting = None
        self._setup.clear()
        self._sent = 0
        self._failed(error, why, clock())

    def _send_later(self, payload: bytes) -> None:
        """Connect first, since there is no connection to write to yet."""
        self._payload = payload
        if not self._closing and not self._cancelling:  # else what ends first is waited for
            self._connect()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._cancelling:  # too late: the request that it was for has been given up
            self._closing = True
            transport.abort()  # type: ignore[attr-defined]
            return
        self._transport = transport  # type: ignore[assignment]
        self._write = self._address.writer(transport)  # type: ignore[arg-type]
        self._heads = NO_HEADS if self._server.keep_alive else self._server.parsed_heads
        self._connecting, self._served = None, False
        step, began, took = self._setup.pop()
        self._setup.append((step, began, took or clock() - began))  # the last step ends here
        self._parser: Any = None  # made where an answer has to be parsed
        if self.start_ns:
            self._write(self._payload)

    def eof_received(self) -> None:
        """The server sends no more, and the transport closes itself next. What starts until then is not lost."""
        if not self.start_ns and not self._closing:
            self._closing, self._payload, self._write = True, b"", self._send_later

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self._write = None, self._send_later
        if self._closing:
            self._closing = False
            if self.start_ns and self._payload and not self._cancelling:
                self._connect()
        elif self.start_ns:
            self._broken_off(exc, clock())

    def _disconnect(self) -> None:
        if self._transport is not None and not self._closing:
            self._closing, self._payload, self._write = True, b"", self._send_later
            self._transport.abort()

    def abort(self, error: str) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._cancelling = isinstance(self._connecting, asyncio.Task)
            self._connecting, self._payload = None, b""
            self._setup.clear()
        self._disconnect()
        self._finish(clock(), self.driver.error_code(error), NONE_STATUS)

    def close(self) -> None:
        self.start_ns = 0
        if self._connecting is not None:
            self._connecting.cancel()
            self._cancelling = isinstance(self._connecting, asyncio.Task)
        self._disconnect()
