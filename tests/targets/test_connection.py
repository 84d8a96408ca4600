"""Connecting: names with several addresses, of which some do not answer, and no proxy of the environment."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perflib.suite.target import HttpTargetSpec
from perflib.targets.connection import Address, connect
from perflib.targets.process import why_unready
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite

OK = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@contextlib.contextmanager
def dropping() -> Iterator[tuple[str, int]]:
    """An address that answers no attempt to connect, as behind a firewall: a listener whose backlog is full."""
    waiting = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        for _ in range(8):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(server.getsockname())
        yield server.getsockname()
        for connection in waiting:
            connection.close()


def refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


def connected_to(addresses: list[tuple[str, int]], wait_s: float = 2.0) -> tuple[Any, float]:
    """The peer of a connection to a name with these addresses, and how long it took, s."""

    async def main() -> tuple[Any, float]:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(*args: Any, **keys: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where) for where in addresses]

        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
        made: list[asyncio.BaseTransport] = []

        class Made(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.append(transport)

        address = Address.of(HttpTargetSpec(url="http://shop.localhost:80"), "here")
        began = time.monotonic()
        async with asyncio.timeout(wait_s):
            await connect(loop, address, Made, [])
        took_s = time.monotonic() - began
        peer = made[0].get_extra_info("peername")
        made[0].abort()  # type: ignore[attr-defined]
        return peer, took_s

    return asyncio.run(main())


def test_an_address_that_drops_costs_a_quarter_of_a_second() -> None:
    with dropping() as dead, listening() as alive:
        peer, took_s = connected_to([dead, alive])
    assert peer == alive
    assert 0.2 < took_s < 0.45


def test_an_address_that_refuses_costs_nothing_and_the_first_that_answers_is_taken() -> None:
    with listening() as alive, listening() as other:
        peer, took_s = connected_to([refusing(), alive, other])
    assert peer == alive
    assert took_s < 0.2


def test_where_all_refuse_the_reason_is_raised() -> None:
    with pytest.raises(ConnectionRefusedError):
        connected_to([refusing(), refusing()])


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name not known: shop.localhost:80"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "shop.localhost:80: Temporary failure"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files: raise the limit (ulimit -n)"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to shop.localhost:80"),
    ],
    ids=["name", "name server", "files", "route"],
)
def test_what_the_system_says_is_said_in_words(problem: OSError, said: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(*args: Any, **keys: Any) -> list[Any]:
            raise problem

        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
        await connect(loop, Address.of(HttpTargetSpec(url="http://shop.localhost:80"), "here"), asyncio.Protocol, [])

    with pytest.raises(type(problem)) as caught:
        asyncio.run(main())
    assert str(caught.value).startswith(said)


def test_no_proxy_of_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with raw_server(OK) as url:
        target = {"kind": "http", "url": url, "ready": {"http": "/up"}}
        assert why_unready(HttpTargetSpec(**target)) == ""
        made = run_quietly(suite(target), tmp_path)
    assert made.rows(phase=None)["ok"].all()
