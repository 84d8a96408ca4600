"""What a suite says about answers: what is expected of one (`Expect`), and which parts of it are kept (`Kept`).

The comment behind each field is its description in docs/suite.md (`python -m tools.reference` writes them there).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.fields import CONFIG, Count, Positive, Seq, Text
from perflib.suite.messages import in_one_line

Texts = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else _as_tuple(v))]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def check_pattern(pattern: str, key: str) -> None:
    """Raise SuiteError for what is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise SuiteError(f"not a regular expression: {error}", where=key, mend="see Python's `re`") from None


@in_one_line("expect")
@dataclass(frozen=True, config=CONFIG)
class Expect:
    """The expected answer; any other is a row with error "check".

    >>> Expect(status=[200, 201], contains="ok", json={"$.state": "done"}).statuses
    (200, 201)
    """

    status: int | Seq[int] | None = None  # the status, or a list of accepted ones
    contains: Texts = ()  # a text that the answer must contain, or several
    absent: Texts = ()  # a text that the answer must not contain, or several
    matches: Texts = ()  # a regular expression that must match somewhere in the answer, or several
    json: Mapping[str, Any] | None = None  # fields of a JSON answer and their values: `{ "$.state" = "done" }`
    headers: Mapping[str, str] = Field(default_factory=dict)  # headers and a text that each must contain; "": any
    min_bytes: Count | None = None  # a shorter body is an error; its compression is undone
    max_bytes: Count | None = None  # a longer body is an error
    within_s: Positive | None = None  # a slower answer is an error, counted from when the request was sent

    def __post_init__(self) -> None:
        for pattern in self.matches:
            check_pattern(pattern, "matches")

    @property
    def statuses(self) -> tuple[int, ...]:
        """The accepted statuses; empty where any is."""
        if self.status is None:
            return ()
        return self.status if isinstance(self.status, tuple) else (self.status,)

    @property
    def reads_body(self) -> bool:
        """Whether the body of the answer must be looked at."""
        return bool(self.contains or self.absent or self.matches or self.json or self.min_bytes or self.max_bytes)


@in_one_line("keep")
@dataclass(frozen=True, config=CONFIG)
class Kept:
    """Where the value of a kept field comes from: exactly one of its keys, besides `all`."""

    json: str | None = None  # a path in a JSON answer: `"$.id"` in short
    header: Text | None = None  # the value of this header
    cookie: Text | None = None  # the value of a cookie that the answer sets
    regex: Text | None = None  # what this regular expression matches in the body: its first group, or all of it
    field: Text | None = None  # the value of the HTML form field with this name
    all: StrictBool = False  # with `json`: every value that the path fits, as a list

    def __post_init__(self) -> None:
        given = [f.name for f in fields(self) if f.name != "all" and getattr(self, f.name) is not None]
        if len(given) != 1:
            what = f"needs one source, and has {', '.join(given) or 'none'}"
            raise SuiteError(what, mend='write { header = "X-Token" }, or cookie, regex, field, json')
        if self.regex is not None:
            check_pattern(self.regex, "regex")
        if self.all and self.json is None:
            raise SuiteError(
                "only of a JSON answer are all values kept", mend='write { json = "$.items[*].id", all = true }'
            )

    @property
    def reads_body(self) -> bool:
        return self.header is None and self.cookie is None


def _as_kept(value: Any) -> Any:
    return Kept(**value) if isinstance(value, Mapping) else value


Source = Annotated[str | Kept, BeforeValidator(_as_kept)]  # where a value comes from; a text is a JSON path
