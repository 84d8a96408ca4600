"""The head of an HTTP answer: where it ends, and what it says of its body, its charset and the server's own time.

Heads are read as curl reads them: lines may end with a line feed alone, a length may be given several times as long as
it is the same, and what is no number is ignored.
"""

from __future__ import annotations

import codecs
import math
import re
from typing import Any, Final

import httptools

HEAD_ENDS: Final = b"\r\n\r\n"
LONGEST_HEAD_BYTES: Final = 1_000_000
_END: Final = re.compile(rb"\r?\n\r?\n")
_LENGTH_LINE: Final = re.compile(rb"\n(content-length[ \t]*:)([^\r\n]*)(?=\r?\n)", re.IGNORECASE)
_FRAMED: Final = re.compile(rb"\n(content-length[ \t]*:|transfer-encoding[ \t]*:[^\r\n]*chunked)", re.IGNORECASE)
_CHARSET: Final = re.compile(rb"\ncontent-type[ \t]*:[^\r\n]*;[ \t]*charset[ \t]*=[ \t]*[\"']?([\w.:+-]+)", re.I)
_TIMING_LINE: Final = re.compile(rb"\nserver-timing[ \t]*:([^\r\n]*)", re.IGNORECASE)
_DESCRIPTION: Final = re.compile(r';\s*desc\s*=\s*"(?:[^"\\]|\\.)*"')
_DURATION: Final = re.compile(r';\s*dur\s*=\s*"?\s*([^;"\s]*)')
MOST_LENGTHS: Final = 16  # of one head
LONGEST_TIMED_BYTES: Final = 16_384  # of a head, in which Server-Timing is looked for
LONGEST_MS: Final = 1e9  # that a server may say it took; more is no time


def new_parser(receiver: Any) -> httptools.HttpResponseParser:
    """A parser as lenient as curl, which calls `on_body` and its like of the receiver."""
    parser = httptools.HttpResponseParser(receiver)
    parser.set_dangerous_leniencies(
        lenient_headers=True,  # characters that a header may not hold
        lenient_chunked_length=True,  # a length besides chunks, which then decide
        lenient_optional_cr_before_lf=True,
        lenient_spaces_after_chunk_size=True,
    )
    return parser


def end_of_head(data: bytes | bytearray, begin: int = 0) -> int:
    """Where the first head in the data ends, looked for from `begin` on; -1 where it does not end."""
    match = _END.search(data, begin)
    return match.end() if match else -1


def ends_with_connection(head: bytes | bytearray) -> bool:
    """Whether the end of the connection completes the answer: its whole head names neither a length nor chunks."""
    end = end_of_head(head)
    return end >= 0 and not _FRAMED.search(head[:end])


def with_one_length(answer: bytes) -> bytes | None:
    """The answer with a Content-Length once that its head gives several times, always the same; None for any other."""
    end = end_of_head(answer)
    head: bytes = answer[:end]
    values = [value.strip() for _, line in _LENGTH_LINE.findall(head) for value in line.split(b",")]
    if not 2 <= len(values) <= MOST_LENGTHS or len(set(values)) > 1 or not values[0].isdigit():
        return None
    first, *others = _LENGTH_LINE.finditer(head)
    for match in reversed(others):
        head = head[: match.start()] + head[match.end() :].removeprefix(b"\r")
    return b"".join((head[: first.start(2)], b" ", values[0], head[first.end(2) :], answer[end:]))


def charset_of(head: bytes) -> str:
    """The charset that the head names, or UTF-8 where it names none that is known."""
    match = _CHARSET.search(head)
    if match is None:
        return "utf-8"
    name = match[1].decode("ascii", "replace")
    try:
        b"x".decode(name, "replace")  # refuses what is no encoding of text, as "zip"
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return "utf-8"


def text_of(body: bytes, charset: str) -> str:
    """A body as text, without its byte order mark; what is not of the charset becomes replacement characters."""
    return body.decode(charset, "replace").removeprefix("\ufeff")


def server_timing(head: bytes | bytearray) -> dict[str, int]:
    """The durations that a head's Server-Timing names, ns. What is no time, or less than none, is left out."""
    parts: dict[str, int] = {}
    for line in _TIMING_LINE.findall(head[:LONGEST_TIMED_BYTES]):
        for metric in _DESCRIPTION.sub("", line.decode("latin-1")).lower().split(","):
            duration = _DURATION.search(metric)
            try:
                ms = float(duration[1]) if duration else math.nan
            except ValueError:
                continue
            if 0 <= ms <= LONGEST_MS:
                parts.setdefault(metric.partition(";")[0].strip(), int(ms * 1e6))
    return parts


def is_http2(data: bytes) -> bool:
    """Whether an answer begins with a frame of HTTP/2: settings, or the end of the connection (RFC 9113, 6.5, 6.8)."""
    return len(data) >= 9 and data[:1] == b"\0" and data[3:4] in (b"\4", b"\7") and data[5:9] == bytes(4)


def header_values(head: bytes, name: str) -> list[str]:
    """The values of a header, one for each of its lines."""
    pattern = rb"\n" + re.escape(name.encode("latin-1", "replace")) + rb"[ \t]*:[ \t]*([^\r\n]*)"
    return [value.decode("utf-8", "replace").strip() for value in re.findall(pattern, head, re.IGNORECASE)]


def cookies_of(head: bytes) -> dict[str, str]:
    """The cookies that a head sets, by name."""
    pairs = (line.partition(";")[0].partition("=") for line in header_values(head, "set-cookie"))
    return {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals}
