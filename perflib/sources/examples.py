"""Example values for JSON Schemas: what a tool might be called with. Pure; an absurd schema costs bounded time and memory.

example({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 5}}}) == {"n": 5}
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from perflib.sources.schemas import (
    Schemas,
    bounds,
    has_twins,
    items_of,
    listed,
    matches,
    number,
    pattern_schema,
    tabled,
    types,
    whole,
)

_MOST_VALUES: Final = 3_000
_MOST_ITEMS: Final = 100
_MOST_TEXT: Final = 10_000
_MOST_WAYS: Final = 24
_DEEP: Final = 4  # from here on the shortest value is taken, so that what refers to itself ends
_DEEPEST: Final = 24

FORMATS: Final = {
    "date-time": "2025-01-01T12:00:00Z",
    "date": "2025-01-01",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "user@example.com",
    "idn-email": "user@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "iri": "https://example.com/",
    "uri-reference": "/example",
    "iri-reference": "/example",
    "uri-template": "/example",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/example",
    "relative-json-pointer": "0",
    "regex": "example",
    "byte": "ZXhhbXBsZQ==",
}


def example(schema: Any) -> Any:
    """A value that the schema allows, as far as can be told. Takes the schema's own examples and defaults where they fit.

    Of an object: what is required, and what has an example or a default.
    """
    try:
        return _Maker(schema).make(schema, 0)
    except RecursionError:  # a default or constant that is nested hundreds deep
        return None


def named(schema: dict[str, Any]) -> list[Any]:
    """The values that a schema itself names, the likeliest first; null, which says nothing, is left out."""
    given = [*listed(schema, "examples"), *(schema[key] for key in ("example", "default", "const") if key in schema)]
    return [value for value in (*given, *listed(schema, "enum")) if value is not None]


class _Maker:
    def __init__(self, root: Any) -> None:
        self.schemas, self.left = Schemas(root), _MOST_VALUES

    def make(self, schema: Any, depth: int) -> Any:
        """The first way to fill the schema that fits it; where none does, the first way."""
        self.left -= 1
        if self.left < 0 or depth > _DEEPEST:
            return None
        flat = self.schemas.flat(schema)
        ways = itertools.islice(self._ways(flat, depth), _MOST_WAYS)
        first = next(ways)
        return next((value for value in itertools.chain([first], ways) if self.schemas.fits(schema, value)), first)

    def _ways(self, flat: dict[str, Any], depth: int) -> Iterator[Any]:
        yield from named(flat)
        if flat.get("const", ...) is None or None in listed(flat, "enum"):
            yield None
        for chosen in self._branches(flat, depth):
            if chosen:
                rest = {key: value for key, value in flat.items() if key not in ("anyOf", "oneOf")}
                yield self.make({"allOf": [rest, *chosen]}, depth + 1)
                continue
            kinds = types(flat)
            for kind in sorted(kinds, key=lambda kind: (kind == "null") != (depth > _DEEP)):
                yield self._of_type(kind, flat, depth)

    def _branches(self, flat: dict[str, Any], depth: int) -> Iterator[tuple[Any, ...]]:
        """One of anyOf with one of oneOf; null comes last, or first where it is deep."""

        def last(branch: Any) -> bool:
            return (types(self.schemas.flat(branch)) == ["null"]) != (depth > _DEEP)

        lists = [sorted(listed(flat, key)[:_MOST_WAYS], key=last) for key in ("anyOf", "oneOf") if listed(flat, key)]
        return itertools.product(*lists)

    def _of_type(self, kind: str, flat: dict[str, Any], depth: int) -> Any:
        match kind:
            case "null":
                return None
            case "boolean":
                return True
            case "integer" | "number":
                return number_for(flat, integer=kind == "integer")
            case "array":
                return self._array(flat, depth)
            case "object":
                return self._object(flat, depth)
        return text_for(flat)

    def _array(self, flat: dict[str, Any], depth: int) -> list[Any]:
        head, rest = items_of(flat)
        least = min(whole(flat, "minItems", 0), _MOST_ITEMS)
        contained = whole(flat, "minContains", 1) if "contains" in flat else 0
        count = max(least, min(contained, _MOST_ITEMS)) if depth > _DEEP else max(least, len(head), contained, 1)
        count = min(count, whole(flat, "maxItems", _MOST_ITEMS), _MOST_ITEMS)
        if rest is False:
            count = min(count, len(head))
        made: list[Any] = []
        for at in range(count):
            own = head[at] if at < len(head) else rest
            wanted = {"allOf": [own, flat["contains"]]} if at < contained else own
            value = self.make(wanted, depth + 1)
            if flat.get("uniqueItems") is True and has_twins([*made, value]):
                others = (v for v in self._others(wanted, value, at) if not has_twins([*made, v]))
                value = next(others, _NONE_LEFT)
            if value is _NONE_LEFT or self.left < 0:
                break
            made.append(value)
        return made

    def _others(self, schema: Any, value: Any, at: int) -> Iterator[Any]:
        """Further values for a schema that has one already."""
        flat = self.schemas.flat(schema)
        pool = named(flat)
        if isinstance(value, bool):
            pool += [True, False]
        elif isinstance(value, int | float):
            step = number(flat, "multipleOf") or 1
            pool += [value + step * by for by in (at, -at, *range(1, at), *range(-at, 0))]
            pool += [value + step * by / 64 for by in range(-at, at)]
        elif isinstance(value, str):
            pool += [f"{value}{at}", f"{value[: -len(str(at))]}{at}"]
        return (other for other in pool if self.schemas.fits(schema, other))

    def _object(self, flat: dict[str, Any], depth: int) -> dict[str, Any]:
        own, extra = tabled(flat, "properties"), flat.get("additionalProperties", True)
        required = [name for name in listed(flat, "required") if isinstance(name, str)]
        told = [name for name in own if name not in required and named(self.schemas.flat(own[name]))]
        most = whole(flat, "maxProperties", len(own) + len(required))
        wanted = [*required, *told[: max(0, most - len(required))]]
        spare = [*(name for name in own if name not in wanted), *(f"example{n}" for n in range(1, _MOST_ITEMS))]
        least = min(whole(flat, "minProperties", 0), _MOST_ITEMS)
        made: dict[str, Any] = {}
        for name in [*wanted, *spare[: max(0, least - len(wanted))]]:
            schema = own[name] if name in own else pattern_schema(flat, name, extra)
            if self.left < 0:
                break
            made[name] = self.make(schema, depth + 1)
        return made


_NONE_LEFT: Final = object()


def number_for(schema: dict[str, Any], *, integer: bool) -> float | int:
    """1, or what is nearest to it within the limits and on the grid of `multipleOf`."""
    step = Fraction(abs(number(schema, "multipleOf") or 0))
    if integer:
        step = Fraction(step.numerator) if step else Fraction(1)
    low = max((Fraction(limit) for limit, lower, _ in bounds(schema) if lower), default=None)
    high = min((Fraction(limit) for limit, lower, _ in bounds(schema) if not lower), default=None)
    value = Fraction(1)
    if low is not None:
        value = max(value, low)
    if high is not None:
        value = min(value, high)
    if step:
        value = math.ceil(value / step) * step
        if high is not None and value > high:
            value = math.floor(high / step) * step
    shut = {Fraction(limit) for limit, _, is_open in bounds(schema) if is_open}
    if value in shut:
        value = _beside(value, low, high, step)
    return int(value) if integer or value.denominator == 1 else float(value)


def _beside(value: Fraction, low: Fraction | None, high: Fraction | None, step: Fraction) -> Fraction:
    """A number just inside an open limit."""
    if step:
        return value + step if value == low else value - step
    if low is not None and high is not None:
        return (low + high) / 2
    return value + 1 if value == low else value - 1


def text_for(schema: dict[str, Any]) -> str:
    """By pattern, by format, or "example", within the lengths."""
    least = min(whole(schema, "minLength", 0), _MOST_TEXT)
    most = max(least, whole(schema, "maxLength", _MOST_TEXT))
    pattern = schema.get("pattern")
    said = schema.get("format")
    plain = FORMATS.get(said, "example") if isinstance(said, str) else "example"
    tries = [plain, *FORMATS.values()]
    if isinstance(pattern, str):
        spelled = [spell(pattern, more) for more in (1, least, 0, 2, most if most < _MOST_TEXT else 3)]
        tries = [plain, *(text for text in spelled if text is not None), *FORMATS.values()]
    for text in tries:
        if least <= len(text) <= most and (pattern is None or matches(pattern, text)):
            return text
    return (plain * (least // len(plain) + 1))[: max(least, min(most, len(plain)))]


def spell(pattern: str, more: int) -> str | None:
    """A text that the pattern describes, with `more` of what may be repeated; None where that can't be told."""
    try:
        return _Speller(more).all(re._parser.parse(pattern))  # type: ignore[attr-defined]
    except (re.error, RecursionError, OverflowError, ValueError):
        return None


class _Speller:
    """Walks the tree of Python's own pattern parser. Assertions are passed over: the caller tries the text."""

    def __init__(self, more: int) -> None:
        self.more = more
        self.groups: dict[int, str] = {}

    def all(self, tree: Any) -> str:
        return "".join(self.one(str(kind), content) for kind, content in tree)[:_MOST_TEXT]

    def one(self, kind: str, content: Any) -> str:
        match kind:
            case "LITERAL":
                return chr(content)
            case "NOT_LITERAL":
                return "a" if content != ord("a") else "b"
            case "ANY":
                return "a"
            case "IN":
                return next(filter(lambda char: _in(content, char), _letters(content)), "")
            case "BRANCH":
                return self.all(content[1][0])
            case "SUBPATTERN":
                text = self.all(content[3])
                self.groups[content[0]] = text
                return text
            case "GROUPREF":
                return self.groups.get(content, "")
            case "ATOMIC_GROUP":
                return self.all(content)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, high, part = content
                text = self.all(part)
                times: int = max(low, min(int(high), self.more))
                return text * min(times, _MOST_TEXT // max(1, len(text)))
        return ""


def _letters(members: Any) -> Iterator[str]:
    """Characters to try for a class: plain ones, then its own."""
    yield from "aA1 -_.!é"
    for kind, content in members:
        if str(kind) in ("LITERAL", "RANGE"):
            yield chr(content if str(kind) == "LITERAL" else content[0])


def _in(members: Any, char: str) -> bool:
    inside, negated = False, False
    for kind, content in members:
        match str(kind):
            case "NEGATE":
                negated = True
            case "LITERAL":
                inside |= ord(char) == content
            case "RANGE":
                inside |= content[0] <= ord(char) <= content[1]
            case "CATEGORY":
                inside |= bool(re.match(_CATEGORIES.get(str(content), r"(?!)"), char))
    return inside != negated


_CATEGORIES: Final = {
    "CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S", "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W",
}  # fmt: skip
