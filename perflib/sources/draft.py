"""A suite in the making: what the reader of a format returns, and what `writer.py` writes as TOML.

    Draft("petstore", "OpenAPI 3.0.3", sites={"api": Site("http://127.0.0.1:8000")},
          journeys=[Journey("calls", [Request("GET", "/pets?limit=5")])])

All texts are those of the description, as they are: the writer doubles their braces, and replaces their secrets. Only
`field("id")` and `variable("TOKEN")` become {id} and ${TOKEN}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import field as with_default
from typing import Any, Final

from perflib.suite.placeholders import literal

_FIELD, _VARIABLE, _END, _NUMBER = (
    "\ue000",
    "\ue001",
    "\ue002",
    "\ue003",
)  # private characters, which `plain` removes from descriptions
_FILLED: Final = re.compile(f"([{_FIELD}{_VARIABLE}]){_NUMBER}?([^{_END}]*){_END}")
_PRIVATE: Final = re.compile(f"[{_FIELD}-{_NUMBER}]")
_QUOTED_NUMBER: Final = re.compile(f'"({_FIELD}{_NUMBER}[^{_END}]*{_END})"')
REFERENCE: Final = re.compile(f"(?:[A-Za-z]+ )?[{_FIELD}{_VARIABLE}][^{_END}]*{_END}")
CHANGES_NOTHING: Final = ("GET", "HEAD", "OPTIONS")


@dataclass
class Request:
    """One request of a description, which becomes one operation.

    site       name of the server that it is for
    path       below the server's URL, encoded, perhaps with a query
    body       the key of the suite and its value: ("json", {...}), ("form", {...}), ("body", "text"), …; None: no body
    keep       sources of values that later requests of the journey use, by name
    statuses   the answers that are good, where not only those below 300 are
    data       the file whose rows fill it in
    remarks    lines of comment
    left_out   why it is written as a comment only; "" if it is not
    """

    method: str
    path: str
    name: str = ""
    site: str = "api"
    params: dict[str, Any] = with_default(default_factory=dict)
    headers: dict[str, str] = with_default(default_factory=dict)
    body: tuple[str, Any] | None = None
    keep: dict[str, Any] = with_default(default_factory=dict)
    statuses: list[int] = with_default(default_factory=list)
    data: str = ""
    weight: float = 1.0
    remarks: list[str] = with_default(default_factory=list)
    left_out: str = ""


@dataclass
class Site:
    """A server. `keys`: further keys of its target, as `verify_tls`."""

    url: str
    headers: dict[str, str] = with_default(default_factory=dict)
    keys: dict[str, Any] = with_default(default_factory=dict)
    remarks: list[str] = with_default(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of a recording: when a request was sent, in s after the first, and its path."""

    start_s: float
    request: Request
    path: str


@dataclass
class Journey:
    """Requests that become one scenario: in their order, as they were recorded, or else mixed by their weights."""

    name: str
    requests: list[Request]
    in_sequence: bool = False
    recorded: list[Recorded] = with_default(default_factory=list)
    load: str = '{ model = "closed", concurrency = 4, duration_s = 10 }'
    load_remark: str = "four users, each of whom waits for an answer"
    objectives: list[str] = with_default(default_factory=lambda: ["error rate < 1 %", "p95 response < 500 ms"])
    remarks: list[str] = with_default(default_factory=list)


@dataclass
class Draft:
    """A whole suite.

    made_from   what it is made from, in words
    command     the command that writes it
    losses      what could not be translated, one sentence each
    remarks     further lines of comment at the top
    """

    name: str
    made_from: str
    sites: dict[str, Site]
    journeys: list[Journey]
    losses: list[str] = with_default(default_factory=list)
    remarks: list[str] = with_default(default_factory=list)
    command: str = "perflib init"


def field(name: str, *, is_number: bool = False) -> str:
    """What becomes {name}: a value that was kept, or that perflib makes."""
    return f"{_FIELD}{_NUMBER if is_number else ''}{name}{_END}"


def as_json(value: Any) -> str:
    """A JSON value with its fields as a text, in which those that are numbers have no quotes."""
    return _QUOTED_NUMBER.sub(r"\1", json.dumps(value, ensure_ascii=False))


def variable(name: str) -> str:
    """What becomes ${NAME}: a variable of the environment."""
    return f"{_VARIABLE}{name}{_END}"


def plain(text: str) -> str:
    """A text of a description without the characters that `field` and `variable` use."""
    return _PRIVATE.sub("\ufffd", text)


def template(text: str) -> str:
    """The text as a suite writes it: with {name} and ${NAME} where they are meant, and all other braces doubled."""
    return _FILLED.sub(_in_braces, literal(text))


def shown(text: str) -> str:
    """The text for a person: with {name} and ${NAME}, and other braces as they are."""
    return _FILLED.sub(_in_braces, text)


def fields_in(value: Any) -> set[str]:
    """The names of all fields in the texts of a value, without those that perflib makes itself."""
    texts: list[str] = []
    mapped(value, lambda text: texts.append(text) or text)  # type: ignore[func-returns-value]
    return {match[2] for text in texts for match in _FILLED.finditer(text) if match[1] == _FIELD}


def variables_in(value: Any) -> list[str]:
    """The names of all variables of the environment in the texts of a value, in their order."""
    texts: list[str] = []
    mapped(value, lambda text: texts.append(text) or text)  # type: ignore[func-returns-value]
    return list(dict.fromkeys(m[2] for text in texts for m in _FILLED.finditer(text) if m[1] == _VARIABLE))


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with each of its texts changed, its keys among them."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(str(key)): mapped(inner, change) for key, inner in value.items()}
    return [mapped(inner, change) for inner in value] if isinstance(value, list | tuple) else value


def pieces(request: Request) -> Iterator[Any]:
    """All of a request that may have fields and variables."""
    yield from (request.path, request.params, request.headers)
    yield request.body[1] if request.body else None


def linked(journeys: list[Journey]) -> list[Journey]:
    """The journeys, with those joined into one in which a request needs what a request of another one keeps."""
    joined: list[Journey] = []
    for journey in journeys:
        needed = set().union(*(fields_in(part) for request in journey.requests for part in pieces(request)))
        givers = [other for other in joined if needed & {name for r in other.requests for name in r.keep}]
        if not givers:
            joined.append(journey)
            continue
        first = givers[0]
        for other in (*givers[1:], journey):
            first.requests += other.requests
            first.remarks += [f"continued with: {other.name}", *other.remarks]
            if other in joined:
                joined.remove(other)
    return joined


def _in_braces(match: re.Match[str]) -> str:
    return f"{{{match[2]}}}" if match[1] == _FIELD else f"${{{match[2]}}}"
