"""Suites from access logs in the combined or common format, as Apache and nginx write them: the mix as weights.

Paths that differ only in ids, as /items/17 and /items/45, become one operation whose ids are drawn at random from those
of the log.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as with_default
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from perflib.errors import SuiteError
from perflib.sources.draft import Draft, Journey, Request, Site, field
from perflib.sources.format import Format, from_draft
from perflib.sources.given import Given
from perflib.sources.hiding import is_secret_part
from perflib.sources.toml_text import toml

_LINE: Final = re.compile(
    r'(?:\S+:\d+ )?\S+ \S+ .*?\[([^\]]+)\] "(?:([A-Z]+) (\S+)(?: HTTP/[\d.]+)?|[^"]*)" (\d{3}) (?:\d+|-)(?: .*)?'
)
_ID: Final = re.compile(r"\d+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}")
_SIMPLE: Final = re.compile(r"[\w.~-]+", re.ASCII)  # a value that `{random|…}` can list
MOST_OPERATIONS: Final = 50
NO_PATH: Final = "it is no request to a server's path"
_MOST_VALUES: Final = 20
_MOST_LINES_NAMED: Final = 3
_LONGEST_LINE: Final = 16_384

Key = tuple[str, str, tuple[str, ...]]  # method, path with {} for ids, names of the query


class Entry(NamedTuple):
    """A line of a log."""

    time: str
    method: str
    path: str
    query: str
    status: int

    @property
    def common(self) -> str:
        """The path with {} for ids, which is the same for all requests of a kind."""
        return "/".join("{}" if _ID.fullmatch(segment) else segment for segment in self.path.split("/"))

    @property
    def pairs(self) -> dict[str, str]:
        """The query."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass
class _Kind:
    """Requests of one kind: how many, by status, and the values that their ids and queries have."""

    statuses: Counter[int] = with_default(default_factory=Counter)
    ids: dict[int, Counter[str]] = with_default(default_factory=lambda: defaultdict(Counter))
    query: dict[str, Counter[str]] = with_default(default_factory=lambda: defaultdict(Counter))


def _recognises(given: Given) -> bool:
    if not given.is_file:
        return False
    lines = [line for line in given.text[:65_536].split("\n")[:20] if line.strip()]
    return bool(lines) and sum(_fits(line) is not None for line in lines) * 2 > len(lines)


def _fits(line: str) -> re.Match[str] | None:
    return _LINE.fullmatch(line.strip()) if len(line) <= _LONGEST_LINE else None


def _read(given: Given) -> Draft:
    kinds: dict[Key, _Kind] = defaultdict(_Kind)
    seconds: Counter[str] = Counter()
    losses = ["times between requests: the load has the log's mean rate, and --from replay writes the times too"]
    for entry in entries(given, losses):
        seconds[entry.time] += 1
        _add(kinds, entry)
    first, last = next(iter(seconds)), next(reversed(seconds))
    requests, rest = _requests(kinds)
    losses += rest
    if any(request.method not in ("GET", "HEAD", "OPTIONS") for request in requests):
        losses.append("bodies of requests, which a log does not have: add them")
    journey = Journey("mix", requests)
    journey.load, journey.load_remark = _load(seconds, first, last)
    remarks = [
        f"The log has {seconds.total():,} requests from {first} to {last}, at most {max(seconds.values()):,} /s."
    ]
    if given.url is None:
        remarks.append("A log does not say which server it is from: set the URL of the target.")
    site = Site(given.url or "http://127.0.0.1:8000")
    return Draft(given.name, f"the access log {given.name}", {"api": site}, [journey], losses, remarks)


def entries(given: Given, losses: list[str]) -> Iterator[Entry]:
    """The requests of a log, at least one; `losses` gets the lines that are none. Raises SuiteError where all are."""
    wrong, is_log = [], False
    for number, line in enumerate(given.text.split("\n"), 1):
        if not line.strip():
            continue
        match = _fits(line)
        if match is None or match[2] is None:
            wrong.append(number)
            continue
        is_log = True
        path, _, query = match[3].partition("?")
        if "://" in path[:9]:  # as proxies are asked
            path = "/" + path.split("://", 1)[1].partition("/")[2]
        yield Entry(match[1], match[2], path, query, int(match[4]))
    if not is_log:
        mend = 'the combined format is: host - user [time] "GET /path HTTP/1.1" status bytes …'
        raise SuiteError("no line of an access log", where=f"{given.name}, line {(wrong or [1])[0]}", mend=mend)
    if wrong:
        named = ", ".join(map(str, wrong[:_MOST_LINES_NAMED])) + (", …" if len(wrong) > _MOST_LINES_NAMED else "")
        losses.append(f"{len(wrong)} lines that are no requests: line {named}")


def _add(kinds: dict[Key, _Kind], entry: Entry) -> None:
    segments = entry.path.split("/")
    kind = kinds[entry.method, entry.common, tuple(entry.pairs)]
    kind.statuses[entry.status] += 1
    for position, segment in enumerate(segments):
        if _ID.fullmatch(segment):
            kind.ids[position][segment] += 1
    for name, value in entry.pairs.items():
        kind.query[name][value] += 1


def _requests(kinds: dict[Key, _Kind]) -> tuple[list[Request], list[str]]:
    """The most frequent requests, with their weights, and what is left out."""
    by_count = sorted(kinds.items(), key=lambda item: -item[1].statuses.total())
    requests = [_request(key, kind) for key, kind in by_count[:MOST_OPERATIONS]]
    rest = by_count[MOST_OPERATIONS:]
    if not rest:
        return requests, []
    count = sum(kind.statuses.total() for _, kind in rest)
    return requests, [f"{len(rest):,} rarer kinds of requests, {count:,} requests together, as {rest[0][0][1]}"]


def _request(key: Key, kind: _Kind) -> Request:
    method, common, _ = key
    segments = common.split("/")
    for position, values in kind.ids.items():
        segments[position] = _one_of(values)
    path = "/".join(segments)
    request = Request(method, path if path.startswith("/") else f"/{path}")
    request.name = name_of(method, common)
    request.params = {name: _one_of(values, name) for name, values in kind.query.items()}
    good = sum(count for status, count in kind.statuses.items() if status < 400)
    request.weight = max(1, good)
    if good < kind.statuses.total():
        bad = kind.statuses.total() - good
        worst = max((status for status in kind.statuses if status >= 400), key=kind.statuses.__getitem__)
        request.remarks.append(f"{bad:,} of {kind.statuses.total():,} had no good answer in the log, most {worst}")
    if not good:
        request.left_out = "it never had a good answer in the log"
    if any(300 <= status < 400 and status != 304 for status in kind.statuses):
        request.statuses = sorted({200} | {status for status in kind.statuses if status < 400})
    if method == "CONNECT" or not common.startswith("/"):
        request.left_out = NO_PATH
    return request


def name_of(method: str, common: str) -> str:
    """The name of the operation for a kind of requests."""
    return f"{method} {common.replace('{}', '…')}"


def _one_of(values: Counter[str], name: str = "") -> str:
    """One of the most frequent values at random, or the most frequent one alone, as of what is secret by its name."""
    most = [value for value, _ in values.most_common(_MOST_VALUES)]
    if is_secret_part(name, most[0]):
        return most[0]
    if len(most) > 1 and all(_SIMPLE.fullmatch(value) and not re.search(r"\.\.", value) for value in most):
        return field(f"random|{','.join(most)}")
    return most[0]


def _load(seconds: Counter[str], first: str, last: str) -> tuple[str, str]:
    """The log's mean rate, as a load in TOML, and how it is meant."""
    try:
        begin, end = (time_of(text) for text in (first, last))
        rate = seconds.total() / max(1.0, abs((end - begin).total_seconds()) + 1)
    except ValueError:
        rate = 1.0
    at_least = max(1.0, float(f"{rate:.3g}"))
    rate_per_s = int(at_least) if at_least == int(at_least) else at_least
    said = "the log's mean rate" if rate >= 1 else f"the log's mean rate is {rate:.2g} /s"
    return toml({"model": "poisson", "rate_per_s": rate_per_s, "duration_s": 20}), said


def time_of(text: str) -> datetime:
    """The time of an entry. Raises ValueError."""
    try:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")
    except ValueError:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)


FORMAT = Format("access-log", "an access log in the combined or common format", _recognises, from_draft(_read))
