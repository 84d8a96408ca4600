"""A lane of a user: it keeps the server's cookies, and carries a token that it or its worker has logged in for.

A round of a sequence begins without cookies, as a visitor does, or with those that `each_user` has got. A user who has
to log in does so before the first request, whose service time begins after it; a span `login` shows it.
"""

from __future__ import annotations

import asyncio
import email
from copy import copy
from http.cookiejar import Cookie, CookieJar
from typing import Any, Final, Protocol
from urllib.request import Request as UrlRequest

from perflib.targets.base import Driver, in_words
from perflib.targets.http.connected import Server, clock
from perflib.targets.http.reading import HttpAnswer, ReadingHttpLane
from perflib.targets.http.token import Token
from perflib.targets.template import Row

MOST_COOKIES: Final = 300  # of a user, as browsers allow at least (RFC 6265, 6.1: 50 a server)


class Site(Server, Protocol):
    """A server whose users have sessions.

    keeps_cookies   whether users keep its cookies
    logs_in_users   whether each user gets a token of its own
    token           what the worker has logged in for; None where there is nothing, or users do
    """

    @property
    def keeps_cookies(self) -> bool: ...

    @property
    def logs_in_users(self) -> bool: ...

    @property
    def token(self) -> Token | None: ...

    async def new_token(self, row: Row) -> Token:
        """A token for one user, whose data fill the login. Raises TargetError."""
        ...


class _Headers:
    """An answer's head, as the cookie jar asks for it."""

    def __init__(self, head: bytes) -> None:
        self._message = email.message_from_string(head.partition(b"\n")[2].decode("latin-1"))

    def info(self) -> Any:
        return self._message


class UserHttpLane(ReadingHttpLane):
    """One connection of one user."""

    __slots__ = ("_jar", "_login", "_of", "_own_cookies", "_own_token", "_site")

    def __init__(self, driver: Driver, index: int, site: Site) -> None:
        super().__init__(driver, index, site)
        self._site = site
        self._jar: CookieJar | None = None  # made with the first cookie
        self._of: dict[str, Any] | None = None  # the round that the cookies belong to, as its kept fields
        self._own_cookies: list[Cookie] = []  # that each round begins with
        self._own_token: Token | None = None  # of this user, who has logged in
        self._login: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._of is not self.kept_fields and self._site.keeps_cookies:
            self._jar, self._of = None, self.kept_fields
            if self._own_cookies:
                self._jar = CookieJar()
                for cookie in self._own_cookies:
                    self._jar.set_cookie(copy(cookie))
        token = self._own_token
        if self._site.logs_in_users and (token is None or token.is_over(clock())):
            self.start_ns, self._sent = clock(), 0
            self._login = self.driver.loop.create_task(self._log_in())
            return
        self._send()

    @property
    def _token(self) -> Token | None:
        return self._own_token or self._site.token

    def _send(self) -> None:
        request = self.op.request
        if self._jar is None and self._token is None:
            super().start()
            return
        self._expect_answer()
        try:
            payload = self._addressed(request.fixed or request.build(self.row))
        except Exception as problem:  # nothing fills a name, or what does cannot be written
            self._not_built(problem)
            return
        self._sent = len(payload)
        self.start_ns = clock()
        self._write(payload)

    async def _log_in(self) -> None:
        """Get a token for this user, then send what was to be sent."""
        began = clock()
        try:
            self._own_token = await self._site.new_token(self.row)
        except Exception as problem:
            self._login = None
            self._not_connected("login", in_words(problem))
            return
        self._login = None
        self._setup.append(("login", began, clock() - began))
        self._send()

    def _addressed(self, payload: bytes) -> bytes:
        """The request with the user's token and cookies. Neither goes to another server, nor replaces a header."""
        own, address = self.op.request.own_headers, self._address
        lines = b""
        token = self._token
        if token is not None and self._elsewhere is None and token.header.lower() not in own:
            lines = token.line
        if self._jar and "cookie" not in own:
            path = payload.split(b" ", 2)[1].decode("latin-1")
            asking = UrlRequest(address.origin + path)
            self._jar.add_cookie_header(asking)
            cookies = asking.get_header("Cookie")
            lines += f"Cookie: {cookies}\r\n".encode("latin-1", "replace") if cookies else b""
        if not lines:
            return payload
        at = payload.find(b"\r\n") + 2
        return payload[:at] + lines + payload[at:]

    def _note_head(self) -> None:
        if b"et-cookie" in self._head.lower() and self._site.keeps_cookies:
            if self._jar is None:
                self._jar = CookieJar()
            request = self._hop if self._hops else self._request_bytes()
            path = request.split(b" ", 2)[1].decode("latin-1") if request else "/"
            head = self._head.partition(b"\r\n\r\n")[0]
            self._jar.extract_cookies(_Headers(head), UrlRequest(self._address.origin + path))  # type: ignore[arg-type]
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        jar = self._jar
        if jar is not None and len(jar) > MOST_COOKIES:
            for cookie in list(jar)[: len(jar) - MOST_COOKIES]:
                jar.clear(cookie.domain, cookie.path, cookie.name)

    def _remember(self, status: int, error: int, server_ns: int) -> None:
        if b"et-cookie" not in self._head.lower():  # a head that sets a cookie is to be read each time
            super()._remember(status, error, server_ns)

    def _whole_answer(self, status: int) -> HttpAnswer:
        answer = super()._whole_answer(status)
        answer.jar = {cookie.name: cookie.value or "" for cookie in self._cookies()}
        return answer

    def settle(self) -> None:
        self._own_cookies = self._cookies()

    def _cookies(self) -> list[Cookie]:
        return list(self._jar) if self._jar is not None else []

    def abort(self, error: str) -> None:
        if self._login is not None:
            self._login.cancel()
            self._login = None
        super().abort(error)

    def close(self) -> None:
        if self._login is not None:
            self._login.cancel()
        super().close()
