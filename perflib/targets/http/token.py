"""Tokens: what `auth` says a request carries, and how it is got and renewed before it is over."""

from __future__ import annotations

import asyncio
import subprocess
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from perflib.errors import TargetError
from perflib.suite.answers import Kept
from perflib.suite.auth import Auth, BasicAuth, BearerAuth, CommandAuth, LoginAuth, OAuthAuth
from perflib.suite.environment import READ, filled_from_environment, from_environment
from perflib.suite.operation import HttpOperation
from perflib.targets.answer import said_of, source_of
from perflib.targets.connection import Address
from perflib.targets.evidence import said_in
from perflib.targets.exchange import HttpClient
from perflib.targets.http.reading import MOST_BODY_BYTES, HttpAnswer
from perflib.targets.http.request import Sender, compiled, one_header_line
from perflib.targets.json_path import MISSING
from perflib.targets.template import Row

RENEWED_AFTER: Final = 0.8  # of a token's life
PATIENCE_S: Final = 30.0  # for a login


@dataclass(frozen=True, slots=True)
class Token:
    """A header that says who sends a request. `until_ns`: when it is to be renewed, 0 for never."""

    header: str
    value: str
    until_ns: int = 0

    @property
    def line(self) -> bytes:
        return f"{self.header}: {one_header_line(self.value)}\r\n".encode()

    def is_over(self, now_ns: int) -> bool:
        return 0 < self.until_ns <= now_ns


def fixed_header(auth: Auth, where: str) -> dict[str, str]:
    """The header of an auth that needs no login; {} for any other. Raises SuiteError."""
    import base64

    if isinstance(auth, BasicAuth):
        user, password = from_environment(auth.user, where), from_environment(auth.password, where)
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        READ[f"{where}.password"], READ[f"{where}.authorization"] = password, encoded
        return {"Authorization": f"Basic {encoded}"}
    if isinstance(auth, BearerAuth):
        READ[f"{where}.token"] = token = from_environment(auth.token, where)
        return {"Authorization": f"Bearer {token}"}
    return {}


class Tokens:
    """Gets tokens as an auth of kind `login`, `oauth` or `command` says.

    token = await Tokens(auth, sender, "targets.api.auth").get(row)
    """

    def __init__(self, auth: LoginAuth | OAuthAuth | CommandAuth, sender: Sender, where: str) -> None:
        self._auth, self._sender, self._where = auth, sender, where

    async def get(self, row: Row) -> Token:
        """A new token. `row`: values for the variables of a login. Raises TargetError."""
        auth = self._auth
        try:
            async with asyncio.timeout(PATIENCE_S):
                if isinstance(auth, LoginAuth):
                    value, lasts_s = await self._log_in(auth, row)
                    token = _token(auth.header, auth.prefix + value, auth.lasts_s or lasts_s)
                elif isinstance(auth, OAuthAuth):
                    value, lasts_s = await self._ask(auth)
                    token = _token("Authorization", f"Bearer {value}", lasts_s)
                else:
                    value = await asyncio.to_thread(self._run, auth)
                    token = _token("Authorization", f"Bearer {value}", auth.lasts_s)
        except TimeoutError:
            raise self._problem(f"no token within {PATIENCE_S:g} s") from None
        except OSError as error:
            raise self._problem(f"no token: {error.strerror or error}") from None
        READ[f"{self._where}.token"] = value
        return token

    async def _log_in(self, auth: LoginAuth, row: Row) -> tuple[str, float | None]:
        operation = HttpOperation(
            name="login", method="POST", path=auth.path, json=auth.json, form=auth.form, headers=auth.headers
        )
        answer = await self._exchange(self._sender.address, compiled(operation, self._sender).build(row))
        kept = Kept(json=auth.token) if isinstance(auth.token, str) else auth.token
        found = source_of(kept)(answer)
        if found is MISSING or found is None:
            raise self._problem(f"the answer to the login has no {said_of(kept)}")
        return str(found), _lasts_s(answer.json)

    async def _ask(self, auth: OAuthAuth) -> tuple[str, float | None]:
        address = self._sender.address_of(from_environment(auth.token_url or "", self._where))
        user, password = (from_environment(text, self._where) for text in (auth.client_id, auth.client_secret))
        READ[f"{self._where}.client_secret"] = password
        fields, lines = {"grant_type": "client_credentials"}, ""
        if auth.client_in == "header":
            pair = f"{quote_plus(user)}:{quote_plus(password)}"  # RFC 6749, 2.3.1
            lines = f"Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
        else:
            fields |= {"client_id": user, "client_secret": password}
        fields |= {"scope": auth.scope} if auth.scope else {}
        body = urlencode(fields | filled_from_environment(dict(auth.params), self._where)).encode()
        path = (address.base_path or "/") + (f"?{address.query}" if address.query else "")
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {address.authority}\r\nAccept: application/json\r\n"
            f"{lines}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answer = await self._exchange(address, head.encode() + body)
        token = answer.json.get("access_token") if isinstance(answer.json, Mapping) else None
        if not isinstance(token, str):
            raise self._problem("the answer of the token's server has no access_token")
        return token, _lasts_s(answer.json)

    def _run(self, auth: CommandAuth) -> str:
        command = [from_environment(part, self._where) for part in auth.command]
        try:
            done = subprocess.run(
                command,
                cwd=self._sender.folder or None,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        if done.returncode or not done.stdout.strip():
            said = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            raise self._problem(f"{command[0]} ended with {done.returncode}: {said[:200]}")
        return done.stdout.strip()

    async def _exchange(self, address: Address, payload: bytes) -> HttpAnswer:
        client = HttpClient(address)
        began = time.monotonic()
        try:
            status, head, body = await client.request(payload)
        finally:
            client.close()
        lines = "".join(f"\r\n{name}: {value}" for name, value in head.items())
        answer = HttpAnswer(
            status, f"HTTP/1.1 {status}{lines}\r\n\r\n".encode(), body, time.monotonic() - began, MOST_BODY_BYTES
        )
        if status >= 400:
            raise self._problem(f"the login was answered with status {status}: {said_in(answer.text)[:200]}")
        return answer

    def _problem(self, what: str) -> TargetError:
        return TargetError(what, where=self._where, mend="look at `auth` in the suite, and at the server's log")


def _token(header: str, value: str, lasts_s: float | None) -> Token:
    until = 0 if lasts_s is None else time.monotonic_ns() + int(lasts_s * RENEWED_AFTER * 1e9)
    return Token(header, value, until)


def _lasts_s(answer: Any) -> float | None:
    """The life of a token, as an answer's `expires_in` says it."""
    value = answer.get("expires_in") if isinstance(answer, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
