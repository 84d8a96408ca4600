"""The target of a request line: the path and query of an operation below the target's URL, encoded as browsers do."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final
from urllib.parse import quote, urlsplit

from perflib.suite.placeholders import PLACEHOLDER, RAW, RAW_PATH
from perflib.targets.connection import Address
from perflib.targets.http.redirects import AS_IT_IS
from perflib.targets.template import Piece, Row, UnfilledError, joined, text_pieces

_AS_WRITTEN: Final = f"{AS_IT_IS}{{}}"
_CLEAN: Final = re.compile(r"/[\w/?.~,;:!@$&'()*+=%-]*", re.ASCII)  # needs no further look
_UNRESERVED: Final = re.compile(r"[\w.~-]*", re.ASCII)  # RFC 3986, 2.3: never encoded
_ABSOLUTE: Final = re.compile(r"https?://", re.IGNORECASE)
_quoted = lru_cache(maxsize=4096)(partial(quote, safe=""))


def path_template(path: str, address: Address) -> Callable[[Row], str]:
    """What a request names: the path of an operation below that of the target's URL, with the queries of both.

    What fills a {name} is encoded whole, with its slashes; what fills {name|raw} may be a path with a query, or a URL
    of the target, and is only encoded where it would break the line. A fragment is not sent. What is returned raises
    UnfilledError for a URL of another server.
    """
    base, query = quote(address.base_path, safe=AS_IT_IS), quote(address.query, safe=AS_IT_IS)
    has_raw = any(written.endswith(f"|{RAW}") for _, written in PLACEHOLDER.findall(path))
    pieces = text_pieces(path if has_raw else _without_fragment(path), encoded, str)
    stays: list[Piece] = [quote(piece, safe=_AS_WRITTEN) if isinstance(piece, str) else piece for piece in pieces]
    if not has_raw:
        return joined([base, *_with_query(stays, query)])
    fill, is_whole = joined(stays), RAW_PATH.match(path) is not None

    def made(row: Row) -> str:
        text = fill(row)
        if is_whole and _ABSOLUTE.match(text.lstrip()):
            text = _of_target(text.strip(), address)
        else:
            text = base + _rooted(text)
        return with_query(_sendable(text), query)

    return made


def encoded(text: str) -> str:
    """A value for one part of a path or query."""
    return text if _UNRESERVED.fullmatch(text) else _quoted(text)


def with_query(path: str, query: str) -> str:
    """The path with a query before its own."""
    if not query:
        return path
    before, mark, own = path.partition("?")
    return f"{before}?{query}&{own}" if mark and own else f"{before}?{query}"


def _with_query(pieces: list[Piece], query: str) -> list[Piece]:
    """The pieces of a path with a query before its own."""
    for at, piece in enumerate(pieces if query else ()):
        if isinstance(piece, str) and "?" in piece:
            before, _, own = piece.partition("?")
            joint = "&" if own or any(pieces[at + 1 :]) else ""
            return [*pieces[:at], f"{before}?{query}{joint}{own}", *pieces[at + 1 :]]
    return [*pieces, f"?{query}"] if query else pieces


def _without_fragment(path: str) -> str:
    return path.partition("#")[0]


def _rooted(text: str) -> str:
    """A filled path with the slash that it begins with."""
    text = text.strip()
    return text if text.startswith("/") else f"/{text}"


def _sendable(path: str) -> str:
    """A filled path without its fragment, in which nothing breaks the request line."""
    return path if _CLEAN.fullmatch(path) else quote(_without_fragment(path), safe=_AS_WRITTEN)


def _of_target(url: str, address: Address) -> str:
    """The path and query of a URL of the target. Raises UnfilledError for another server."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    except ValueError as error:
        raise UnfilledError(f"{url!r} is no URL: {error}") from None
    is_tls = parts.scheme.lower() == "https"
    if (parts.hostname, port, is_tls) != (address.host, address.port, address.tls is not None):
        raise UnfilledError(f"{parts.scheme}://{parts.netloc} is another server than {address.origin}")
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
