"""Servers to load: nginx on one core, a queue with one server, a server that freezes once."""

from __future__ import annotations

import asyncio
import contextlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import uvloop
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
BODY = b'{"id": 7, "state": "ready"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def nginx(core: int, workers: int = 1) -> Iterator[str]:
    """nginx with a small JSON answer at /, pinned to a core (or, with two workers, to none). Yields its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # its workers are another user
        Path(folder, "nginx.conf").write_text(f"""
            daemon off; master_process on; worker_processes {workers}; pid {folder}/pid; error_log /dev/null crit;
            events {{ worker_connections 8192; }}
            http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600;
                client_body_temp_path {folder}; proxy_temp_path {folder};
                fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
                server {{ listen 127.0.0.1:{port} backlog=4096;
                    location / {{ default_type application/json; return 200 '{BODY.decode()}'; }} }} }}""")
        pin = ["taskset", "-c", str(core)] if workers == 1 else []
        process = subprocess.Popen(
            [*pin, "nginx", "-p", folder, "-c", f"{folder}/nginx.conf"], stderr=subprocess.DEVNULL
        )
        try:
            _wait(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)


@contextlib.contextmanager
def started(kind: str, *arguments: str, core: int | None = None) -> Iterator[str]:
    """`python -m tests.support.timed_servers KIND PORT …` until the block ends. Yields its URL."""
    port = free_port()
    pin = ["taskset", "-c", str(core)] if core is not None else []
    process = subprocess.Popen(
        [*pin, sys.executable, "-m", "tests.support.timed_servers", kind, str(port), *arguments], cwd=ROOT
    )
    try:
        _wait(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def _wait(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start")


class Queue(asyncio.Protocol):
    """A queue with one server: each answer takes exactly `service_s`, the others wait. It spins and needs no timer.

    A request that was waiting when the last one was answered begins at that moment: the time to read it is part of
    its service time and not added to it.
    """

    done_at = 0.0

    def __init__(self, service_s: float) -> None:
        self._service_s, self._pending = service_s, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while b"\r\n\r\n" in self._pending:
            self._pending = self._pending.partition(b"\r\n\r\n")[2]
            self.serve()

    def serve(self) -> None:
        now = time.perf_counter()
        until = (Queue.done_at if now - Queue.done_at < 0.0005 else now) + self._service_s
        while time.perf_counter() < until:
            pass
        Queue.done_at = until
        if not self._transport.is_closing():
            self._transport.write(ANSWER)  # type: ignore[attr-defined]


class Line(Queue):
    """The same queue by timers: it needs no core of its own, and one late timer does not delay later answers."""

    def serve(self) -> None:
        loop = asyncio.get_running_loop()
        Queue.done_at = max(Queue.done_at, loop.time()) + self._service_s
        loop.call_at(Queue.done_at, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)  # type: ignore[attr-defined]


async def serve(port: int, service_s: float, kind: type[Queue] = Queue) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(service_s), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def waits_s(starts_s: NDArray[np.float64], service_s: float) -> NDArray[np.float64]:
    """How long each arrival waits for one server of fixed service time: W′ = max(0, W + D − gap) (Lindley 1952)."""
    waits = [0.0]
    for gap_s in np.diff(starts_s):
        waits.append(max(0.0, waits[-1] + service_s - gap_s))
    return np.array(waits)


def freeze(port: int, service_s: float, at_s: float, for_s: float) -> None:
    """Answers each request after `service_s`, any number at a time, and freezes once, `at_s` after the first.

    It uses plain sockets, so that requests that waited during the freeze are answered right after it.
    """
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    due: deque[tuple[float, socket.socket]] = deque()
    freezes_at = 0.0
    while True:
        for number, _ in poll.poll(max(0.0, due[0][0] - time.monotonic()) if due else 1.0):
            if number == listener.fileno():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        connection, _ = listener.accept()
                        connections[connection.fileno()] = connection
                        poll.register(connection.fileno(), select.EPOLLIN)
            elif _received(connections[number]):
                now = time.monotonic()
                freezes_at = freezes_at or now + at_s
                due.append((now + service_s, connections[number]))
            else:
                connections.pop(number).close()
        if freezes_at and time.monotonic() >= freezes_at:
            time.sleep(for_s)
            freezes_at = float("inf")
        while due and due[0][0] <= time.monotonic():
            with contextlib.suppress(OSError):
                due.popleft()[1].send(ANSWER)


def _received(connection: socket.socket) -> bool:
    """Whether a request came, and not the connection's end."""
    try:
        return bool(connection.recv(65536))
    except ConnectionError:
        return False


def main() -> None:
    """queue PORT SERVICE_S · line PORT SERVICE_S · freeze PORT SERVICE_S AT_S FOR_S"""
    kind, port, *seconds = sys.argv[1:]
    if kind == "freeze":
        freeze(int(port), *map(float, seconds))
    else:
        uvloop.run(serve(int(port), float(seconds[0]), Line if kind == "line" else Queue))


if __name__ == "__main__":
    main()
