"""A raw TCP server in a thread, which answers as badly as a test asks: real sockets, any bytes."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Answer = Callable[[socket.socket, int], bool]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@contextmanager
def raw_server(answer: Answer | Mapping[str, Answer], heard: list[bytes] | None = None) -> Iterator[str]:
    """Calls answer(connection, number of the request on it) for each request. Yields the URL.

    An answer of False ends the connection. Several answers go by the path of the request, without its query. The heads
    of all requests are added to `heard`, with the bodies.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number, pending = 0, b""
            while True:
                while b"\r\n\r\n" not in pending:
                    try:
                        data = self.request.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    pending += data
                head, _, pending = pending.partition(b"\r\n\r\n")
                length = int(match[1]) if (match := _LENGTH.search(head)) else 0
                try:
                    while len(pending) < length:
                        pending += self.request.recv(65536)
                    if heard is not None:
                        heard.append(head + b"\r\n\r\n" + pending[:length])
                    pending = pending[length:]
                    path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
                    if not (answer if callable(answer) else answer[path])(self.request, number):
                        return
                except OSError:
                    return
                number += 1

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 512

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def says(*pieces: bytes, pause_s: float = 0.0, keep: bool = True) -> Answer:
    """The same bytes every time, in pieces."""

    def answer(connection: socket.socket, number: int) -> bool:
        for piece in pieces:
            connection.sendall(piece)
            if pause_s:
                time.sleep(pause_s)
        return keep

    return answer
