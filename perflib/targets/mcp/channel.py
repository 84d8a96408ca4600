"""Any number of calls in flight with one server: who waits for which answer, and what the server asks meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from perflib.targets.http.request import parse_json
from perflib.targets.mcp.wire import FIRST_ID, encode_request, reply_to_server

ID: Final = re.compile(rb'"id":\s*(\d{1,18})(?=[,}\s])')
STRAY_BYTES: Final = 80
MOST_UNREAD_BYTES: Final = 1_000_000  # of replies to a server that does not read them


class Channel(ABC):
    """A server that answers in any order.

    pending          whoever waits for an answer, by the id of its request
    alive            whether it still answers
    sent, received   bytes
    capabilities     of the client, which follow from what the suite answers to requests of the server
    pid              of its process, where it has one here
    stray            the beginning of the latest line that is no message
    """

    transport = ""

    def __init__(self, answers: Mapping[str, Any], capabilities: Mapping[str, Any]) -> None:
        self._answers, self.capabilities = answers, capabilities
        self.pending: dict[int, Any] = {}
        self.alive = True
        self.sent = self.received = 0
        self.pid: int | None = None
        self.stray = b""
        self._numbers = itertools.count(FIRST_ID // 2)

    @abstractmethod
    def send(self, payload: bytes) -> bool:
        """Send a message, a line. False where the server is gone."""

    @abstractmethod
    def describe_end(self) -> str:
        """Why it answers no more."""

    async def end_in_words(self) -> str:
        """The same, once that is known."""
        return self.describe_end()

    @abstractmethod
    async def close(self) -> None:
        """End it."""

    def _unread_bytes(self) -> int:
        """Bytes that were sent to the server, and wait for it to read them."""
        return 0

    def receive(self, line: bytes) -> None:
        """Handle one line. An answer whose bytes, apart from its id, have been read before has a cached error code."""
        self.received += len(line) + 1
        match = ID.search(line)
        if match is None:
            self._read(line, None, b"")
            return
        number = int(match[1])
        without_id = line[: match.start(1)] + line[match.end(1) :]
        waiting = self.pending.get(number)
        if waiting is not None and waiting.accepts_cached:
            code = waiting.op.request.cached_codes.get(without_id)
            if code is not None:
                del self.pending[number]
                waiting.finish_cached(code, len(line) + 1)
                return
        self._read(line, number, without_id)

    def _read(self, line: bytes, first_id: int | None, without_id: bytes) -> None:
        message = parse_json(line.decode("utf-8", "replace"))
        if isinstance(message, list):  # a batch
            for each in message:
                self._take(each, line, None, b"")
        else:
            self._take(message, line, first_id, without_id)

    def _take(self, message: Any, line: bytes, first_id: int | None, without_id: bytes) -> None:
        if not isinstance(message, dict):
            if line.strip():
                self.stray = line[:STRAY_BYTES]
            if line[:1] == b"{" and b'"jsonrpc"' in line and len(self.pending) == 1:
                # The one answer that is due, and it cannot be read; else a log line on stdout.
                self.pending.popitem()[1].finish(None, len(line) + 1, "protocol")
            return
        if "method" in message:
            if "id" in message and self._unread_bytes() < MOST_UNREAD_BYTES:
                self.send(reply_to_server(message, self._answers) + b"\n")
            return
        waiting = self._waiting_for(message)
        if waiting is not None:
            number = message.get("id")
            waiting.finish(message, len(line) + 1, without_id=without_id if number == first_id else b"")

    def _waiting_for(self, message: dict[str, Any]) -> Any:
        """Whoever waits for an answer. Some servers give the id back as text; an error may have none at all."""
        number = message.get("id")
        if isinstance(number, str) and number.isdigit() and len(number) < 20:
            number = int(number)
        if number is None and "error" in message and self.pending:
            number = next(iter(self.pending))  # the server could not read a request: the oldest one, most likely
        return self.pending.pop(number, None) if isinstance(number, int) else None

    def _end(self) -> None:
        """Fail all that still waits: no answer will come."""
        self.alive = False
        waiting, self.pending = list(self.pending.values()), {}
        for request in waiting:
            request.finish(None, 0, "reset")

    async def ask(self, method: str, params: Mapping[str, Any], *, modern: bool = False) -> dict[str, Any]:
        number, answered = next(self._numbers), asyncio.get_running_loop().create_future()
        self.pending[number] = _Asked(answered)
        try:
            request = encode_request(method, params, modern=modern, capabilities=self.capabilities)
            if not self.send(request.body(number) + b"\n"):
                raise ConnectionResetError
            answer: dict[str, Any] = await answered
            return answer
        except ConnectionResetError:
            raise ConnectionResetError(await self.end_in_words()) from None
        finally:
            self.pending.pop(number, None)

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method} | ({"params": params} if params else {})
        self.send(json.dumps(message).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class _Asked:
    answered: asyncio.Future[dict[str, Any]]

    accepts_cached = False

    def finish(self, answer: Any, received: int, error: str = "", without_id: bytes = b"", why: str = "") -> None:
        if self.answered.done():
            return
        if error == "reset":
            self.answered.set_exception(ConnectionResetError())
        else:
            self.answered.set_result(answer or ({"error": {"code": 0, "message": why}} if why else {}))
