"""Suites from HAR 1.2 recordings, as browsers save them: each page becomes a journey, and what belongs together, one.

Values of earlier answers that come back in later requests, as a token or the id of an order, become `keep`. Cookies
that an earlier answer set are kept by each user anyway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from perflib.errors import SuiteError
from perflib.sources.correlation import Correlation
from perflib.sources.draft import Draft, Journey, Request, Site, linked
from perflib.sources.format import Format, from_draft
from perflib.sources.given import Given, table, tables, text, whole_number
from perflib.sources.http_headers import SAID, by_browser
from perflib.sources.multipart import parts_of
from perflib.targets.base import is_loopback

_MOST_ENTRIES: Final = 5_000
_MOST_LISTED: Final = 3
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,30}")


def _recognises(given: Given) -> bool:
    return given.is_file and isinstance(table(table(given.json).get("log")).get("entries"), list)


def _read(given: Given) -> Draft:
    log = table(table(given.json).get("log"))
    if not isinstance(log.get("entries"), list):
        mend = "save the network log of the browser as HAR, with its content"
        raise SuiteError("no HAR: it has no log.entries", where=given.name, mend=mend)
    draft = Draft(given.name.rpartition(".")[0] or given.name, f"the recording {given.name}", {}, [])
    entries = tables(log["entries"])
    if len(entries) > _MOST_ENTRIES:
        draft.losses.append(f"all after the first {_MOST_ENTRIES:,} of {len(entries):,} requests")
    entries = sorted(entries[:_MOST_ENTRIES], key=lambda entry: text(entry.get("startedDateTime")))
    reader = _Reader(draft, _titles(log))
    for entry in entries:
        reader.add(entry)
    draft.losses += reader.losses()
    if given.url is not None and draft.sites:
        next(iter(draft.sites.values())).url = given.url
    draft.journeys = linked(list(reader.journeys.values()))
    draft.losses += [
        "pauses between requests: add think_time_s",
        "requests that ran at once: a user sends one at a time",
    ]
    return draft


def _titles(log: dict[str, Any]) -> dict[str, str]:
    """The names of the pages by their ids: a title, or the path of a URL."""
    titles = {}
    for page in tables(log.get("pages")):
        title = text(page.get("title")) or text(page.get("id"))
        titles[text(page.get("id"))] = urlsplit(title).path or title if "://" in title else title
    return titles


class _Reader:
    """Turns entries into requests, in the order in which they were made."""

    def __init__(self, draft: Draft, titles: dict[str, str]) -> None:
        self.draft, self.titles = draft, titles
        self.journeys: dict[str, Journey] = {}
        self.correlation = Correlation()
        self.cookies: dict[str, str] = {}  # those that answers set, by name
        self.main = ""  # the host of the first request
        self._skipped: dict[str, list[str]] = {}
        self._dropped = False

    def add(self, entry: dict[str, Any]) -> None:
        """Add the request of an entry to its page, or note why there is none."""
        asked, answer = table(entry.get("request")), table(entry.get("response"))
        url, method = text(asked.get("url")), text(asked.get("method")).upper()
        status = whole_number(answer.get("status"))
        why = _why_not(url, method, status, entry, asked)
        if why:
            self._skipped.setdefault(why, []).append(f"{method} {url.partition('?')[0]}")
            return
        parts = urlsplit(url)
        self.main = self.main or (parts.hostname or "")
        request = Request(method, urlunsplit(("", "", parts.path or "/", parts.query, "")), site=self._site(parts))
        request.headers = dict(self._headers(asked))
        self._body(request, table(asked.get("postData")))
        if status >= 400:
            request.left_out = f"its recorded answer was an error, {status}"
        elif not _same_site(parts.hostname or "", self.main):
            request.left_out = f"it goes to another site, {parts.hostname}"
        elif status >= 300 and status != 304:
            request.statuses = [status]
        self.correlation.fill_in(request)
        self.correlation.learn(request, answer)
        for name, value in _pairs(answer.get("headers")):
            if name.lower() == "set-cookie":
                cookie, _, rest = value.partition("=")
                self.cookies[cookie.strip()] = rest.partition(";")[0]
        self._journey(text(entry.get("pageref"))).requests.append(request)

    def losses(self) -> list[str]:
        """Why requests were not taken, with how many, and which headers were not."""
        said = [SAID] if self._dropped else []
        for why, names in self._skipped.items():
            named = ", ".join(list(dict.fromkeys(names))[:_MOST_LISTED])
            said.append(f"{len(names)} requests {why}: {named}{', …' if len(set(names)) > _MOST_LISTED else ''}")
        return said

    def _journey(self, page: str) -> Journey:
        if page not in self.journeys:
            name = self.titles.get(page) or page or "recording"
            self.journeys[page] = Journey(
                name, [], in_sequence=True, load_remark="four users, each of whom does all of it"
            )
        return self.journeys[page]

    def _site(self, parts: Any) -> str:
        url = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        for name, site in self.draft.sites.items():
            if site.url == url:
                return name
        name = (parts.hostname if self.draft.sites else "") or "site"
        name = re.sub(r"[^\w-]+", "-", name)[:60].strip("-") or "site"
        if name in self.draft.sites:
            name = f"{name}-{parts.port or parts.scheme}"
        self.draft.sites[name] = Site(url)
        return name

    def _headers(self, asked: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for name, value in _pairs(asked.get("headers")):
            if name.lower() == "cookie":
                others = [part.strip() for part in value.split(";") if not self._is_set(part.strip())]
                if others:
                    yield name, "; ".join(others)
            elif by_browser(name, value):
                self._dropped = True
            elif value:
                yield name, value

    def _is_set(self, cookie: str) -> bool:
        """Whether an earlier answer has set the cookie, so that each user has its own."""
        return cookie.partition("=")[0] in self.cookies

    def _body(self, request: Request, sent: dict[str, Any]) -> None:
        kind, content = text(sent.get("mimeType")).lower(), text(sent.get("text"))
        params = tables(sent.get("params"))
        if not content and not params:
            return
        if "json" in kind:
            try:
                request.body = ("json", json.loads(content))
                return
            except (ValueError, RecursionError):
                pass  # sent as it is
        if kind.startswith("application/x-www-form-urlencoded"):
            pairs = [(text(part.get("name")), text(part.get("value"))) for part in params] or parse_qsl(
                content, keep_blank_values=True
            )
            if len(dict(pairs)) == len(pairs):
                request.body = ("form", dict(pairs))
                return
        if kind.startswith("multipart/form-data"):
            parts, files = parts_of(text(sent.get("mimeType")), content, params)
            request.body = ("multipart", parts)
            for name in files:
                said = f"the file {name!r} of {request.method} {request.path}: a text is sent instead"
                self.draft.losses.append(said)
                request.remarks.append(f'{name} was a file: write {{ file = "…" }}')
            return
        request.body = ("body", content)
        if not any(name.lower() == "content-type" for name in request.headers):
            request.headers["Content-Type"] = text(sent.get("mimeType")) or "application/octet-stream"


def _why_not(url: str, method: str, status: int, entry: dict[str, Any], asked: dict[str, Any]) -> str:
    """Why an entry is no request to repeat; "" if it is one."""
    if not re.match(r"https?://[^/]", url):
        return "that are not HTTP"
    if not _METHOD.fullmatch(method):
        return "without a valid method"
    if method == "CONNECT":
        return "to a proxy"
    names = {name.lower() for name, _ in _pairs(asked.get("headers"))}
    if method == "OPTIONS" and "access-control-request-method" in names:
        return "that browsers make before others (CORS)"
    if entry.get("_fromCache") or text(entry.get("cache")) == "hit":
        return "that the browser answered from its cache"
    if "upgrade" in names and status == 101:
        return "that open a WebSocket"
    return "" if status > 0 else "that were never answered"


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return [(text(header.get("name")), text(header.get("value"))) for header in tables(headers)]


def _same_site(host: str, main: str) -> bool:
    """Whether two hosts belong together: this machine, or the same last two names, as api.shop.com and www.shop.com."""
    if is_loopback(host) or is_loopback(main):
        return is_loopback(host) == is_loopback(main)
    is_address = bool(re.fullmatch(r"[\d.]+|.*:.*", main))
    return host == main or (not is_address and host.split(".")[-2:] == main.split(".")[-2:])


FORMAT = Format("har", "a HAR 1.2 recording of a browser", _recognises, from_draft(_read))
