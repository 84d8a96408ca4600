"""Answers as an operation looks at them: what `expect` demands of one, and which of its fields `keep` stores.

reader = Reader.of(operation)                # once, beforehand; None where nobody looks at the answers
problem = reader.problem(answer, lane)       # "" where the answer is as expected; its fields are kept then
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

from perflib.errors import SuiteError
from perflib.store.schema import NONE_STATUS
from perflib.suite.answers import Expect, Kept
from perflib.targets.json_path import MISSING, equals, json_path, json_values

if TYPE_CHECKING:
    from perflib.suite.operation import Operation

_SHOWN_CHARACTERS: Final = 60  # of a value in a message
_TAG: Final = re.compile(r"<(?:input|button|meta|textarea)\b[^>]{0,4000}>", re.IGNORECASE)


class Answer:
    """An answer without status and headers, as a function returns it. Kinds that have more say so in a subclass.

    value       the answer as a JSON value, or any other
    elapsed_s   since the request was sent
    """

    __slots__ = ("_text", "elapsed_s", "value")

    status: int = NONE_STATUS

    def __init__(self, value: Any, text: Callable[[], str] | None = None, elapsed_s: float = 0.0) -> None:
        self.value, self._text, self.elapsed_s = value, text, elapsed_s

    @property
    def text(self) -> str:
        return str(self.value) if self._text is None else self._text()

    @property
    def json(self) -> Any:
        return self.value

    def has(self, text: str) -> bool:
        """Whether the text occurs in the answer."""
        return text in self.text

    @property
    def size_bytes(self) -> int:
        return len(self.text.encode("utf-8", "replace"))

    def headers(self, name: str) -> list[str]:
        """The values of a header."""
        return []

    def cookie(self, name: str) -> str | None:
        """The value of a cookie."""
        return None


Check = Callable[[Answer], str]
Source = Callable[[Answer], Any]


class Reader:
    """What an operation wants of its answers.

    reads_body   whether it looks at more than status and head
    statuses     those that it expects; empty where it names none
    is_pure      whether the same bytes always have the same outcome, and nothing is kept
    """

    __slots__ = ("_checks", "_kept", "is_pure", "reads_body", "statuses")

    def __init__(self, expect: Expect | None, keep: dict[str, str | Kept]) -> None:
        sources = {name: Kept(json=each) if isinstance(each, str) else each for name, each in keep.items()}
        self._checks = _checks(expect) if expect is not None else []
        self._kept = [(name, source_of(each), said_of(each)) for name, each in sources.items()]
        in_body = any(each.reads_body for each in sources.values())
        self.reads_body = in_body or (expect is not None and expect.reads_body)
        self.statuses = expect.statuses if expect is not None else ()
        self.is_pure = not keep and (expect is None or expect.within_s is None)

    @classmethod
    def of(cls, operation: Operation) -> Reader | None:
        """The operation's reader. Raises SuiteError for a path that cannot be read."""
        if not operation.keep and operation.expect is None:
            return None
        try:
            return cls(operation.expect, dict(operation.keep))
        except SuiteError as error:
            raise SuiteError(error.what, where=f"operation {operation.name!r}", mend=error.mend) from None

    def problem(self, answer: Answer, kept_fields: dict[str, Any]) -> str:
        """What is wrong with the answer; "" where nothing is, and then the fields to be kept are in `kept_fields`."""
        for check in self._checks:
            wrong = check(answer)
            if wrong:
                return wrong
        for name, source, said in self._kept:
            value = source(answer)
            if value is MISSING or value is None:
                return f"nothing to keep as {name!r}: the answer has no {said}"
            kept_fields[name] = value
        return ""


def _checks(expect: Expect) -> list[Check]:
    """The checks, the cheap ones first."""
    checks: list[Check] = []
    if expect.statuses:
        checks.append(_status_in(expect.statuses))
    if expect.within_s is not None:
        checks.append(_within(expect.within_s))
    checks += [_header_has(name, text) for name, text in expect.headers.items()]
    if expect.min_bytes is not None or expect.max_bytes is not None:
        checks.append(_sized(expect.min_bytes or 0, expect.max_bytes))
    checks += [_contains(text) for text in expect.contains]
    checks += [_lacks(text) for text in expect.absent]
    checks += [_matches(pattern) for pattern in expect.matches]
    checks += [_field_is(path, wanted) for path, wanted in (expect.json or {}).items()]
    return checks


def _status_in(statuses: tuple[int, ...]) -> Check:
    wanted = " or ".join(map(str, statuses))
    return lambda answer: "" if answer.status in statuses else f"status {answer.status} instead of {wanted}"


def _within(seconds: float) -> Check:
    return lambda answer: "" if answer.elapsed_s <= seconds else f"the answer took longer than {seconds:g} s"


def _header_has(name: str, text: str) -> Check:
    def check(answer: Answer) -> str:
        values = answer.headers(name)
        if any(text in value for value in values):
            return ""
        return f"header {name} is {shown(', '.join(values))}" if values else f"there is no header {name}"

    return check


def _sized(least: int, most: int | None) -> Check:
    def check(answer: Answer) -> str:
        size = answer.size_bytes
        if size < least:
            return f"the body is {size:,} bytes long, less than {least:,}"
        return f"the body is {size:,} bytes long, more than {most:,}" if most is not None and size > most else ""

    return check


def _contains(text: str) -> Check:
    said = f"the answer does not contain {shown(text)}"
    return lambda answer: "" if answer.has(text) else said


def _lacks(text: str) -> Check:
    said = f"the answer contains {shown(text)}"
    return lambda answer: said if answer.has(text) else ""


def _matches(pattern: str) -> Check:
    search, said = re.compile(pattern).search, f"nothing in the answer matches {shown(pattern)}"
    return lambda answer: "" if search(answer.text) else said


def _field_is(path: str, wanted: Any) -> Check:
    find = json_path(path)

    def check(answer: Answer) -> str:
        found = find(answer.json)
        if equals(found, wanted):
            return ""
        return f"there is no {path}" if found is MISSING else f"{path} is {shown(found)} instead of {shown(wanted)}"

    return check


def source_of(kept: Kept) -> Source:
    """Where the value of a kept field comes from, as a function of the answer. MISSING or None: it is not there."""
    if kept.json is not None:
        find = json_values(kept.json) if kept.all else json_path(kept.json)
        return lambda answer: find(answer.json)
    if kept.header is not None:
        header = kept.header
        return lambda answer: next(iter(answer.headers(header)), None)
    if kept.cookie is not None:
        cookie = kept.cookie
        return lambda answer: answer.cookie(cookie)
    if kept.regex is not None:
        search = re.compile(kept.regex).search
        return lambda answer: _group(search(answer.text))
    return _form_field(kept.field or "")


def said_of(kept: Kept) -> str:
    """What is looked for, in words."""
    if kept.json is not None:
        return kept.json
    key = next(key for key in ("header", "cookie", "regex", "field") if getattr(kept, key) is not None)
    noun = {"regex": "match of", "field": "form field"}.get(key, key)
    return f"{noun} {shown(getattr(kept, key))}"


def _group(match: re.Match[str] | None) -> str | None:
    return None if match is None else match[1] if match.re.groups else match[0]


class _Tag(HTMLParser):
    """The attributes of the first tag."""

    attributes: dict[str, str | None]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes = dict(attrs)


def _form_field(name: str) -> Source:
    """The `value` of a form's field with this name, or the `content` of such a `meta`, which many frameworks use."""

    def find(answer: Answer) -> str | None:
        for match in _TAG.finditer(answer.text):
            if name not in html.unescape(match[0]):
                continue
            parser = _Tag()
            parser.feed(match[0])
            found = parser.attributes
            if found.get("name") == name:
                value = found.get("value", found.get("content"))
                return "" if value is None else value
        return None

    return find


def shown(value: Any) -> str:
    """A value of an answer in a message, as JSON writes it, and not long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = repr(type(value))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
