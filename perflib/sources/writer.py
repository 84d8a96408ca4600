"""Writes a draft as the TOML of a suite that passes `perflib try` and runs.

Requests that change something, that need what none before them gives, or that go to nobody, become comments with a
reason. What could not be translated stands in the file's first lines as well as on the terminal.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from perflib.errors import SuiteError
from perflib.sources.draft import (
    CHANGES_NOTHING,
    Draft,
    Journey,
    Request,
    Site,
    as_json,
    fields_in,
    mapped,
    pieces,
    shown,
    template,
    variables_in,
)
from perflib.sources.hiding import Secrets
from perflib.sources.mcp_suite import operation_name, unique_names
from perflib.sources.toml_text import is_exact, toml, toml_key
from perflib.suite.data_file import OPERATION_COLUMN, START_COLUMN
from perflib.targets.base import is_loopback
from perflib.text import one_line

_MOST_LOSSES: Final = 100  # that are listed one by one
_HEAD: Final = """\
# Written by `{command}` from {made_from}. Send each request once, then run it and read the report:
#     perflib try {file}
#     perflib run {file}
#     perflib report
# Edit it before you trust a figure: values that real users send, weights, the load, objectives of your own.
"""


@dataclass(frozen=True)
class Written:
    """The text of a suite, and what a person should know about it.

    variables   the environment variables that it needs, with the values that the description had for them
    losses      what could not be translated
    left_out    how many requests are comments only
    files       texts of the files beside it, by their names
    """

    text: str
    variables: dict[str, str]
    losses: list[str]
    requests: int
    left_out: int
    files: dict[str, str] = field(default_factory=dict)


def written(draft: Draft, path: Path, *, everything: bool = False) -> Written:
    """The suite for a file at `path`; with `everything` also requests that change something.

    Raises SuiteError where no request is left.
    """
    secrets = Secrets()
    secrets.hide(draft)
    every = [request for journey in draft.journeys for request in journey.requests]
    for journey in draft.journeys:
        _leave_out(journey, everything)
    sent = [request for request in every if not request.left_out]
    if not sent:
        raise _nothing_left(draft, every)
    _hoist_headers(draft, sent)
    recordings = [_recording(journey, secrets, draft.losses) for journey in draft.journeys if journey.recorded]
    losses = [one_line(shown(loss), 300) for loss in dict.fromkeys(draft.losses)]
    used = {request.site for request in sent}
    parts = [
        *_head(draft, path, losses),
        f"name = {toml(operation_name(shown(draft.name)))}",
        *_allowed(draft, used),
        *(line for name, site in draft.sites.items() for line in _site(name, site, name in used)),
        *(line for journey in _named(draft.journeys) for line in _scenario(journey)),
    ]
    needed = _variables(draft, sent, used)
    values = {name: secrets.values.get(name, "") for name in needed}
    files = {data_file(path): text for text in recordings}  # of which a draft has one at most
    return Written("\n".join(parts) + "\n", values, losses, len(sent), len(every) - len(sent), files)


def data_file(path: Path) -> str:
    """The name of the file with the rows of a suite's recording."""
    return path.with_suffix(".csv").name


def _leave_out(journey: Journey, everything: bool) -> None:
    """Mark the requests that are not sent, and those that need something of them."""
    known: set[str] = set()
    for request in journey.requests:
        needed = set().union(*map(fields_in, pieces(request)))
        missing = sorted(name for name in needed - known if "|" not in name and name not in ("uuid", "now", "counter"))
        if not request.left_out and request.method not in CHANGES_NOTHING and not everything:
            unless = "--all replays it" if journey.recorded else "uncomment it if a thousand of them do no harm"
            request.left_out = f"{request.method} changes something; {unless}"
        elif not request.left_out and missing:
            request.left_out = f"no request before it gives {{{missing[0]}}}"
        if not request.left_out and journey.in_sequence:
            known |= set(request.keep)


def _nothing_left(draft: Draft, requests: Sequence[Request]) -> SuiteError:
    if not requests:
        return SuiteError("it has no requests", where=draft.made_from, mend="give a description with at least one")
    changing = [request for request in requests if "changes something" in request.left_out]
    if changing:
        what = f"all of its {len(requests)} requests change something or need one that does"
        return SuiteError(what, where=draft.made_from, mend="write them with --all, if a thousand of each do no harm")
    what = f"none of its {len(requests)} requests can be sent: {shown(requests[0].left_out)}"
    return SuiteError(what, where=draft.made_from, mend="give a description of requests that succeed")


def _hoist_headers(draft: Draft, sent: Sequence[Request]) -> None:
    """Move headers that all requests of a site have to the site."""
    for name, site in draft.sites.items():
        own = [request for request in sent if request.site == name]
        if len(own) < 2:
            continue
        shared = set(own[0].headers.items()).intersection(*(request.headers.items() for request in own[1:]))
        shared = {(key, value) for key, value in shared if not fields_in(value) and key.lower() != "content-type"}
        site.headers |= {key: value for key, value in own[0].headers.items() if (key, value) in shared}
        for request in own:
            request.headers = {key: value for key, value in request.headers.items() if (key, value) not in shared}


def _variables(draft: Draft, sent: Sequence[Request], used: set[str]) -> list[str]:
    sites = [draft.sites[name] for name in used]
    parts = [[site.headers, site.keys] for site in sites] + [list(pieces(request)) for request in sent]
    return variables_in(parts)


def _head(draft: Draft, path: Path, losses: Sequence[str]) -> Iterator[str]:
    file = one_line(shlex.quote(str(path)), 200)
    yield _HEAD.format(command=draft.command, made_from=one_line(shown(draft.made_from), 200), file=file).rstrip()
    yield from (f"# {one_line(shown(remark), 300)}" for remark in draft.remarks)
    if losses:
        yield "# Not translated:"
        yield from (f"#   {loss}" for loss in losses[:_MOST_LOSSES])
        if len(losses) > _MOST_LOSSES:
            yield f"#   and {len(losses) - _MOST_LOSSES} more, which the command prints"


def _allowed(draft: Draft, used: set[str]) -> Iterator[str]:
    """Nothing for this machine; other hosts must be allowed by hand."""
    sites = [site for name, site in draft.sites.items() if name in used]
    urls = [url for site in sites for url in (site.url, site.keys.get("auth", {}).get("token_url", ""))]
    hosts = dict.fromkeys(urlsplit(url).hostname or "" for url in urls)
    others = [host for host in hosts if host and not is_loopback(host)]
    if others:
        yield f"# Not this machine: {one_line(', '.join(others), 300)}. If you may test it, uncomment:"
        yield f"# allow_hosts = {toml(others)}"


def _site(name: str, site: Site, is_used: bool) -> Iterator[str]:
    lines = [f"[targets.{toml_key(name)}]", 'kind = "http"', f"url = {toml(shown(site.url))}"]
    if site.headers:
        lines.append(f"headers = {_toml(site.headers)}")
    lines += [f"{key} = {_toml(value)}" for key, value in site.keys.items()]
    yield ""
    yield from (f"# {one_line(shown(remark), 300)}" for remark in site.remarks)
    yield from lines if is_used else [f"# {line}" for line in lines]


def _recording(journey: Journey, secrets: Secrets, losses: list[str]) -> str:
    """The rows of the requests that are sent, as CSV. Those with a secret are none: it would stand in the file."""
    names = dict(zip(map(id, journey.requests), _names(journey), strict=True))
    sent = [row for row in journey.recorded if not row.request.left_out]
    if len(sent) < len(journey.recorded):
        losses.append(f"{len(journey.recorded) - len(sent):,} requests of operations that are left out")
    secret_paths = {path for path in {row.path for row in sent} if secrets.are_in(path)}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow((START_COLUMN, OPERATION_COLUMN, "path"))
    for row in sent:
        if row.path not in secret_paths:
            rows.writerow((f"{row.start_s:.6f}".rstrip("0").rstrip("."), names[id(row.request)], row.path))
    if secret_paths:
        losses.append(f"{sum(row.path in secret_paths for row in sent):,} requests whose paths have secrets")
    return text.getvalue()


def _names(journey: Journey) -> list[str]:
    return unique_names([_name(request) for request in journey.requests])


def _named(journeys: Sequence[Journey]) -> list[Journey]:
    """The journeys with a name each that is valid and that no other has."""
    names = unique_names([shown(journey.name) or "journey" for journey in journeys])
    return [replace(journey, name=name) for name, journey in zip(names, journeys, strict=True)]


def _scenario(journey: Journey) -> Iterator[str]:
    requests = journey.requests
    is_sent = any(not request.left_out for request in requests)
    site = next((request.site for request in requests if not request.left_out), requests[0].site if requests else "")
    lines = [
        "[[scenarios]]",
        f"name = {toml(journey.name)}",
        f"target = {toml(site)}",
        *(['order = "sequence"'] if journey.in_sequence else []),
        *(['order = "recorded"'] if journey.recorded else []),
        f"load = {journey.load}  # {journey.load_remark}",
        *([f"objectives = {toml(journey.objectives)}"] if journey.objectives else []),
    ]
    yield ""
    yield from (f"# {one_line(shown(remark), 300)}" for remark in journey.remarks)
    yield from lines if is_sent else [f"# {line}" for line in lines]
    for name, request in zip(_names(journey), requests, strict=True):
        yield from _operation(name, request, site)


def _name(request: Request) -> str:
    return shown(request.name) or f"{request.method} {shown(request.path).partition('?')[0]}"


def _operation(name: str, request: Request, site: str) -> Iterator[str]:
    """The lines of one request, as comments if it is left out."""
    lines = ["[[scenarios.operations]]", f"name = {toml(name)}"]
    if request.site != site:
        lines.append(f"target = {toml(request.site)}")
    if request.method != ("POST" if request.body else "GET"):
        lines.append(f"method = {toml(request.method)}")
    lines.append(f"path = {_toml(request.path)}")
    key, value, headers = _body(request)
    if request.params:
        lines.append(f"params = {_toml(request.params)}")
    if headers:
        lines.append(f"headers = {_toml(headers)}")
    if key:
        lines.append(f"{key} = {_toml(value)}")
    if request.keep:
        lines.append(f"keep = {toml(mapped(request.keep, shown))}")
    if statuses := request.statuses:
        lines.append(f"expect = {{ status = {toml(statuses[0] if len(statuses) == 1 else statuses)} }}")
    if request.data:
        lines.append(f"data = {toml(request.data)}")
    if request.weight != 1.0:
        lines.append(f"weight = {toml(request.weight)}")
    remarks = [*request.remarks, *([f"Left out: {request.left_out}."] if request.left_out else [])]
    yield ""
    yield from (f"# {one_line(shown(remark), 300)}" for remark in remarks)
    yield from [f"# {line}" for line in lines] if request.left_out else lines


def _body(request: Request) -> tuple[str, Any, dict[str, str]]:
    """The key of the body, its value and the headers. JSON that TOML cannot hold, as null, is written as a text."""
    if request.body is None:
        return "", None, request.headers
    key, value = request.body
    headers = request.headers
    implied = {"json": "application/json", "form": "application/x-www-form-urlencoded"}.get(key)
    if implied or key == "multipart":
        headers = {
            name: value
            for name, value in headers.items()
            if name.lower() != "content-type" or (implied and value.partition(";")[0].strip().lower() != implied)
        }
    if key == "json" and (value is None or not is_exact(mapped(value, template))):
        if not any(name.lower() == "content-type" for name in headers):
            headers = {**headers, "Content-Type": "application/json"}
        return "body", as_json(value), headers
    return key, value, headers


def _toml(value: Any) -> str:
    return toml(mapped(value, template))
