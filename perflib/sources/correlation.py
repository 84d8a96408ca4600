"""Finds the values of earlier answers that come back in later requests of a recording, and makes them `keep`.

A value is looked for if it can hardly be the same by chance: it is long and has digits, or a field named like a token
or an id has it. It counts only if no request before the answer had it, since then the server has not made it up.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote_plus

from perflib.sources.draft import Request, field, pieces
from perflib.sources.given import table, tables, text
from perflib.suite.redaction import names_secret

_NAMED: Final = re.compile(
    r"(?:^|[-_.])(?i:id|uuid|guid|token|key|code|nonce|csrf|ref|number)s?$|[a-z](?:I[dD]|Token|Key|Code|Ref)s?$"
)
_LONG: Final = re.compile(
    r"(?=.*\d)(?=.*[A-Za-z])[\w.~+/=-]{12,4096}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I
)
_WORD: Final = re.compile(r"[\w~-]+")
_LONG_WORD: Final = re.compile(r"[\w.~+/=-]+")
_SHORTEST: Final = 3  # characters of a value that a name makes a candidate
_MOST_VALUES: Final = 20_000  # of one recording
_LARGEST_BODY: Final = 2_000_000
_GENERATED: Final = ("uuid", "now", "counter", "random")


@dataclass
class _Seen:
    """A value of an answer: which request got it, and where it stands."""

    giver: Request
    name: str
    source: Any
    kept_as: str = ""


class Correlation:
    """The values that answers gave so far. Requests are added in the order in which they were made."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._sent: set[str] = set()  # the words of all requests so far
        self._names: set[str] = set(_GENERATED)

    def fill_in(self, request: Request) -> None:
        """Replace the values of earlier answers in a request by {names}, and make those answers keep them."""
        words = _words(request)
        self._sent |= words
        for value in sorted(words & self._seen.keys(), key=lambda value: (-len(value), value)):
            self._replace(request, value, self._seen[value])

    def learn(self, request: Request, answer: dict[str, Any]) -> None:
        """Note the values of an answer to the request."""
        if request.left_out:
            return
        for name, value, source in _values(answer):
            if len(self._seen) >= _MOST_VALUES:
                return
            if value.startswith(("/", "http://", "https://")):
                continue  # a link, not a token
            is_likely = _LONG.fullmatch(value) or (len(value) >= _SHORTEST and _is_named(name) and not value.isalpha())
            if is_likely and value not in self._seen and value not in self._sent:
                self._seen[value] = _Seen(request, name, source)

    def _replace(self, request: Request, value: str, seen: _Seen) -> None:
        name = seen.kept_as or self._new_name(seen.name)
        change = _Change(value, name)
        request.path = change.path(request.path)
        request.params, request.headers = change.part("", request.params), change.part("", request.headers)
        if request.body is not None:
            request.body = (request.body[0], change.part("", request.body[1]))
        if change.is_made and not seen.kept_as:
            seen.kept_as = name
            self._names.add(name)
            seen.giver.keep[name] = seen.source

    def _new_name(self, name: str) -> str:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "value"
        plain = plain if plain[0].isalpha() else f"value_{plain}"
        number, unique = 1, plain
        while unique in self._names:
            number += 1
            unique = f"{plain}_{number}"
        return unique


class _Change:
    """Replaces one value in a request. One that is not long counts only under a name like a token or an id."""

    def __init__(self, value: str, name: str) -> None:
        self._value, self._name = value, name
        self._is_long = bool(_LONG.fullmatch(value))
        forms = "|".join(dict.fromkeys(map(re.escape, (value, quote(value, safe=""), quote_plus(value)))))
        self._anywhere = re.compile(rf"(?<![\w${{.~-])(?:{forms})(?![\w.~-])")
        self._segment = re.compile(rf"(?<=/)(?:{forms})(?=[/?]|$)")
        self._in_query = re.compile(rf"(?<=[?&])([^=&]*=)(?:{forms})(?=&|$)")
        self.is_made = False

    def path(self, path: str) -> str:
        before, mark, query = path.partition("?")
        if "/" in self._value:  # in a path it would be encoded
            return before + mark + (self._anywhere.sub(self._place, query) if self._is_long else query)
        if self._is_long:
            return self._anywhere.sub(self._place, path)
        path = self._segment.sub(self._place, path)
        return self._in_query.sub(
            lambda match: match[1] + self._place(match) if _is_named(match[1][:-1]) else match[0], path
        )

    def part(self, name: str, value: Any) -> Any:
        """The value of a field of this name, changed."""
        if isinstance(value, dict):
            return {key: self.part(str(key), inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.part(name, inner) for inner in value]
        if isinstance(value, bool) or not isinstance(value, int | str):
            return value
        if str(value) == self._value and (self._is_long or _is_named(name)):
            return field(self._name, is_number=True) if self._place() and isinstance(value, int) else self._place()
        if isinstance(value, str) and (self._is_long or names_secret(name, value)):
            return self._anywhere.sub(self._place, value)
        return value

    def _place(self, _match: object = None) -> str:
        self.is_made = True
        return field(self._name)


def _words(request: Request) -> set[str]:
    """What a request has that may be a value of an answer: its texts, numbers and their words."""
    words: set[str] = set()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                add(inner)
        elif isinstance(value, list):
            for inner in value:
                add(inner)
        elif isinstance(value, str):
            for one in (value, unquote_plus(value)):
                words.update((one, *_WORD.findall(one), *_LONG_WORD.findall(one)))
        elif isinstance(value, int):
            words.add(str(value))

    for part in pieces(request):
        add(part)
    return words


def _is_named(name: str) -> bool:
    return bool(_NAMED.search(name)) or names_secret(name, "value")


def _values(answer: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Name, value and source of what an answer gives: its headers, cookies, JSON fields and form fields."""
    for header in tables(answer.get("headers")):
        name, value = text(header.get("name")), text(header.get("value"))
        if name.lower() == "set-cookie":
            for line in value.split("\n"):
                cookie, _, rest = line.partition("=")
                yield cookie.strip(), rest.partition(";")[0].strip(), {"cookie": cookie.strip()}
        elif re.search(r"token|csrf|session|authorization|request-id|nonce", name, re.I):
            yield name, value, {"header": name}
    content = table(answer.get("content"))
    body, kind = text(content.get("text")), text(content.get("mimeType")).lower()
    if content.get("encoding") == "base64":
        try:
            body = base64.b64decode(body).decode("utf-8", "replace")
        except ValueError:
            return
    if len(body) > _LARGEST_BODY:
        return
    if "json" in kind:
        try:
            yield from _leaves(json.loads(body), "$", "value")
        except (ValueError, RecursionError):
            return
    elif "html" in kind:
        form = _Form()
        form.feed(body)
        yield from ((name, value, {"field": name}) for name, value in form.fields.items())


def _leaves(value: Any, path: str, name: str) -> Iterator[tuple[str, str, str]]:
    """Name, value and path of each text and number of a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            step = f".{key}" if re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) else f"[{json.dumps(key)}]"
            yield from _leaves(inner, path + step, f"{name}_{key}" if key == "id" and name != "value" else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]", name)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield name, str(value), path


class _Form(HTMLParser):
    """The fields of the forms of a page, and its <meta name=… content=…>."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        name = found.get("name")
        value = found.get("content") if tag == "meta" else found.get("value") if tag == "input" else None
        if name and value and (tag == "meta" or found.get("type") == "hidden"):
            self.fields.setdefault(name, value)
