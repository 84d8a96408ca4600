"""Plain TCP connections that serve one request each, for a fraction of what the event loop's own connections cost.

Those take a task, several futures and handles each. Here a socket is connected, written to and read with the system
calls that this takes, and one epoll object watches all sockets of a worker; the event loop sees its descriptor alone.

A round reads all answers that have come before it closes their sockets and opens the next ones. So Python's code runs
again and again without the kernel's code for connections in between, and stays in the processor's caches: without
rounds a request costs a fifth more.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import sys
from typing import Any, Final, Protocol

READ_BYTES: Final = 65_536
EVENTS_AT_ONCE: Final = 64  # before the event loop sees to everything else
_KIND: Final = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0)


class Connecting(Protocol):
    """What a connection is for: an asyncio protocol that also hears when it begins, and why it could not be made."""

    def connection_begins(self) -> None: ...

    def connection_made(self, transport: asyncio.BaseTransport, /) -> None: ...

    def connection_failed(self, error: OSError, /) -> None: ...

    def data_received(self, data: bytes, /) -> None: ...

    def eof_received(self) -> Any: ...

    def connection_lost(self, exc: Exception | None, /) -> None: ...


class ShortConnections:
    """The connections of one worker to one IP address. Needs Linux, which has epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self.where, self.family = (host, port), socket.AF_INET6 if ":" in host else socket.AF_INET
        self.poll = select.epoll()
        self.open: dict[int, ShortConnection] = {}
        self._in_round = False
        self._to_close: list[socket.SocketType] = []
        self._to_begin: dict[ShortConnection, None] = {}  # in this order
        self._loop = loop
        loop.add_reader(self.poll.fileno(), self._ready)

    @staticmethod
    def are_possible() -> bool:
        """Whether this system can do it."""
        return sys.platform == "linux"

    def close(self) -> None:
        """Close those that are open. No protocol hears of it."""
        self._loop.remove_reader(self.poll.fileno())
        for connection in list(self.open.values()):
            connection.cancel()
        self.poll.close()

    def begin(self, connection: ShortConnection) -> None:
        """Begin to connect, at the end of this round."""
        if self._in_round:
            self._to_begin[connection] = None
        else:
            connection.begin()

    def end(self, descriptor: int, opened: socket.SocketType) -> None:
        """Close a socket, at the end of this round."""
        self.open.pop(descriptor, None)
        if self._in_round:
            self._to_close.append(opened)
        else:
            opened.close()

    def forget(self, connection: ShortConnection) -> None:
        """Do not begin what has not begun."""
        self._to_begin.pop(connection, None)

    def _ready(self) -> None:
        self._in_round = True
        try:
            for descriptor, events in self.poll.poll(0, EVENTS_AT_ONCE):
                connection = self.open.get(descriptor)
                if connection is not None:  # else what came before it in this round has ended it
                    connection.ready(events)
        finally:
            self._in_round = False
            for opened in self._to_close:
                opened.close()
            self._to_close.clear()
            while self._to_begin:
                connection = next(iter(self._to_begin))
                del self._to_begin[connection]
                connection.begin()


class ShortConnection(asyncio.Transport):
    """One connection, with what an HTTP lane uses of asyncio's transports. Its protocol hears of an end at once.

    connection = ShortConnection(connections, protocol)
    connections.begin(connection)
    """

    __slots__ = ("_connected", "_descriptor", "_events", "_owner", "_protocol", "_socket", "_unsent")

    def __init__(self, owner: ShortConnections, protocol: Connecting) -> None:
        self._owner, self._protocol = owner, protocol
        self._connected, self._descriptor, self._events, self._unsent = False, -1, 0, b""
        self._socket: socket.SocketType | None = None

    def begin(self) -> None:
        """Begin to connect. On loopback `connection_made` has been called when this returns."""
        owner = self._owner
        self._protocol.connection_begins()
        try:
            self._socket = opened = socket.SocketType(owner.family, _KIND, socket.IPPROTO_TCP)
            problem = opened.connect_ex(owner.where)
        except OSError as error:  # no descriptors are left, say
            self._failed(error)
            return
        self._descriptor = opened.fileno()
        owner.open[self._descriptor] = self
        if problem in (0, errno.EINPROGRESS):
            self._look()
        else:
            self._failed(OSError(problem, os.strerror(problem)))

    def _look(self) -> None:
        """See whether the connection has been made."""
        assert self._socket is not None
        try:
            self._socket.getpeername()
        except OSError:
            problem = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                self._failed(OSError(problem, os.strerror(problem)))
            else:
                self._watch(select.EPOLLOUT)
            return
        self._connected = True
        self._protocol.connection_made(self)
        if self._socket is not None and not self._unsent:
            self._watch(select.EPOLLIN)

    def _watch(self, events: int) -> None:
        if not self._events:
            self._owner.poll.register(self._descriptor, events)
        elif events != self._events:
            self._owner.poll.modify(self._descriptor, events)
        self._events = events

    def _failed(self, error: OSError) -> None:
        self.cancel()
        self._protocol.connection_failed(error)

    def write(self, data: Any) -> None:
        """Send it; what the socket does not take at once is sent as soon as it does."""
        if self._socket is None:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # what the server has sent before it hung up is read, and then the reason
            return
        if sent < len(data):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the last piece waits for nothing
            self._unsent = data[sent:]
            self._watch(select.EPOLLIN | select.EPOLLOUT)

    def ready(self, events: int) -> None:
        """The socket can be read or written to, or has ended."""
        if not self._connected:
            self._look()
            return
        if self._unsent and events & select.EPOLLOUT:
            rest, self._unsent = self._unsent, b""
            self.write(rest)
            if not self._unsent:
                self._watch(select.EPOLLIN)
        if events == select.EPOLLOUT or self._socket is None:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._protocol.eof_received()
            self._lost(None)

    def _lost(self, error: OSError | None) -> None:
        if self._socket is not None:
            self.cancel()
            self._protocol.connection_lost(error)

    def cancel(self) -> None:
        """Close it. The protocol does not hear of it."""
        if self._socket is None:
            self._owner.forget(self)
        else:
            self._owner.end(self._descriptor, self._socket)
            self._socket = None

    def abort(self) -> None:
        self._lost(None)
