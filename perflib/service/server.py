"""Starts the reference service, over HTTP or over stdio, and stops it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from perflib.errors import PerflibError, SuiteError, install
from perflib.service.options import Options

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from perflib.service.core import Service


def serve(options: Options, *, http_port: int | None = None, host: str = "127.0.0.1") -> None:
    """Serve REST and MCP over HTTP on a port (0: a free one, which is printed), or MCP over stdio, until a signal."""
    try:
        from perflib.service import endpoints
        from perflib.service.core import Service
    except ImportError as error:
        raise PerflibError(f"the reference service needs {error.name!r}", mend=install("service")) from None
    logging.getLogger().setLevel(logging.ERROR)
    for name in ("mcp", "uvicorn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    listening = None if http_port is None else _listen(host, http_port)
    service = Service(options)
    try:
        if listening is None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: _end(service))
            asyncio.run(endpoints.mcp_server(endpoints.caller(service)).run_stdio_async())
        else:
            _serve_http(endpoints.http_app(service), listening, host)
    finally:
        service.close()


def _end(service: Service) -> None:
    """Exit at once: an orderly shutdown would wait for the thread that reads stdin."""
    service.close()
    os._exit(0)


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise SuiteError(
            f"cannot listen on {host}:{port}: {error.strerror}", mend="choose another port, or 0 for a free one"
        ) from None
    listening.listen(2048)
    return listening


def _serve_http(app: Starlette, listening: socket.socket, host: str) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """A server that shuts down on a signal, with exit code 0."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                with contextlib.suppress(NotImplementedError):  # Windows
                    loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

    config = uvicorn.Config(
        app, log_level="error", access_log=False, timeout_graceful_shutdown=1, timeout_keep_alive=75
    )
    print(f"listening on http://{host}:{listening.getsockname()[1]}", flush=True)
    print("REST at /, MCP at /mcp; stop with Ctrl-C", file=sys.stderr, flush=True)
    Server(config).run(sockets=[listening])
