"""The address of an HTTP target, and how to connect to it: name lookup, TCP, TLS, each step a span."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from perflib.suite.environment import from_environment
from perflib.suite.target import HttpTargetSpec, McpTargetSpec, Target
from perflib.targets.base import require

clock = time.monotonic_ns
Spans = list[tuple[str, int, int]]  # name, start_ns, duration_ns; duration 0: not over yet


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port, and what requests need to name them."""

    host: str
    port: int
    authority: str
    base_path: str
    tls: ssl.SSLContext | None
    is_literal: bool = False
    query: str = ""

    @classmethod
    def of(cls, spec: HttpTargetSpec | McpTargetSpec, where: str) -> Address:
        parts = urlsplit(from_environment(spec.url or "", where))
        tls, literal = None, False
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            if not spec.verify_tls:
                tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        port = parts.port or (443 if tls else 80)
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(parts.hostname or "")
            literal = True
        return cls(
            parts.hostname or "",
            port,
            parts.netloc.rpartition("@")[2],
            parts.path.rstrip("/"),
            tls,
            literal,
            parts.query,
        )


async def connect(
    loop: asyncio.AbstractEventLoop, address: Address, protocol: Callable[[], asyncio.Protocol], spans: Spans
) -> None:
    """Connect the protocol and add each step to `spans`; `connection_made` must end the last one.

    Raises OSError, ssl.SSLError.
    """
    if address.is_literal and address.tls is None:
        spans.append(("connect", clock(), 0))
        await loop.create_connection(protocol, address.host, address.port)
        return
    began = clock()
    infos = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    if not address.is_literal:
        spans.append(("dns", began, clock() - began))
    began = clock()
    connection = await _connected(loop, infos)
    spans.append(("connect", began, clock() - began))
    name = address.host if address.tls else None
    spans += [("tls", clock(), 0)] if address.tls else []
    await loop.create_connection(protocol, sock=connection, ssl=address.tls, server_hostname=name)


async def _connected(loop: asyncio.AbstractEventLoop, infos: list[Any]) -> socket.socket:
    """A socket connected to the first address that accepts. Raises OSError."""
    problem: OSError | None = None
    for family, kind, protocol, _, where in infos:
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connection, where)
            return connection
        except OSError as error:
            connection.close()
            problem = error
        except BaseException:
            connection.close()
            raise
    raise problem or OSError("no address")


def check_url(name: str, spec: Target) -> None:
    """Raise SuiteError unless the target has an http(s) URL."""
    where = f"targets.{name}.url"
    require(spec.url, "a target of this kind needs a url", where=where, mend='set url = "http://127.0.0.1:8080"')
    if "{" in (spec.url or ""):
        return  # a port, another target's URL or a variable is filled in later
    try:
        parts = urlsplit(spec.url or "")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    require(valid, f"not a URL: {spec.url!r}", where=where, mend='write it like "http://127.0.0.1:8080"')
