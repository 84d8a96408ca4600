"""A sync and an async client that make the same request: what `async_throughput` compares. Base URL: PERFLIB_REFERENCE_URL."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import threading
from typing import Any
from urllib.parse import urlsplit

_thread = threading.local()
_idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []


def validate_sync(path: str) -> dict[str, Any]:
    """POST /validate over this thread's own connection. Raises ConnectionError for an answer that is not 200."""
    connection = getattr(_thread, "connection", None)
    if connection is None:
        host, port = _address()
        connection = _thread.connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("POST", "/validate", body=json.dumps({"path": path}), headers={"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise ConnectionError(f"status {answer.status}")
    return json.loads(body)  # type: ignore[no-any-return]


async def validate_async(path: str) -> dict[str, Any]:
    """The same over a connection that no other task uses meanwhile."""
    host, port = _address()
    reader, writer = _idle.pop() if _idle else await asyncio.open_connection(host, port)
    body = json.dumps({"path": path}).encode()
    writer.write(b"POST /validate HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (host.encode(), len(body), body))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    answer = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
    _idle.append((reader, writer))
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(head.partition(b"\r\n")[0].decode())
    return json.loads(answer)  # type: ignore[no-any-return]


def _address() -> tuple[str, int]:
    parts = urlsplit(os.environ["PERFLIB_REFERENCE_URL"])
    return parts.hostname or "127.0.0.1", parts.port or 80
