"""What a request left behind, as evidence: the request's bytes, and the head and the beginning of its answer."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final

import httptools

from perflib.targets.heads import charset_of, end_of_head, header_values, new_parser, text_of

ANSWER_BYTES: Final = 8192  # of an answer that are at hand when its request is over: its head, and some of its body
BODY_BYTES: Final = 2048  # of a body that are shown
_ENCODING: Final = re.compile(rb"\ncontent-encoding[ \t]*:[ \t]*(gzip|x-gzip|deflate)[ \t]*\r?\n", re.IGNORECASE)
_FIELDS: Final = ("detail", "message", "error_description", "error", "title", "reason", "msg", "errors")
_FIELD: Final = re.compile(r'"(?:detail|message|error|title|reason|msg)"\s*:\s*"((?:[^"\\]|\\.)*)')
_TITLE: Final = re.compile(r"<title[^>]*>([^<]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Texts of a request and of its answer, as far as they are known; "" where there is none.

    request   its first line, its header lines and its body
    head      status line and header lines of the answer
    body      its first BODY_BYTES, chunks and compression undone
    """

    request: str = ""
    head: str = ""
    body: str = ""

    @classmethod
    def of_http(cls, request: bytes, answer: bytes) -> Evidence:
        """The evidence of an HTTP request, from its bytes and the first ones of its answer."""
        end = max(end_of_head(answer), 0)
        head = answer[:end]
        body = text_of(_body(answer, head), charset_of(head))
        request = request[: max(end_of_head(request), 0) + BODY_BYTES]
        return cls(request.decode("utf-8", "replace"), head.decode("latin-1"), body)

    @property
    def status_line(self) -> str:
        """The answer's first line without the version: "502 Bad Gateway"."""
        return self.head.partition("\n")[0].partition(" ")[2].strip()

    @property
    def message(self) -> str:
        """What the answer says is wrong: a field of its JSON, the title of its page, the last line of a traceback, its
        first line; the status where it has no body. What it wants to be shown (WWW-Authenticate) comes with it."""
        said = said_in(self.body) or self.status_line
        challenge = header_values(self.head.encode("latin-1", "replace"), "www-authenticate")
        return f"{said}; WWW-Authenticate: {challenge[0]}" if challenge else said


def said_in(body: str) -> str:
    """The sentence of a body that says what is wrong; "" where the body is empty."""
    body = body.strip()
    if body.startswith(("data:", "event:", "id:")):  # server-sent events
        data = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
        body = next(filter(None, reversed(data)), body)  # the last one is the answer
    if body.startswith(("{", "[", '"')):
        try:
            said = _said(json.loads(body))
        except (ValueError, RecursionError):  # it was cut, or is no JSON
            said = match[1] if (match := _FIELD.search(body)) else ""
        if said:
            return said
    if body.startswith("<") and (match := _TITLE.search(body)):
        return match[1].strip()
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    return "" if not lines else lines[-1] if "Traceback (most recent call last)" in body else lines[0]


def _said(value: Any, depth: int = 4) -> str:
    """The text of the first field of a JSON value whose name promises a message; "" where there is none."""
    if isinstance(value, str) or depth == 0:
        return value if isinstance(value, str) else ""
    if isinstance(value, list):
        return next((said for each in value[:4] if (said := _said(each, depth - 1))), "")
    if not isinstance(value, dict):
        return ""
    result = value.get("result")
    if isinstance(result, dict) and isinstance(result.get("content"), list):  # a tool's answer
        return next((str(part["text"]) for part in result["content"] if isinstance(part, dict) and "text" in part), "")
    return next((said for name in _FIELDS if (said := _said(value.get(name), depth - 1))), "")


class _Bodies:
    """Collects the parts of a body for a parser."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)


def _body(answer: bytes, head: bytes) -> bytes:
    """The first bytes of an answer's body, from those of the answer; what is no HTTP is all body."""
    bodies = _Bodies()
    try:
        new_parser(bodies).feed_data(answer)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        bodies.parts = bodies.parts or [answer[len(head) :]]
    body = b"".join(bodies.parts)
    encoding = _ENCODING.search(head)
    if encoding:
        try:
            body = zlib.decompressobj(15 + 32 if b"gzip" in encoding[1].lower() else 15).decompress(body, BODY_BYTES)
        except zlib.error:
            pass  # it is shown as it came
    return body[:BODY_BYTES]
