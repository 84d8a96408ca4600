"""Redirects of HTTP: the request that follows an answer which leads elsewhere on the same server."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

STATUSES: Final = frozenset((301, 302, 303, 307, 308))
_LOCATION: Final = re.compile(rb"\nlocation[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_OF_BODY: Final = re.compile(rb"\r\n(?:content-[\w-]+|transfer-encoding)[ \t]*:[^\r\n]*", re.IGNORECASE)
AS_IT_IS: Final = "/:?#[]@!$&'()*+,;=%~"  # what a path with its query may hold; all else is encoded, as browsers do


class NotFollowedError(Exception):
    """A redirect that cannot be followed, and why, in words."""


def following(request: bytes, status: int, head: bytes, origin: str) -> bytes:
    """The request that follows `request` after an answer with this status and head. Raises NotFollowedError.

    origin   of the server, as "http://127.0.0.1:8080"

    As browsers do: after 303, and after 301 and 302 where it was a POST, a GET without the body; else the same again.
    """
    location = _LOCATION.search(head)
    if location is None:
        raise NotFollowedError(f"status {status} without a Location")
    own_head, _, body = request.partition(b"\r\n\r\n")
    line, separator, fields = own_head.partition(b"\r\n")
    method, path, version = line.split(b" ", 2)
    try:
        url = urlsplit(urljoin(origin + path.decode(), location[1].strip().decode("utf-8", "replace")))
    except ValueError as error:
        raise NotFollowedError(f"a Location that is no URL: {error}") from None
    if f"{url.scheme}://{url.netloc}".lower() != origin.lower():
        raise NotFollowedError(f"it leads to {url.scheme}://{url.hostname or ''}, another server")
    target = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=AS_IT_IS).encode()
    if (status == 303 and method != b"HEAD") or (status in (301, 302) and method == b"POST"):
        method, body = b"GET", b""
        fields = _OF_BODY.sub(b"", separator + fields).removeprefix(separator)
    return b"%b %b %b\r\n%b\r\n\r\n%b" % (method, target, version, fields, body)
