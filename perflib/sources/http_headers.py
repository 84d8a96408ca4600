"""Which headers of a recorded request a suite does not write, since browsers and perflib add them by themselves."""

from __future__ import annotations

from typing import Final

_BY_BROWSER: Final = frozenset((
    *("accept-encoding", "accept-language", "cache-control", "connection", "content-length", "dnt", "expect", "host"),
    *("if-modified-since", "if-none-match", "keep-alive", "pragma", "priority", "proxy-connection", "referer", "te"),
    *("sec-gpc", "transfer-encoding", "upgrade", "upgrade-insecure-requests", "user-agent", "save-data", "trailer"),
))  # fmt: skip
_ACCEPT: Final = ("*/*", "text/css,", "image/")  # of requests for which a page says nothing
SAID: Final = "headers that browsers add by themselves, as User-Agent, Accept-Language, Referer and Sec-…"


def by_browser(name: str, value: str = "") -> bool:
    """Whether a browser, or perflib, adds the header by itself."""
    if name.lower() == "accept":
        return value.startswith(_ACCEPT)
    return name.startswith(":") or name.lower() in _BY_BROWSER or name.lower().startswith(("sec-ch-", "sec-fetch-"))
