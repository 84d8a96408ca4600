"""Servers to load: nginx on one core, a queue with one server, a server that freezes once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BODY = b'{"id": 7, "state": "ready"}'


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
            http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_body_temp_path {folder}; proxy_temp_path {folder};
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
    """`python -m tests.benchmarks.servers KIND PORT …` until the block ends. Yields its URL."""
    port = free_port()
    pin = ["taskset", "-c", str(core)] if core is not None else []
    process = subprocess.Popen([*pin, sys.executable, "-m", "tests.benchmarks.servers", kind, str(port), *arguments])
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
    """A queue with one server: each answer takes exactly `service_s` of it, the others wait. It spins, so that no timer rounds."""

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
        until = time.perf_counter() + self._service_s
        while time.perf_counter() < until:
            pass
        self.answer()

    def answer(self) -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
            self._transport.write(head + BODY)  # type: ignore[attr-defined]


class Freeze(Queue):
    """Answers each request after `service_s`, any number side by side, and freezes as a whole once."""

    frozen_s: tuple[float, float] | None = None  # when, after the first request, and for how long

    def serve(self) -> None:
        loop = asyncio.get_running_loop()
        if Freeze.frozen_s is not None:
            at_s, for_s = Freeze.frozen_s
            Freeze.frozen_s = None
            loop.call_later(at_s, time.sleep, for_s)
        loop.call_later(self._service_s, self.answer)


async def serve(port: int, protocol: type[Queue], service_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(service_s), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """queue PORT SERVICE_S · freeze PORT SERVICE_S AT_S FOR_S"""
    kind, port, *rest = sys.argv[1:]
    seconds = [float(text) for text in rest]
    if kind == "freeze":
        Freeze.frozen_s = (seconds[1], seconds[2])
    asyncio.run(serve(int(port), Freeze if kind == "freeze" else Queue, seconds[0]))


if __name__ == "__main__":
    main()
