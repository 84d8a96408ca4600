"""A load in one line, as `perflib run URL --rate 50`: a suite with one operation.

    draft_of("http://127.0.0.1:8000/items", load_of(rate_per_s=50, duration_s=20))

{name} and ${NAME} in the URL, in headers and in the body are placeholders, as in a suite: /items/{random|1..100}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from perflib.errors import SuiteError
from perflib.sources.draft import Draft, Journey, Request, Site, field, mapped, variable
from perflib.sources.toml_text import toml
from perflib.suite.environment import VARIABLE
from perflib.suite.placeholders import PLACEHOLDER

USERS: Final = 10
DURATION_S: Final = 10.0
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def draft_of(
    url: str, load: str, *, method: str | None = None, header: Sequence[str] = (), body: str | None = None
) -> Draft:
    """The suite of one request. Raises SuiteError for what is no URL or no header.

    header: each "Name: value". body: as a text; `@file` sends the bytes of a file.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SuiteError("not a URL", where=url, mend="write it like http://127.0.0.1:8000/items")
    request = Request("GET", urlunsplit(("", "", parts.path or "/", parts.query, "")))
    request.headers = dict(header_of(text) for text in header)
    if body is not None:
        add_data(request, body)
    request.method = (method or ("GET" if body is None else "POST")).upper()
    site = Site(urlunsplit((parts.scheme, parts.netloc, "", "", "")))
    _fill_in(request)
    journey = Journey("load", [request], load=load, load_remark="from the command line", objectives=[])
    return Draft(f"{parts.hostname}{parts.path}".rstrip("/"), "a URL", {"api": site}, [journey], command="perflib run")


def load_of(*, rate_per_s: float | None, users: int | None, requests: int | None, duration_s: float | None) -> str:
    """The load in TOML: a rate, or users; for a time, or a number of requests. Raises SuiteError."""
    if rate_per_s is not None and users is not None:
        raise SuiteError("a load has a rate or users, not both", where="--rate, --users", mend="give one of them")
    if requests is not None and duration_s is not None:
        mend = "give one of them"
        raise SuiteError("a load ends after a time or a number of requests", where="--duration, --requests", mend=mend)
    if rate_per_s is not None:
        seconds = requests / rate_per_s if requests is not None else duration_s or DURATION_S
        return toml({"model": "constant", "rate_per_s": _number(rate_per_s), "duration_s": _number(seconds)})
    if requests is not None:
        return toml({"model": "closed", "concurrency": users or min(USERS, requests), "requests": requests})
    return toml({"model": "closed", "concurrency": users or USERS, "duration_s": _number(duration_s or DURATION_S)})


def _number(value: float) -> float:
    """The number, as 50 instead of 50.0."""
    return int(value) if value == int(value) else value


def header_of(text: str) -> tuple[str, str]:
    """("Name", "value") of "Name: value". Raises SuiteError, without the text, which may be a secret."""
    name, separator, value = (part.strip() for part in text.partition(":"))
    if not separator or not _HEADER_NAME.fullmatch(name):
        mend = "write it like 'Accept: application/json'"
        raise SuiteError("not a header", where="-H", mend=mend)
    return name, value


def add_data(request: Request, data: str) -> None:
    """Give the request a body, as curl does: JSON where it is JSON, a form or a text otherwise, or `@file`."""
    kind = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    if data.startswith("@"):
        request.body = ("body_file", data[1:])
        return
    if "json" in kind or (not kind and data.lstrip()[:1] in ("{", "[")):
        try:
            request.body = ("json", json.loads(data))
            return
        except (ValueError, RecursionError):
            pass  # sent as it is
    if not kind:
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    request.body = ("body", data)


def _fill_in(request: Request) -> None:
    """Make the placeholders of a person's own words placeholders of the suite."""

    def change(text: str) -> str:
        text = VARIABLE.sub(lambda match: variable(match[1]), text)
        return PLACEHOLDER.sub(lambda match: field(match[2]) if match[2] else f"{{{match[1]}}}", text)

    request.path, request.headers = change(request.path), mapped(request.headers, change)
    if request.body is not None and request.body[0] != "body_file":
        request.body = (request.body[0], mapped(request.body[1], change))
