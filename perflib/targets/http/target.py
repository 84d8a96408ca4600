"""The target kind `http`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Any

from perflib.errors import PerflibError
from perflib.suite.auth import CommandAuth, LoginAuth, OAuthAuth
from perflib.suite.environment import filled_from_environment
from perflib.suite.operation import HttpOperation
from perflib.suite.placeholders import literal, variables_in
from perflib.suite.target import HttpTargetSpec
from perflib.targets.answer import Reader
from perflib.targets.base import Driver, Lane, TargetKind, is_loopback, require
from perflib.targets.connection import Address, check_url
from perflib.targets.http.connected import ParsedHead
from perflib.targets.http.lane import HttpLane
from perflib.targets.http.reading import ReadingHttpLane
from perflib.targets.http.request import Request, compiled
from perflib.targets.http.token import Token, Tokens, fixed_header
from perflib.targets.http.user import UserHttpLane
from perflib.targets.short_connections import ShortConnections
from perflib.targets.template import Row

_MOST_ADDRESSES = 64  # of servers that redirects led to


class HttpTarget(TargetKind):
    """An HTTP/1.0 or 1.1 server.

    reads   whether somebody looks at the answers
    token   what requests carry that the worker has logged in for; None where there is nothing, or users do
    """

    spec: HttpTargetSpec

    def __init__(self, name: str, spec: HttpTargetSpec, *, folder: str = "") -> None:
        super().__init__(name, spec, folder=folder)
        where = f"targets.{name}"
        self.address = Address.of(spec, where, folder)
        self.header_templates = {
            key: filled_from_environment(value, f"{where}.headers.{key}") for key, value in spec.headers.items()
        }
        self.keep_alive, self.redirects, self.max_body_bytes = spec.keep_alive, spec.redirects, spec.max_body_bytes
        self.token: Token | None = None
        self._tokens: Tokens | None = None
        if isinstance(spec.auth, LoginAuth | OAuthAuth | CommandAuth):
            self._tokens = Tokens(spec.auth, self, f"{where}.auth")
        elif spec.auth is not None:
            self.header_templates |= {
                key: literal(value) for key, value in fixed_header(spec.auth, f"{where}.auth").items()
            }
        elif self.address.authorization and "authorization" not in map(str.lower, self.header_templates):
            self.header_templates["Authorization"] = literal(self.address.authorization)
        self.variables = frozenset(variables_in(list(self.header_templates.values())))
        self.logs_in_users = isinstance(spec.auth, LoginAuth) and spec.auth.per == "user"
        self._renewing: asyncio.Task[None] | None = None
        self.reads = False
        self._addresses: dict[str, Address] = {}
        self.short_connections: ShortConnections | None = None
        self.parsed_heads: dict[bytes, ParsedHead] = {}  # shared by all lanes

    @classmethod
    def check(cls, name: str, spec: HttpTargetSpec, operations: list[HttpOperation]) -> None:
        check_url(name, spec)
        if isinstance(spec.auth, OAuthAuth):
            what, mend = "OAuth needs the URL that gives tokens", "set token_url"
            require(spec.auth.token_url, what, where=f"targets.{name}.auth", mend=mend)
        for operation in operations:
            Reader.of(operation)

    @property
    def keeps_cookies(self) -> bool:
        """Whether users keep the server's cookies."""
        return self.in_sequence if self.spec.cookies is None else self.spec.cookies

    def compile(self, operation: HttpOperation) -> Request:
        request = compiled(operation, self)
        if operation.keep or operation.expect or request.head:
            self.reads = True
        return request

    def lane(self, driver: Driver, index: int) -> Lane:
        if self.keeps_cookies or self._tokens is not None:
            return UserHttpLane(driver, index, self)
        return (ReadingHttpLane if self.reads else HttpLane)(driver, index, self)

    async def open(self, driver: Driver) -> None:
        if not self.keep_alive and self.address.is_plain and ShortConnections.are_possible():
            self.short_connections = ShortConnections(driver.loop, *self.address.reached)
        if self._tokens is not None and not self.logs_in_users:
            self.token = await self._tokens.get(self.given)
            if self.token.until_ns:
                self._renewing = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        """Get another token before this one is over. Where that fails, it is tried again, and the old one stays."""
        assert self._tokens is not None
        while self.token is not None and self.token.until_ns:
            await asyncio.sleep(max(1.0, (self.token.until_ns - time.monotonic_ns()) / 1e9))
            with contextlib.suppress(PerflibError):
                self.token = await self._tokens.get(self.given)

    async def new_token(self, row: Row) -> Token:
        """A token for one user, whose data fill the login. Raises TargetError."""
        assert self._tokens is not None
        return await self._tokens.get({**self.given, **row})

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self.short_connections is not None:
            self.short_connections.close()

    def hosts(self) -> list[str]:
        hosts = self.address.hosts
        if isinstance(self.spec.auth, OAuthAuth):
            hosts += self._elsewhere(self.spec.auth.token_url or "").hosts
        return hosts

    def may_go_to(self, host: str) -> bool:
        """Whether a redirect to this host is followed: the target's own, one that the suite allows, and loopback
        from loopback, since a server elsewhere must not send requests to this machine."""
        if host == self.address.host or host in self.allow_hosts:
            return True
        return is_loopback(host) and is_loopback(self.address.host)

    def address_of(self, origin: str) -> Address:
        """The address of another server, spoken to as this one is."""
        address = self._addresses.get(origin)
        if address is None:
            if len(self._addresses) >= _MOST_ADDRESSES:
                self._addresses.clear()
            address = self._addresses[origin] = self._elsewhere(origin)
        return address

    def _elsewhere(self, url: str) -> Address:
        """The address of another server, without what is for the target's own alone."""
        spec = replace(self.spec, url=url, server_name=None, client_cert=None, connect_to=None, unix_socket=None)
        return Address.of(spec, f"targets.{self.name}", self.folder)

    def info(self) -> dict[str, Any]:
        return {"host": self.address.host, "port": self.address.port}
