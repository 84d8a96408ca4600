"""Redirects of HTTP: the request that follows an answer which leads elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

STATUSES: Final = frozenset((301, 302, 303, 307, 308))
_LOCATION: Final = re.compile(rb"\nlocation[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_OF_BODY: Final = re.compile(rb"\r\n(?:content-[\w-]+|transfer-encoding)[ \t]*:[^\r\n]*", re.IGNORECASE)
_HOST: Final = re.compile(rb"\r\nhost[ \t]*:[^\r\n]*", re.IGNORECASE)
_OF_ORIGIN: Final = re.compile(rb"\r\n(?:authorization|cookie|proxy-authorization)[ \t]*:[^\r\n]*", re.IGNORECASE)
_PORTS: Final = {"http": 80, "https": 443}
AS_IT_IS: Final = "/:?#[]@!$&'()*+,;=%~"  # what a path with its query may hold; all else is encoded, as browsers do


class NotFollowedError(Exception):
    """A redirect that cannot be followed, and why, in words."""


@dataclass(frozen=True, slots=True)
class Hop:
    """The request that follows a redirect, and the origin of the server that it goes to, as "http://127.0.0.1:8080"."""

    request: bytes
    origin: str


def following(request: bytes, status: int, head: bytes, origin: str, may_go_to: Callable[[str], bool]) -> Hop:
    """The request that follows `request` after an answer with this status and head. Raises NotFollowedError.

    origin      of the server that answered
    may_go_to   whether a host may be loaded

    As browsers do: after 303, and after 301 and 302 where it was a POST, a GET without the body; else the same again.
    What says who sends the request stays with its origin.
    """
    location = _LOCATION.search(head)
    if location is None:
        raise NotFollowedError(f"status {status} without a Location")
    own_head, _, body = request.partition(b"\r\n\r\n")
    line, separator, fields = own_head.partition(b"\r\n")
    method, path, version = line.split(b" ", 2)
    try:
        url = urlsplit(urljoin(origin + path.decode(), location[1].strip().decode("utf-8", "replace")))
        leads_to = _origin(url.scheme, url.hostname, url.port)
    except ValueError as error:
        raise NotFollowedError(f"a Location that is no URL: {error}") from None
    fields = separator + fields
    if leads_to != origin.lower():
        if url.scheme not in _PORTS or not url.hostname or not may_go_to(url.hostname):
            raise NotFollowedError(f"it leads to {url.scheme}://{url.hostname or ''}, which allow_hosts does not name")
        fields = _HOST.sub(b"\r\nHost: " + leads_to.partition("://")[2].encode(), _OF_ORIGIN.sub(b"", fields))
    target = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=AS_IT_IS).encode()
    if (status == 303 and method != b"HEAD") or (status in (301, 302) and method == b"POST"):
        method, body = b"GET", b""
        fields = _OF_BODY.sub(b"", fields)
    return Hop(b"%b %b %b%b\r\n\r\n%b" % (method, target, version, fields, body), leads_to)


def _origin(scheme: str, host: str | None, port: int | None) -> str:
    named = f"[{host}]" if host and ":" in host else host or ""
    return f"{scheme}://{named}" if port in (None, _PORTS.get(scheme)) else f"{scheme}://{named}:{port}"
