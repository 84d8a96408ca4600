"""Suites that send the requests of an access log again, each at its own time and in the log's order.

The rows of the recording stand in a CSV file beside the suite: when each request starts, the operation that it belongs
to, and its path. Operations are kinds of requests, as in the mix of a log; the rarest of many are one for each method.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final
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

Kind = tuple[str, str, frozenset[str]]  # method, path with {} for ids, names of the query's secrets


def _read(given: Given) -> Draft:
    losses: list[str] = []
    timed = _timed(entries(given, losses), given.name)
    requests = _requests([entry for _, entry in timed], data_file(given.out))
    starts = _spread([second for second, _ in timed])
    recorded = [
        Recorded(start_s, requests[_kind(entry)], _path(entry))
        for start_s, (_, entry) in zip(starts, timed, strict=True)
    ]
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


def _timed(found: Iterator[Entry], name: str) -> list[tuple[float, Entry]]:
    """The requests in the order of their times, in s since 1970. Raises SuiteError for a time that is none."""
    second = functools.lru_cache(maxsize=4096)(lambda text: time_of(text).timestamp())
    timed = []
    for entry in found:
        try:
            timed.append((second(entry.time), entry))
        except ValueError:
            what, mend = f"{entry.time!r} is no time", "the combined format has [10/Oct/2026:13:55:36 +0200]"
            raise SuiteError(what, where=name, mend=mend) from None
    return sorted(timed, key=lambda each: each[0])


def _spread(seconds: Sequence[float]) -> list[float]:
    """Starts in s after the first second. Those of one whole second are spread over it."""
    in_second = Counter(seconds) if all(second.is_integer() for second in seconds) else Counter[float]()
    before: Counter[float] = Counter()
    starts = []
    for second in seconds:
        starts.append(second - seconds[0] + (before[second] / in_second[second] if in_second else 0.0))
        before[second] += 1
    return starts


def _kind(entry: Entry) -> Kind:
    return entry.method, entry.common, frozenset(_secret_parts(entry))


def _secret_parts(entry: Entry) -> dict[str, str]:
    return {name: value for name, value in entry.pairs.items() if is_secret_part(name, value)}


def _path(entry: Entry) -> str:
    """The path and query as they were sent, without the secrets."""
    query, secret = entry.query, _secret_parts(entry)
    if secret:
        query = urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in secret])
    return quote(entry.path + (f"?{query}" if query else ""), safe=_PATH_SAFE)


def _requests(found: Sequence[Entry], file: str) -> dict[Kind, Request]:
    """The request that becomes the operation of each kind; kinds that have the same name may share one."""
    counts = Counter(map(_kind, found))
    frequent = {kind for kind, _ in counts.most_common(MOST_OPERATIONS)}
    statuses: dict[tuple[str, str, frozenset[str]], set[int]] = {}
    requests: dict[Kind, Request] = {}
    groups: dict[Kind, Kind] = {}
    for entry in found:
        kind = _kind(entry)
        group = kind if kind in frequent else (kind[0], _OTHERS, kind[2])
        groups[kind] = group
        statuses.setdefault(group, set()).add(entry.status)
        if group not in requests:
            requests[group] = Request(entry.method, field("path|raw"), name_of(entry.method, group[1]), data=file)
            requests[group].params = dict(_secret_parts(entry))
            if entry.method == "CONNECT" or not entry.path.startswith("/"):
                requests[group].left_out = NO_PATH
    for group, request in requests.items():
        if max(statuses[group]) >= 300:  # what it was answered then is a good answer now, but for errors of the server
            request.statuses = sorted({200} | {status for status in statuses[group] if status < 500})
    return {kind: requests[group] for kind, group in groups.items()}


FORMAT = Format("replay", "an access log, each request at its own time", lambda given: False, from_draft(_read))
