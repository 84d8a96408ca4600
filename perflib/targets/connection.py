"""The address of an HTTP target, and how to connect to it: name lookup, TCP, TLS, each step a span."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from asyncio.staggered import staggered_race
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from perflib.suite.environment import from_environment
from perflib.suite.target import Network, Target
from perflib.targets.base import require
from perflib.targets.network import Proxy, basic, host_and_port, tls_context
from perflib.targets.reasons import worded

clock = time.monotonic_ns
NEXT_ADDRESS_S: Final = 0.25  # after which the next address is tried as well (RFC 8305)
STEPS: Final = frozenset(("dns", "connect", "proxy", "tls"))
LONGEST_PROXY_HEAD_BYTES: Final = 65_536
Spans = list[tuple[str, int, int]]  # name, start_ns, duration_ns; duration 0: not over yet


@dataclass(frozen=True, slots=True)
class Address:
    """A server, what requests need to name it, and how it is reached.

    authority       host and port as requests name them
    base_path       path of the target's URL, without a slash at its end
    tls             None without TLS
    is_literal      whether `reached` is an IP address
    query           of the target's URL
    reached         host and port to connect to, which may be a proxy's; unused with a `unix_socket`
    server_name     the name that the certificate must be for
    authorization   "Basic …" where the URL has a user and a password, else ""
    """

    host: str
    port: int
    authority: str
    base_path: str
    tls: ssl.SSLContext | None
    is_literal: bool
    query: str
    reached: tuple[str, int]
    server_name: str
    authorization: str
    unix_socket: str = ""
    proxy: Proxy | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port, as a redirect names them."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def is_plain(self) -> bool:
        """Whether nothing but TCP to an IP address is needed."""
        return self.is_literal and self.tls is None and not self.unix_socket

    @property
    def hosts(self) -> list[str]:
        """The hosts that the load goes to."""
        if self.unix_socket:
            return []
        return list(dict.fromkeys((self.reached[0], self.host) if self.proxy else (self.reached[0],)))

    @property
    def place(self) -> str:
        """What is connected to, in words."""
        return self.unix_socket or f"{self.reached[0]}:{self.reached[1]}"

    def writer(self, transport: asyncio.Transport) -> Callable[[bytes], None]:
        """What writes a whole request to a connection. A proxy gets the whole URL, unless TLS goes through it."""
        proxy = self.proxy
        if proxy is None or self.tls is not None:
            return transport.write
        fields = f"\r\nProxy-Authorization: {proxy.authorization}" if proxy.authorization else ""

        def write(request: bytes) -> None:
            line, _, rest = request.partition(b"\r\n")
            method, _, path = line.partition(b" ")
            transport.write(b"%b %b%b%b\r\n%b" % (method, self.origin.encode(), path, fields.encode(), rest))

        return write

    @classmethod
    def of(cls, spec: Target, where: str, folder: str = "") -> Address:
        """The address of a target with a URL. Raises SuiteError."""
        parts = urlsplit(from_environment(spec.url or "", where))
        network = spec if isinstance(spec, Network) else Network()
        tls = tls_context(network, where, folder) if parts.scheme == "https" else None
        host, port = parts.hostname or "", parts.port or (443 if tls else 80)
        proxy = Proxy.of(network.proxy, f"{where}.proxy") if network.proxy else None
        reached = (proxy.host, proxy.port) if proxy else (host, port)
        if network.connect_to:
            reached = host_and_port(from_environment(network.connect_to, where), f"{where}.connect_to")
        return cls(
            host,
            port,
            parts.netloc.rpartition("@")[2],
            parts.path.rstrip("/"),
            tls,
            _is_ip(reached[0]),
            parts.query,
            reached,
            network.server_name or host,
            basic(parts),
            str(Path(folder) / network.unix_socket) if network.unix_socket else "",
            proxy,
        )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def connect(
    loop: asyncio.AbstractEventLoop, address: Address, protocol: Callable[[], asyncio.Protocol], spans: Spans
) -> None:
    """Connect the protocol and add each step to `spans`; `connection_made` must end the last one.

    Raises OSError, ssl.SSLError, which say why in words.
    """
    try:
        if address.unix_socket:
            await _connect_unix(loop, address, protocol, spans)
        elif address.is_plain:
            spans.append(("connect", clock(), 0))
            await loop.create_connection(protocol, *address.reached)
        else:
            await _connect(loop, address, protocol, spans)
    except OSError as error:
        raise worded(error, address.place, address.server_name) from error


async def _connect(
    loop: asyncio.AbstractEventLoop, address: Address, protocol: Callable[[], asyncio.Protocol], spans: Spans
) -> None:
    began = clock()
    infos = await loop.getaddrinfo(*address.reached, type=socket.SOCK_STREAM)
    if not address.is_literal:
        spans.append(("dns", began, clock() - began))
    began = clock()
    connection = await _connected(loop, infos)
    spans.append(("connect", began, clock() - began))
    if address.proxy and address.tls:
        began = clock()
        await _tunnel(loop, connection, address, address.proxy)
        spans.append(("proxy", began, clock() - began))
    name = address.server_name if address.tls else None
    spans += [("tls", clock(), 0)] if address.tls else []
    await loop.create_connection(protocol, sock=connection, ssl=address.tls, server_hostname=name)


async def _connect_unix(
    loop: asyncio.AbstractEventLoop, address: Address, protocol: Callable[[], asyncio.Protocol], spans: Spans
) -> None:
    began, path = clock(), address.unix_socket
    connection = await _connected_to(loop, (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
    spans.append(("connect", began, clock() - began))
    name = address.server_name if address.tls else None
    spans += [("tls", clock(), 0)] if address.tls else []
    await loop.create_unix_connection(protocol, sock=connection, ssl=address.tls, server_hostname=name)


async def _tunnel(loop: asyncio.AbstractEventLoop, connection: socket.socket, address: Address, proxy: Proxy) -> None:
    """Have the proxy connect to the server. Raises OSError where it refuses."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    target = f"{host}:{address.port}"
    fields = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    head = b""
    try:
        await loop.sock_sendall(connection, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n".encode())
        while not head.endswith(b"\r\n\r\n"):  # a byte at a time, since TLS begins right behind
            received = await loop.sock_recv(connection, 1)
            if not received or len(head) > LONGEST_PROXY_HEAD_BYTES:
                raise ConnectionError(f"the proxy {address.place} gave no answer")
            head += received
        status = head.partition(b"\r\n")[0].decode("latin-1")
        if not re.match(r"HTTP/1\.\d 2\d\d", status):
            raise ConnectionError(f"the proxy {address.place} does not connect to {target}: {status}")
    except BaseException:
        connection.close()
        raise


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
        if family != getattr(socket, "AF_UNIX", None):
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
