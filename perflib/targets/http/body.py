"""The body of an HTTP request: JSON, a form, a form with files, a text, or a file."""

from __future__ import annotations

import json
import mimetypes
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from perflib.errors import SuiteError
from perflib.suite.operation import HttpOperation, Part, Upload
from perflib.targets.template import Row, Text, encoded_template, json_template, text_template


@dataclass(frozen=True, slots=True)
class Body:
    """How a body is written, and of which media type it is; "" where the request says so itself, or has no body.

    texts   what may contain {names}
    ascii   the body as text, where it is ASCII whatever fills it
    """

    make: Callable[[Row], bytes]
    content_type: str = ""
    texts: tuple[Any, ...] = ()
    ascii: Text | None = None


def body_of(operation: HttpOperation, folder: str) -> Body:
    """The operation's body. Raises SuiteError where a file cannot be read."""
    where = f"operation {operation.name!r}"
    if operation.json is not None:
        fill = json_template(operation.json)
        return Body(lambda row: fill(row).encode(), "application/json", (operation.json,), fill)
    if operation.form is not None:
        form = pairs_template(operation.form)
        return Body(lambda row: form(row).encode(), "application/x-www-form-urlencoded", (operation.form,), form)
    if operation.multipart is not None:
        return _multipart(operation.multipart, folder, f"{where}.multipart")
    if operation.body_file is not None:
        content = read_bytes(folder, operation.body_file, f"{where}.body_file")
        kind = mimetypes.guess_type(operation.body_file)[0] or "application/octet-stream"
        return Body(lambda row: content, kind)
    if operation.body is not None:
        text = text_template(operation.body)
        return Body(lambda row: text(row).encode(), "", (operation.body,))
    return Body(lambda row: b"")


def pairs_template(pairs: Mapping[str, Any]) -> Text:
    """A query or a form: pairs_template({"q": "{q} b", "tag": ["x", 1]})({"q": "ä"}) == "q=%C3%A4+b&tag=x&tag=1"."""
    each = [
        (encoded_template(str(name), quote_plus), encoded_template(_as_text(one), quote_plus))
        for name, value in pairs.items()
        for one in (value if isinstance(value, list | tuple) else (value,))
    ]
    return lambda row: "&".join(f"{name(row)}={value(row)}" for name, value in each)


def _as_text(value: Any) -> str:
    """A value of a suite as text: strings as they are, all else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _multipart(parts: Mapping[str, Part], folder: str, where: str) -> Body:
    from urllib3.filepost import encode_multipart_formdata

    boundary = uuid.uuid4().hex
    fields: list[tuple[str, Callable[[Row], Any]]] = []
    for name, part in parts.items():
        if isinstance(part, Upload):
            file = Path(part.file)
            kind = part.type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            upload = (part.name or file.name, read_bytes(folder, part.file, f"{where}.{name}"), kind)
            fields.append((name, _always(upload)))
        else:
            fields.append((name, text_template(part)))

    def make(row: Row) -> bytes:
        return encode_multipart_formdata([(name, value(row)) for name, value in fields], boundary)[0]

    texts = tuple(part for part in parts.values() if isinstance(part, str))
    return Body(make, f"multipart/form-data; boundary={boundary}", texts)


def _always(value: Any) -> Callable[[Row], Any]:
    return lambda row: value


def read_bytes(folder: str, path: str, where: str) -> bytes:
    """The bytes of a file that a suite names. Raises SuiteError."""
    try:
        return (Path(folder) / path).read_bytes()
    except OSError as error:
        what = f"cannot read {path}: {error.strerror or error}"
        raise SuiteError(what, where=where, mend="name a file, relative to the suite") from None
