"""What a server asks that belongs to no call, in the era of sessions: on a stream of its own, which a GET opens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from perflib.targets.exchange import HttpClient
from perflib.targets.mcp.events import Events
from perflib.targets.mcp.session import Session, Site
from perflib.targets.mcp.wire import reply_to_server

POSTED_S: Final = 5.0  # that a message without an answer may take
OPENED_S: Final = 1.0  # that the stream is waited for, since a server may drop what it asks without one
REOPENED_AFTER_S: Final = 1.0  # where the server does not say when


async def post(site: Site, session: Session, message: bytes) -> None:
    """Send a message that has no answer. That it cannot be sent will show in the call that waits for it."""
    client = HttpClient(site.address)
    head = session.head + site.token_line
    try:
        async with asyncio.timeout(POSTED_S):
            await client.request(head + b"Content-Length: %d\r\n\r\n%b" % (len(message), message))
    except (OSError, TimeoutError):
        pass
    finally:
        client.close()


class Listener:
    """Answers what the server asks on its own stream until it refuses the stream, as one that has none does."""

    def __init__(self, site: Site, session: Session, answers: Mapping[str, Any]) -> None:
        self._site, self._session, self._answers = site, session, answers
        self._events = Events(endless=True)
        self._replies: set[asyncio.Task[None]] = set()
        self._is_open = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def opened(self) -> None:
        """Wait until the stream is open, or there is none, but not for long."""
        opening = asyncio.ensure_future(self._is_open.wait())
        await asyncio.wait({opening, self._task}, timeout=OPENED_S, return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()

    async def _listen(self) -> None:
        line, _, lines = self._session.head.partition(b"\r\n")
        while True:
            self._events = Events(endless=True)
            client = HttpClient(self._site.address)
            head = b"%b\r\n%b%b\r\n" % (line.replace(b"POST", b"GET", 1), lines, self._site.token_line)
            try:
                status, headers, _ = await client.request(head, self._read, self._is_open)
                if status != 200 or "event-stream" not in headers.get("content-type", ""):
                    return
            except OSError:
                pass  # it broke off
            finally:
                client.close()
            retry_ms = self._events.retry_ms
            await asyncio.sleep(REOPENED_AFTER_S if retry_ms is None else retry_ms / 1e3)

    def _read(self, headers: Mapping[str, str], piece: bytes) -> bool:
        """Whether no more is to be read."""
        if "event-stream" not in headers.get("content-type", ""):
            return True
        for message in self._events.feed(piece):
            if isinstance(message, dict) and "method" in message and "id" in message:
                reply = reply_to_server(message, self._answers)
                task = asyncio.get_running_loop().create_task(post(self._site, self._session, reply))
                self._replies.add(task)
                task.add_done_callback(self._replies.discard)
        return False

    def close(self) -> None:
        for task in (self._task, *self._replies):
            task.cancel()
