"""The address of an HTTP target, and how to connect to it: name lookup, TCP, TLS, each step a span."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from asyncio.staggered import staggered_race
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final
from urllib.parse import urlsplit

from perflib.suite.environment import from_environment
from perflib.suite.target import HttpTargetSpec, McpTargetSpec, Target
from perflib.targets.base import require

clock = time.monotonic_ns
NEXT_ADDRESS_S: Final = 0.25  # after which the next address is tried as well (RFC 8305)
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

    @property
    def origin(self) -> str:
        """Scheme, host and port, as a redirect names them."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @classmethod
    def of(cls, spec: HttpTargetSpec | McpTargetSpec, where: str) -> Address:
        return cls.of_url(from_environment(spec.url or "", where), verify_tls=spec.verify_tls)

    @classmethod
    def of_url(cls, url: str, *, verify_tls: bool) -> Address:
        """The address in a URL. Raises ValueError for what is none."""
        parts = urlsplit(url)
        tls, literal = None, False
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            if not verify_tls:
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
    """A socket connected to the first address that accepts ("happy eyeballs"). Raises OSError.

    The families take turns, IPv6 or IPv4 first as the system sorts them; the next address is tried where the last one
    failed, or has not answered for NEXT_ADDRESS_S.
    """
    if len(infos) == 1:
        return await _connected_to(loop, infos[0])
    first = [info for info in infos if info[0] == infos[0][0]]
    others = [info for info in infos if info[0] != infos[0][0]]
    turns = [info for info in chain.from_iterable(zip_longest(first, others)) if info is not None]
    attempts = [partial(_connected_to, loop, info) for info in turns]
    connection: socket.socket | None
    connection, _, problems = await staggered_race(attempts, NEXT_ADDRESS_S)
    if connection is None:
        raise next((problem for problem in problems if problem is not None), None) or OSError("no address")
    return connection


async def _connected_to(loop: asyncio.AbstractEventLoop, info: Any) -> socket.socket:
    """A socket connected to one address, as getaddrinfo gives it. Raises OSError."""
    family, kind, protocol, _, where = info
    connection = socket.socket(family, kind, protocol)
    connection.setblocking(False)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


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
