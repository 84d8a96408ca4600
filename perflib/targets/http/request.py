"""An operation of HTTP as the bytes of its request."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from perflib.suite.environment import filled_from_environment
from perflib.suite.operation import HttpOperation
from perflib.suite.placeholders import literal
from perflib.targets.connection import Address
from perflib.targets.http.path import path_template
from perflib.targets.template import Row, json_template, text_template, variables_in

IDEMPOTENT: Final = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")  # RFC 9110, 9.2.2


@dataclass(frozen=True, slots=True)
class Request:
    """An operation as bytes: `fixed`, or `build(row)` where it has variables.

    head         its method is HEAD
    idempotent   it may be sent again where nobody knows whether the server acted on it
    """

    fixed: bytes | None
    build: Callable[[Row], bytes]
    head: bool
    idempotent: bool


def compiled(operation: HttpOperation, headers: dict[str, str], address: Address, *, keep_alive: bool) -> Request:
    """The operation, ready to send. `headers`: those of the target, which the operation's own replace."""
    method = (operation.method or ("GET" if operation.json is None and operation.body is None else "POST")).upper()
    operation = with_environment(operation)
    own = dict(operation.headers)
    replaced = {name.lower() for name in own}
    headers = {name: literal(value) for name, value in headers.items() if name.lower() not in replaced} | own
    make = _maker(operation, method, headers, address, keep_alive)
    varies = variables_in([operation.path, operation.json, operation.body, dict(operation.headers)])
    return Request(None if varies else make({}), make, method == "HEAD", method in IDEMPOTENT)


def with_environment(operation: HttpOperation) -> HttpOperation:
    """The operation with ${NAME} filled in from the environment in all its texts."""
    where = f"operation {operation.name!r}"
    texts = {key: getattr(operation, key) for key in ("path", "json", "body", "headers")}
    return replace(operation, **{key: filled_from_environment(value, where) for key, value in texts.items()})


def _maker(
    operation: HttpOperation, method: str, headers: dict[str, str], address: Address, keep_alive: bool
) -> Callable[[Row], bytes]:
    path = path_template(operation.path, address)
    has_json, as_json = operation.json is not None, json_template(operation.json)
    as_text = text_template(operation.body or "")
    lower = {key.lower() for key in headers}
    fixed = {"Host": address.authority, "User-Agent": "perflib", "Accept": "*/*"}
    if has_json:
        fixed["Content-Type"] = "application/json"
    if not keep_alive:
        fixed["Connection"] = "close"
    lines = "".join(f"{k}: {v}\r\n" for k, v in fixed.items() if k.lower() not in lower)
    as_headers = "".join(f"{k}: {one_header_line(v)}\r\n" for k, v in headers.items())
    fill = text_template(as_headers, one_header_line, raw=one_header_line)
    sends_body = has_json or operation.body is not None or method in ("POST", "PUT", "PATCH")
    sends_length = sends_body and "content-length" not in lower

    def make(row: Row) -> bytes:
        body = (as_json(row) if has_json else as_text(row)).encode()
        length = f"Content-Length: {len(body)}\r\n" if sends_length else ""
        return f"{method} {path(row)} HTTP/1.1\r\n{lines}{fill(row)}{length}\r\n".encode() + body

    return make


def one_header_line(text: str) -> str:
    """The text without line breaks, which would end the header."""
    return text.replace("\r", " ").replace("\n", " ")


def parse_json(text: str) -> Any:
    """The JSON value of a text, or None where it is not JSON, or nested too deeply to be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
