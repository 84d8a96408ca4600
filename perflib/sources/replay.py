"""Suites that send the requests of an access log again, each at its own time and in the log's order.

The rows of the recording stand in a CSV file beside the suite: when each request starts, the operation that it belongs
to, and its path. Operations are kinds of requests, as in the mix of a log; the rarest of many are one for each method.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from perflib.errors import SuiteError
from perflib.sources.access_log import MOST_OPERATIONS, NO_PATH, Entry, entries, name_of, time_of
from perflib.sources.draft import CHANGES_NOTHING, Draft, Journey, Recorded, Request, Site, field
from perflib.sources.format import Format, from_draft
from perflib.sources.given import Given
from perflib.sources.hiding import is_secret_part
from perflib.sources.toml_text import toml
from perflib.sources.writer import data_file

_PATH_SAFE: Final = "".join(map(chr, range(33, 127)))  # what a request line can hold as it is
_OTHERS: Final = "others"


class _Kind(NamedTuple):
    """Requests of one operation: `common` is their path with {} for ids, `secrets` what is secret in their queries."""

    method: str
    common: str
    secrets: frozenset[str]


class _Line(NamedTuple):
    """A request of the log: when it was, in s since 1970; its path and query, encoded, without the secrets."""

    second: float
    kind: _Kind
    path: str
    secrets: dict[str, str]
    status: int


def _read(given: Given) -> Draft:
    losses: list[str] = []
    lines = sorted(_lines(given, losses), key=lambda line: line.second)
    requests = _requests(lines, data_file(given.out))
    starts = _spread([line.second for line in lines])
    recorded = [Recorded(start_s, requests[line.kind], line.path) for start_s, line in zip(starts, lines, strict=True)]
    every = list({id(request): request for request in requests.values()}.values())
    if any(request.method not in CHANGES_NOTHING for request in every):
        losses.append("bodies of requests, which a log does not have: add them")
    journey = Journey("replay", every, recorded=recorded)
    journey.load = toml({"model": "replay", "starts": data_file(given.out), "speed": 1})
    journey.load_remark = f"{starts[-1]:,.0f} s; with speed = 10, a tenth of that"
    remarks = ["A log has whole seconds: the requests of one are spread over it evenly, in their order."]
    if given.url is None:
        remarks.append("A log does not say which server it is from: set the URL of the target.")
    site = Site(given.url or "http://127.0.0.1:8000")
    return Draft(given.name, f"the access log {given.name}", {"api": site}, [journey], losses, remarks)


def _lines(given: Given, losses: list[str]) -> Iterator[_Line]:
    """The requests of the log, in its order. Raises SuiteError for a time that is none."""
    second = functools.lru_cache(maxsize=4096)(lambda text: time_of(text).timestamp())
    for entry in entries(given, losses):
        try:
            when = second(entry.time)
        except ValueError:
            what, mend = f"{entry.time!r} is no time", "the combined format has [10/Oct/2026:13:55:36 +0200]"
            raise SuiteError(what, where=given.name, mend=mend) from None
        secrets = {name: value for name, value in entry.pairs.items() if is_secret_part(name, value)}
        kind = _Kind(entry.method, entry.common, frozenset(secrets))
        yield _Line(when, kind, _path(entry, secrets), secrets, entry.status)


def _path(entry: Entry, secrets: Collection[str]) -> str:
    query = entry.query
    if secrets:
        query = urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in secrets])
    return quote(entry.path + (f"?{query}" if query else ""), safe=_PATH_SAFE)


def _spread(seconds: Sequence[float]) -> list[float]:
    """Starts in s after the first second. Those of one whole second are spread over it."""
    in_second = Counter(seconds) if all(second.is_integer() for second in seconds) else Counter[float]()
    before: Counter[float] = Counter()
    starts = []
    for second in seconds:
        starts.append(second - seconds[0] + (before[second] / in_second[second] if in_second else 0.0))
        before[second] += 1
    return starts


def _requests(lines: Sequence[_Line], file: str) -> dict[_Kind, Request]:
    """The request that becomes the operation of each kind. The rarest of many kinds share one for each method."""
    counts = Counter(line.kind for line in lines)
    frequent = {kind for kind, _ in counts.most_common(MOST_OPERATIONS)}
    groups = {kind: kind if kind in frequent else kind._replace(common=_OTHERS) for kind in counts}
    statuses: dict[_Kind, set[int]] = {}
    requests: dict[_Kind, Request] = {}
    for line in lines:
        group = groups[line.kind]
        statuses.setdefault(group, set()).add(line.status)
        if group not in requests:
            requests[group] = request = Request(group.method, field("path|raw"), name_of(group.method, group.common))
            request.params, request.data = dict(line.secrets), file
            if group.method == "CONNECT" or not line.path.startswith("/"):
                request.left_out = NO_PATH
    for group, request in requests.items():
        if max(statuses[group]) >= 300:  # what it was answered then is a good answer now, but for errors of the server
            request.statuses = sorted({200} | {status for status in statuses[group] if status < 500})
    return {kind: requests[group] for kind, group in groups.items()}


FORMAT = Format("replay", "an access log, each request at its own time", lambda given: False, from_draft(_read))
