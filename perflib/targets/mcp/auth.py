"""The token that requests carry: got before the load, renewed before it is over, and anew where the server refuses it.

OAuth finds the token's server by itself, as the specification says: the server that refuses a request names its
metadata (RFC 9728), these name an authorization server, and its metadata (RFC 8414) name the URL that gives tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Literal, Protocol
from urllib.parse import urljoin, urlsplit

from perflib.errors import PerflibError, TargetError
from perflib.suite.auth import CommandAuth, LoginAuth, OAuthAuth
from perflib.targets.connection import Address
from perflib.targets.exchange import HttpClient
from perflib.targets.heads import text_of
from perflib.targets.http.request import Sender, parse_json
from perflib.targets.http.token import Token, Tokens

SLACK_S: Final = 1.0  # between two tokens, where the server refuses every one
_METADATA: Final = re.compile(r'resource_metadata="([^"]+)"')


class Site(Sender, Protocol):
    """A server that wants tokens. `token_line`: the header line of the latest one, b"" before there is one."""

    where: str
    token_line: bytes

    def may_go_to(self, host: str) -> bool:
        """Whether requests may go to this host."""
        ...


class Renewal:
    """The token of one target.

    renewal = Renewal(auth, site); await renewal.begin(); site.token_line; renewal.refused(); renewal.close()
    """

    def __init__(self, auth: LoginAuth | OAuthAuth | CommandAuth, site: Site) -> None:
        self._auth, self._site = auth, site
        self._tokens: Tokens | None = None
        self._token: Token | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._got_at = 0.0
        self._wake = asyncio.Event()

    async def begin(self) -> None:
        """Get the first token, and renew it from now on. Raises TargetError."""
        auth = self._auth
        if isinstance(auth, OAuthAuth) and auth.token_url is None:
            try:
                async with asyncio.timeout(30):
                    url, client_in = await token_endpoint(self._site)
                    auth = replace(auth, token_url=url, client_in=auth.client_in or client_in)
            except (OSError, TimeoutError) as error:
                raise _not_found(self._site, f"{type(error).__name__} {error}".strip()) from None
        self._tokens = Tokens(auth, self._site, f"{self._site.where}.auth")
        await self._get()
        self._renewing = asyncio.create_task(self._renew())

    async def _get(self) -> None:
        assert self._tokens is not None
        self._token = await self._tokens.get({})
        self._got_at, self._site.token_line = time.monotonic(), self._token.line

    async def _renew(self) -> None:
        """Get another token before this one is over, and where it is refused; where that fails, the old one stays."""
        while True:
            until_ns = self._token.until_ns if self._token is not None else 0
            left_s = max(SLACK_S, (until_ns - time.monotonic_ns()) / 1e9) if until_ns else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            self._wake.clear()
            with contextlib.suppress(PerflibError):
                await self._get()

    def refused(self) -> None:
        """A request came back with status 401: the token may be over before its time."""
        if time.monotonic() - self._got_at > SLACK_S:
            self._wake.set()

    def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()


async def token_endpoint(site: Site) -> tuple[str, Literal["body", "header"]]:
    """Where the authorization server of a resource gives tokens, and how a client says who it is (RFC 8414).

    Raises TargetError, OSError.
    """
    address = site.address
    path = address.base_path or "/"
    status, headers, _ = await _ask(address, "POST", path, b"{}")
    named = _METADATA.search(headers.get("www-authenticate", ""))
    places = [named[1]] if named else []
    places += [f"/.well-known/oauth-protected-resource{path.rstrip('/')}", "/.well-known/oauth-protected-resource"]
    resource = await _first(site, address, places)
    servers = resource.get("authorization_servers")
    issuer = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], str) else address.origin
    found = await _first(site, address, list(_metadata_urls(issuer)))
    url = found.get("token_endpoint")
    if not isinstance(url, str):
        raise _not_found(site, f"status {status} and no metadata that name a token_endpoint")
    _must_be_allowed(site, url)
    methods = found.get("token_endpoint_auth_methods_supported")
    takes_body = isinstance(methods, list) and "client_secret_post" in methods
    return url, "body" if takes_body else "header"


def _metadata_urls(issuer: str) -> Iterator[str]:
    """Where the metadata of an authorization server may be."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    yield f"{origin}/.well-known/oauth-authorization-server{path}"
    yield f"{origin}/.well-known/openid-configuration{path}"
    yield f"{origin}{path}/.well-known/openid-configuration"


async def _first(site: Site, address: Address, places: list[str]) -> dict[str, Any]:
    """The first of these that is a JSON object; {} where none is."""
    for place in places:
        url = urljoin(address.origin, place)
        _must_be_allowed(site, url)
        parts = urlsplit(url)
        there = address if f"{parts.scheme}://{parts.netloc}" == address.origin else site.address_of(url)
        status, _, body = await _ask(there, "GET", parts.path or "/", b"")
        value = parse_json(text_of(body, "utf-8")) if status == 200 else None
        if isinstance(value, dict):
            return value
    return {}


async def _ask(address: Address, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    client = HttpClient(address, 1_000_000)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {address.authority}\r\nUser-Agent: perflib\r\n"
        "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        return await client.request(head.encode() + body)
    finally:
        client.close()


def _must_be_allowed(site: Site, url: str) -> None:
    host = urlsplit(url).hostname or ""
    if not site.may_go_to(host):
        mend = f"if you may ask it, set allow_hosts = [{json.dumps(host)}] in the suite"
        raise TargetError(f"its tokens come from {host!r}", where=f"{site.where}.auth", mend=mend)


def _not_found(site: Site, why: str) -> TargetError:
    what = f"the server does not say where its tokens come from: {why}"
    return TargetError(what[:300], where=f"{site.where}.auth", mend="set token_url")
