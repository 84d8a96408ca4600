"""An operation of HTTP as the bytes of its request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from json import JSONDecoder
from typing import Any, Final, Protocol

from perflib.suite.environment import filled_from_environment
from perflib.suite.operation import HttpOperation
from perflib.targets.connection import Address
from perflib.targets.http.body import body_of, pairs_template
from perflib.targets.http.path import path_template
from perflib.targets.template import Row, Text, text_template, variables_in

MOST_PARTS: Final = 2_000_000  # of a JSON value: each takes up to 100 bytes of memory

IDEMPOTENT: Final = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")  # RFC 9110, 9.2.2


@dataclass(frozen=True, slots=True)
class Request:
    """An operation as bytes: `fixed`, or `build(row)` where it has variables.

    head          its method is HEAD
    idempotent    it may be sent again where nobody knows whether the server acted on it
    own_headers   the names of the operation's own headers, in lower case
    """

    fixed: bytes | None
    build: Callable[[Row], bytes]
    head: bool
    idempotent: bool
    own_headers: frozenset[str] = frozenset()


class Sender(Protocol):
    """What all requests to a target share.

    header_templates   the target's headers, which may have {names}; one with a name that has no value yet is left out
    given              values that are the same in all requests
    folder             of the suite
    """

    given: Mapping[str, Any]
    keep_alive: bool
    folder: str

    @property
    def address(self) -> Address: ...

    @property
    def header_templates(self) -> Mapping[str, str]: ...

    def address_of(self, origin: str) -> Address:
        """The address of another server."""
        ...


def compiled(operation: HttpOperation, sender: Sender) -> Request:
    """The operation, ready to send. Its own headers replace those of the target. Raises SuiteError."""
    method = (operation.method or ("POST" if operation.bodies else "GET")).upper()
    operation = with_environment(operation)
    own = dict(operation.headers)
    replaced = {name.lower() for name in own}
    templates = sender.header_templates.items()
    of_target = {name: value for name, value in templates if name.lower() not in replaced}
    headers = {name: value for name, value in of_target.items() if not variables_in(value)} | own
    build = _builder(operation, method, headers, sender)
    if filled := {name: value for name, value in of_target.items() if name not in headers}:
        build = _with_headers(build, filled)
    varies = variables_in([operation.texts(), list(filled.values())]) - sender.given.keys()
    fixed = None if varies else build(sender.given)
    return Request(fixed, build, method == "HEAD", method in IDEMPOTENT, frozenset(replaced))


def _with_headers(build: Callable[[Row], bytes], headers: dict[str, str]) -> Callable[[Row], bytes]:
    """The request with headers of the target that have {names}. One is left out while a name of it has no value."""
    lines = [
        (frozenset(variables_in(value)), text_template(f"{name}: {value}\r\n", one_header_line, raw=one_header_line))
        for name, value in headers.items()
    ]

    def built(row: Row) -> bytes:
        payload = build(row)
        more = "".join(fill(row) for names, fill in lines if names <= row.keys())
        at = payload.find(b"\r\n") + 2
        return payload[:at] + more.encode() + payload[at:]

    return built


def with_environment(operation: HttpOperation) -> HttpOperation:
    """The operation with ${NAME} filled in from the environment in all its texts."""
    where = f"operation {operation.name!r}"
    texts = {key: getattr(operation, key) for key in ("path", "params", "headers", "json", "form", "multipart", "body")}
    return replace(operation, **{key: filled_from_environment(value, where) for key, value in texts.items()})


def _builder(operation: HttpOperation, method: str, headers: dict[str, str], sender: Sender) -> Callable[[Row], bytes]:
    """A function that writes the request for a row. What does not vary is written beforehand."""
    target = target_template(operation, sender.address)
    body = body_of(operation, sender.folder)
    given = {name.lower() for name in headers}
    usual = {"Host": sender.address.authority, "User-Agent": "perflib", "Accept": "*/*"}
    if body.content_type:
        usual["Content-Type"] = body.content_type
    if not sender.keep_alive:
        usual["Connection"] = "close"
    usual = {name: value for name, value in usual.items() if name.lower() not in given}
    lines = "".join(f"{name}: {one_header_line(value)}\r\n" for name, value in (usual | headers).items())
    sends_length = (operation.bodies or method in ("POST", "PUT", "PATCH")) and "content-length" not in given
    begin = f"{method} "
    if not variables_in([lines, *body.texts]):
        content = body.make({})
        length = f"Content-Length: {len(content)}\r\n" if sends_length else ""
        rest = f" HTTP/1.1\r\n{text_template(lines)({})}{length}\r\n".encode() + content
        return lambda row: f"{begin}{target(row)}".encode() + rest
    if body.ascii is not None and sends_length and not variables_in(lines):
        return _in_one_piece(begin, target, text_template(lines)({}), body.ascii)
    fill = text_template(lines, one_header_line, raw=one_header_line)

    def build(row: Row) -> bytes:
        content = body.make(row)
        length = f"Content-Length: {len(content)}\r\n" if sends_length else ""
        return f"{begin}{target(row)} HTTP/1.1\r\n{fill(row)}{length}\r\n".encode() + content

    return build


def _in_one_piece(begin: str, target: Text, headers: str, body: Text) -> Callable[[Row], bytes]:
    """The usual request with variables, encoded once: its headers are the same each time, and its body is ASCII."""
    between = f" HTTP/1.1\r\n{headers}Content-Length: "

    def build(row: Row) -> bytes:
        content = body(row)
        return f"{begin}{target(row)}{between}{len(content)}\r\n\r\n{content}".encode()

    return build


def target_template(operation: HttpOperation, address: Address) -> Text:
    """The path of a request with its query: that of the target's URL, of the operation's path, and its `params`."""
    path = path_template(operation.path, address)
    if not operation.params:
        return path
    params = pairs_template(operation.params)

    def fill(row: Row) -> str:
        before = path(row)
        return f"{before}{'&' if '?' in before else '?'}{params(row)}"

    return fill


def one_header_line(text: str) -> str:
    """The text without line breaks, which would end the header."""
    return text.replace("\r", " ").replace("\n", " ")


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_decode: Final = JSONDecoder(parse_constant=_refuse).decode


def parse_json(text: str) -> Any:
    """The JSON value of a text, or None where it is not JSON, or nested too deeply or of too many parts to be read."""
    if len(text) > MOST_PARTS and sum(map(text.count, "[{,")) > MOST_PARTS:
        return None
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return None
