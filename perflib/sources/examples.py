"""Example values for JSON Schemas, as arguments for tools.

example({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 5}}}) == {"n": 5}

Candidates are tried in order of likelihood, and the first that the schema allows is used. Time and memory are bounded
for every schema.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from perflib.sources.patterns import matches, text_matching
from perflib.sources.schemas import SchemaDocument, types

_MOST_VALUES: Final = 3_000
_MOST_ITEMS: Final = 100
_MOST_CANDIDATES: Final = 40
_LONGEST_TEXT: Final = 10_000
_SHORTEN_FROM_DEPTH: Final = 4  # from this depth on, the shortest value is used, so that recursive schemas end
_DEEPEST: Final = 24

PLAIN: Final = "example"  # a text about which the schema says nothing
FORMATS: Final = {
    "date-time": "2025-01-01T12:00:00Z",
    "date": "2025-01-01",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uri-reference": "/example",
    "uri-template": "/example",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/example",
    "relative-json-pointer": "0",
    "regex": "example",
    "byte": "ZXhhbXBsZQ==",
}


_LONGEST_DESCRIPTION: Final = 2_000
_SUCH_AS: Final = re.compile(r"(?:\be\.g\.,?|\bfor example,?:?|\bsuch as|\bexamples?:|\blike)\s+", re.IGNORECASE)
_QUOTED: Final = re.compile(r"(?:'([^'\n]{1,200})'|\"([^\"\n]{1,200})\"|`([^`\n]{1,200})`)")
_PLAIN: Final = re.compile(r"[^\s,;)'\"`]{1,100}")
_NUMBER: Final = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_SHAPES: Final = {  # how descriptions write the form of a text
    "YYYY-MM-DDTHH:MM": "2025-01-01T12:00:00Z",
    "YYYY-MM-DD": "2025-01-01",
    "HH:MM:SS": "12:00:00",
    "HH:MM": "12:00",
    "ISO 8601": "2025-01-01T12:00:00Z",
    "ISO-8601": "2025-01-01T12:00:00Z",
}


def example(schema: Any) -> Any:
    """A value that the JSON Schema allows, as far as that can be decided; its own examples and defaults come first.

    An object gets its required properties, and those with an example or a default.
    """
    document = SchemaDocument(schema)
    return _ExampleMaker(document).make(document.root, 0)


class _ExampleMaker:
    def __init__(self, document: SchemaDocument) -> None:
        self.document, self.values_left = document, _MOST_VALUES

    def make(self, schema: Any, depth: int, number: int = 0) -> Any:
        """The first allowed candidate, or else the first one. `number`: how many similar values come before it."""
        self.values_left -= 1
        if self.values_left < 0 or depth > _DEEPEST or self.document.out_of_time():
            return None
        candidates = itertools.islice(self.candidates(self.document.merged(schema), depth, number), _MOST_CANDIDATES)
        first = next(candidates)
        every = itertools.chain([first], candidates)
        return next((value for value in every if self.document.allows(schema, value)), first)

    def candidates(self, schema: dict[str, Any], depth: int, number: int) -> Iterator[Any]:
        """Candidates for a merged schema: its own values, then one for each branch and type. At least one."""
        yield from named_values(schema)
        yield from described_values(schema)
        if schema.get("const", ...) is None or None in schema.get("enum", ()):
            yield None
        for branches in self.branches(schema, depth):
            if branches:
                rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
                yield self.make({"allOf": [rest, *branches]}, depth + 1, number)
            else:
                for name in sorted(types(schema), key=lambda name: comes_late(name == "null", depth)):
                    yield from self.of_type(name, schema, depth, number)

    def branches(self, schema: dict[str, Any], depth: int) -> Iterator[tuple[Any, ...]]:
        """All combinations of a branch of `anyOf` with one of `oneOf`."""

        def order(branch: Any) -> bool:
            return comes_late(types(self.document.merged(branch)) == ["null"], depth)

        lists = [schema[key][:_MOST_CANDIDATES] for key in ("anyOf", "oneOf") if key in schema]
        return itertools.product(*(sorted(branches, key=order) for branches in lists))

    def of_type(self, name: str, schema: dict[str, Any], depth: int, number: int) -> Iterator[Any]:
        match name:
            case "null":
                yield None
            case "boolean":
                yield from (True, False)
            case "integer" | "number":
                yield from numbers(schema, number, integer=name == "integer")
            case "array":
                yield self.array(schema, depth)
            case "object":
                yield self.table(schema, depth)
            case _:
                yield from texts(schema, number)

    def array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        prefix, rest = schema.get("prefixItems", []), schema.get("items", True)
        unique = "uniqueItems" in schema
        contained = schema.get("minContains", 1) if "contains" in schema else 0
        count = max(schema.get("minItems", 0), contained)
        if depth <= _SHORTEN_FROM_DEPTH:
            count = max(count, len(prefix), 1)
        count = min(count, schema.get("maxItems", count), _MOST_ITEMS, len(prefix) if rest is False else _MOST_ITEMS)
        items: list[Any] = []
        for at in range(count):
            parts = [prefix[at] if at < len(prefix) else rest]
            parts += [schema["contains"]] if at < contained else []
            if unique and items:
                parts.append({"not": {"enum": items.copy()}})
            item = self.make({"allOf": parts}, depth + 1, at if unique else 0)
            if self.values_left < 0 or (unique and not self.document.allows({"uniqueItems": True}, [*items, item])):
                break
            items.append(item)
        return items

    def table(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties, names = schema.get("properties", {}), dict.fromkeys(schema.get("required", ()))
        with_example = (name for name in properties if any(named_values(self.document.merged(properties[name]))))
        most = schema.get("maxProperties", len(properties) + len(names))
        least = min(schema.get("minProperties", 0), _MOST_ITEMS)
        spare = itertools.chain(properties, (f"example{n}" for n in range(1, _MOST_ITEMS)))
        for wanted, count in ((with_example, most), (spare, least)):
            missing = (name for name in wanted if name not in names)
            names |= dict.fromkeys(list(itertools.islice(missing, max(0, count - len(names)))))
        rest = schema.get("additionalProperties", True)
        filled: dict[str, Any] = {}
        for name in names:
            if self.values_left < 0:
                break
            filled[name] = self.make(properties.get(name, rest), depth + 1)
        return filled


def comes_late(is_null: bool, depth: int) -> bool:
    """Whether a choice is tried last: null, or, deep inside a schema, everything except null."""
    return is_null != (depth > _SHORTEN_FROM_DEPTH)


def named_values(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The values in the schema itself, the likeliest first, without null and very large ones."""
    single = (schema[key] for key in ("example", "default", "const") if key in schema)
    for value in itertools.chain(schema.get("examples", ()), single, schema.get("enum", ())):
        try:
            if value is not None and len(json.dumps(value)) <= _LONGEST_TEXT:
                yield value
        except RecursionError:  # hundreds of nested levels
            pass


def described_values(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Values that the description gives as an example: "IANA name (e.g. 'Europe/London')", "a date (YYYY-MM-DD)"."""
    text = schema.get("description")
    if not isinstance(text, str):
        return
    text = text[:_LONGEST_DESCRIPTION]
    kinds = types(schema)
    for match in _SUCH_AS.finditer(text):
        quoted = _QUOTED.match(text, match.end())
        plain = _PLAIN.match(text, match.end())
        for found in (quoted, plain):
            if found is None:
                continue
            word = found[found.lastindex or 0].strip().rstrip(".")
            if "string" in kinds or kinds == ["any"]:
                yield word
            elif _NUMBER.fullmatch(word):
                yield int(word) if word.lstrip("-").isdigit() else float(word)
    if "string" in kinds:
        yield from (value for words, value in _SHAPES.items() if words in text)


def numbers(schema: Mapping[str, Any], number: int, *, integer: bool) -> Iterator[float | int]:
    """1, and values close to the limits or between them, as multiples of `multipleOf`, shifted by `number` steps."""
    lows = [schema[key] for key in ("minimum", "exclusiveMinimum") if key in schema]
    highs = [schema[key] for key in ("maximum", "exclusiveMaximum") if key in schema]
    starts = [Fraction(1), *(Fraction(max(lows)) for _ in lows[:1]), *(Fraction(min(highs)) for _ in highs[:1])]
    if lows and highs:
        starts += [starts[1] + (starts[2] - starts[1]) * share for share in (Fraction(1, 2), Fraction(number + 1, 128))]
    grid = Fraction(schema.get("multipleOf", 0))
    if integer:
        grid = Fraction(max(1, grid.numerator))
    for start, shift in itertools.product(starts, dict.fromkeys((0, number, -number, 1, -1))):
        value = (round(start / grid) + shift) * grid if grid else start + shift
        yield int(value) if value.denominator == 1 else float(value)


def texts(schema: Mapping[str, Any], number: int) -> Iterator[str]:
    """A text by format, pattern or "example", within the lengths, with `number` at the end if it is not 0."""
    least = min(schema.get("minLength", 0), _LONGEST_TEXT)
    most = max(least, schema.get("maxLength", _LONGEST_TEXT))
    plain = FORMATS.get(schema.get("format", ""), PLAIN)
    candidates = [plain, (plain * (least // len(plain) + 1))[: max(least, min(most, len(plain)))]]
    if pattern := schema.get("pattern"):
        described = [text_matching(pattern, repeats) for repeats in (1, least, 0, 2, min(most, 3))]
        candidates = [text for text in candidates if matches(pattern, text)]
        candidates += [text for text in (*described, plain, *FORMATS.values()) if text is not None]
    ending = str(number or "")
    for text in dict.fromkeys(candidates):
        yield from dict.fromkeys((text, text + ending, text[: len(text) - len(ending)] + ending))
