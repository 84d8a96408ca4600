"""What comes back over HTTP: JSON, or server-sent events, read as they arrive.

A call is over when its answer has come, whatever becomes of the stream. Streams are read as browsers read them: lines
end with CR, LF or both, an event may have several lines of data, comments are nothing. An event that the end of the
stream cuts short still counts where its data are whole.
"""

from __future__ import annotations

import re
from typing import Any, Final

from perflib.targets.http.request import parse_json

LONGEST_MESSAGE_BYTES: Final = 64_000_000  # of one answer, event or line
MOST_EVENTS: Final = 20_000  # of one answer
_BOM: Final = b"\xef\xbb\xbf"
_TYPE: Final = re.compile(rb"\ncontent-type[ \t]*:[ \t]*([^\r\n;]*)", re.IGNORECASE)
JSON, EVENTS, OTHER = "json", "events", "other"


class Events:
    """Server-sent events from a body that arrives in pieces. feed(bytes) → the JSON-RPC messages that are complete.

    last_id    of the latest event that had one: where a stream that broke off is resumed
    retry_ms   how long the server wants a client to wait before it does so; None where it did not say
    """

    __slots__ = (
        "_data", "_endless", "_events", "_is_after_cr", "_is_first", "_kind", "_kinds", "_rest", "_size", "last_id",
        "retry_ms",
    )  # fmt: skip

    def __init__(
        self,
        last_id: str = "",
        retry_ms: int | None = None,
        *,
        kinds: tuple[bytes, ...] = (b"", b"message"),
        endless: bool = False,
    ) -> None:
        self.last_id, self.retry_ms = last_id, retry_ms
        self._kinds, self._endless = kinds, endless  # of events that are read, and whether any number of them may come
        self._rest: list[bytes] = []  # pieces of a line that has not ended
        self._data: list[bytes] = []  # lines of data of an event that has not ended
        self._kind = b""
        self._size = self._events = 0
        self._is_first, self._is_after_cr = True, False

    def feed(self, piece: bytes) -> list[Any]:
        """Raises ValueError for an event that is longer than LONGEST_MESSAGE_BYTES, and for more than MOST_EVENTS."""
        return [_parsed(data) for _, data in self.raw(piece)]

    def raw(self, piece: bytes) -> list[tuple[bytes, bytes]]:
        """The kinds and data of the events that are complete, those without data left out. Raises as `feed` does."""
        if self._is_after_cr and piece[:1] == b"\n":
            piece = piece[1:]
        self._is_after_cr = piece[-1:] == b"\r"
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._size += len(piece)
        if self._size > LONGEST_MESSAGE_BYTES:
            raise ValueError(f"an event is longer than {LONGEST_MESSAGE_BYTES:,} bytes")
        if b"\n" not in piece:
            self._rest.append(piece)
            return []
        *lines, last = b"".join([*self._rest, piece]).split(b"\n")
        self._rest = [last] if last else []
        found: list[tuple[bytes, bytes]] = []
        for line in lines:
            self._take(line, found)
        return found

    def end(self) -> list[Any]:
        """The message of an event that the end of the stream has cut short, where its data are JSON."""
        found: list[tuple[bytes, bytes]] = []
        self._take(b"".join(self._rest), found)
        self._rest = []
        self._dispatch(found)
        return [message for _, data in found if (message := _parsed(data)) is not None]

    def _take(self, line: bytes, found: list[tuple[bytes, bytes]]) -> None:
        if self._is_first:
            self._is_first, line = False, line.removeprefix(_BOM)
        if not line:
            self._dispatch(found)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._kind = value
        elif name == b"id" and b"\0" not in value:
            self.last_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry_ms = int(value)

    def _dispatch(self, found: list[tuple[bytes, bytes]]) -> None:
        """The event has ended."""
        self._events += 1
        if self._events > MOST_EVENTS and not self._endless:
            raise ValueError(f"more than {MOST_EVENTS:,} events")
        data, kind = b"\n".join(self._data), self._kind
        self._data, self._kind = [], b""
        self._size = sum(map(len, self._rest))
        if data and kind in self._kinds:
            found.append((kind, data))


def _parsed(data: bytes) -> Any:
    return parse_json(data.decode("utf-8", "replace"))


def content_type_of(head: bytes | bytearray) -> str | None:
    """The media type that a head names, in lower case; None where it names none."""
    match = _TYPE.search(head)
    return match[1].decode("latin-1").strip().lower() if match is not None else None


def kind_of(content_type: str | None, body: bytes) -> str:
    """Whether a body is JSON or events: as its media type says, or as it begins where there is none."""
    if content_type is not None:
        if content_type == "text/event-stream":
            return EVENTS
        return JSON if content_type == "application/json" or content_type.endswith("+json") else OTHER
    return JSON if body.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[") else EVENTS


def json_answer(body: bytes, number: int) -> Any:
    """The answer to request `number` in a JSON body, which may be a batch, or begin with a byte order mark."""
    value = parse_json(body.removeprefix(_BOM).decode("utf-8", "replace"))
    if not isinstance(value, list):
        return value
    answers = [each for each in value if isinstance(each, dict) and "method" not in each]
    return next((each for each in answers if each.get("id") == number), answers[0] if answers else None)
