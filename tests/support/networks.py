"""Servers as they stand in networks: behind TLS with certificates of an authority, on a unix socket, behind a proxy."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn


class Authority:
    """An authority of our own: `ca` is its certificate; `certificate` makes one that it signs. By openssl, in PEM."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._openssl(*self._new("ca"), "-x509", "-days", "2", "-subj", "/CN=Authority", "-out", self.ca)

    def certificate(self, name: str, *names: str, days: int = 2) -> tuple[Path, Path]:
        """A certificate and its key. `names`: what it is for, as "DNS:shop.test" or "IP:127.0.0.1"."""
        signed, request, extensions = (self._folder / f"{name}.{suffix}" for suffix in ("pem", "csr", "ext"))
        extensions.write_text(f"subjectAltName={','.join(names)}\n" if names else "")
        self._openssl(*self._new(name), "-subj", f"/CN={name}", "-out", request)
        key = self._folder / "ca.key"
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", key, "-CAcreateserial", "-days", str(days),
            "-extfile", extensions, "-out", signed,
        )  # fmt: skip
        return signed, self._folder / f"{name}.key"

    def _new(self, name: str) -> list[Any]:
        key = self._folder / f"{name}.key"
        return ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key]

    def _openssl(self, *arguments: Any) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


async def _app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers any request with its path and query."""
    body = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    headers = [(b"content-length", str(len(body)).encode()), (b"x-host", dict(scope["headers"]).get(b"host", b""))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def uvicorn_server(heard: list[dict[str, Any]] | None = None, **options: Any) -> Iterator[int]:
    """A uvicorn server in a thread, on a free port or `uds`. Yields its port. `heard`: headers of the requests."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if heard is not None:
            heard.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await _app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off", **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    assert server.started
    name = server.servers[0].sockets[0].getsockname()
    try:
        yield name[1] if isinstance(name, tuple) else 0
    finally:
        server.should_exit = True
        thread.join(10)


@contextlib.contextmanager
def proxy_server(heard: list[bytes], *, refuse: str = "") -> Iterator[int]:
    """A small HTTP proxy: CONNECT and whole URLs. Yields its port. The heads of its requests are added to `heard`."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                received = self.request.recv(1)
                if not received:
                    return
                head += received
            heard.append(head)
            if refuse:
                self.request.sendall(f"HTTP/1.1 {refuse}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            method, target, _ = head.split(b" ", 2)
            place = target if method == b"CONNECT" else target.removeprefix(b"http://").partition(b"/")[0]
            host, _, port = place.decode().rpartition(":")
            with socket.create_connection((host.replace("shop.test", "127.0.0.1"), int(port))) as server:
                if method == b"CONNECT":
                    self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(head.replace(b"http://" + place, b"", 1))
                other = threading.Thread(target=_pump, args=(server, self.request), daemon=True)
                other.start()
                _pump(self.request, server, heard if method != b"CONNECT" else None)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _pump(source: socket.socket, sink: socket.socket, heard: list[bytes] | None = None) -> None:
    """Copy until the source ends. Whole URLs in requests are made paths."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if heard is not None:
                heard.append(data)
                method, _, rest = data.partition(b" http://")
                data = b"%b /%b" % (method, rest.partition(b"/")[2]) if rest else data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def openssl_server(certificate: Path, key: Path, *options: str) -> Iterator[int]:
    """A TLS server with options that Python's do not have: ("-alpn", "h2") offers HTTP/2 alone. Yields its port."""
    command = ["openssl", "s_server", "-accept", "0", "-cert", certificate, "-key", key, "-naccept", "9", *options]
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"ACCEPT"):
                break
        try:
            yield int(line.rpartition(b":")[2])
        finally:
            process.kill()
