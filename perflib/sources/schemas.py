"""Reading JSON Schemas that somebody else wrote: `$ref` and `allOf` merged, and whether a value fits. Bounded time, no network.

A server's schemas are untrusted: references may loop, patterns may take for ever, keywords may have any type. What cannot be
told within the bounds counts as fitting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

_MOST_PARTS: Final = 64  # schemas merged into one: more is a loop
_MOST_CHECKS: Final = 20_000
_DEEPEST: Final = 40
_UNBOUNDED: Final = re.compile(r"[*+]|\{\d*,")


class Schemas:
    """The schemas of one document, which their references point into."""

    def __init__(self, root: Any) -> None:
        self.root, self.checks = root, _MOST_CHECKS

    def flat(self, schema: Any) -> dict[str, Any]:
        """The schema as one table, its `$ref` and `allOf` merged into it."""
        merged: dict[str, Any] = {}
        parts, seen = [schema], 0
        while parts and seen < _MOST_PARTS:
            part, seen = parts.pop(0), seen + 1
            if isinstance(part, dict):
                for key, value in part.items():
                    if key not in ("$ref", "allOf"):
                        _merge(merged, key, value)
                parts += [self.target(part["$ref"])] if "$ref" in part else []
                parts += listed(part, "allOf")
        return merged

    def target(self, reference: Any) -> Any:
        """What "#/$defs/name" points to; True, which allows anything, where that is elsewhere or nowhere."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            return True
        found = self.root
        for step in reference.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                return True
        return found

    def fits(self, schema: Any, value: Any, depth: int = 0) -> bool:
        """Whether the schema allows the value. Formats are not judged."""
        self.checks -= 1
        if not isinstance(schema, dict) or self.checks < 0 or depth > _DEEPEST:
            return schema is not False
        return (
            _type_fits(schema, value)
            and _value_fits(schema, value)
            and self._parts_fit(schema, value, depth + 1)
            and self._content_fits(schema, value, depth + 1)
        )

    def _parts_fit(self, schema: dict[str, Any], value: Any, depth: int) -> bool:
        def count(key: str) -> int:
            return sum(self.fits(part, value, depth) for part in listed(schema, key))

        return (
            ("$ref" not in schema or self.fits(self.target(schema["$ref"]), value, depth))
            and count("allOf") == len(listed(schema, "allOf"))
            and (not listed(schema, "anyOf") or count("anyOf") > 0)
            and (not listed(schema, "oneOf") or count("oneOf") == 1)
            and not ("not" in schema and self.fits(schema["not"], value, depth))
        )

    def _content_fits(self, schema: dict[str, Any], value: Any, depth: int) -> bool:
        if isinstance(value, dict):
            extra = schema.get("additionalProperties", True)
            own = tabled(schema, "properties")
            return all(self.fits(own[key], entry, depth) for key, entry in value.items() if key in own) and all(
                self.fits(pattern_schema(schema, key, extra), entry, depth)
                for key, entry in value.items()
                if key not in own
            )
        if isinstance(value, list):
            head, rest = items_of(schema)
            if "contains" in schema:
                found = sum(self.fits(schema["contains"], entry, depth) for entry in value)
                if not whole(schema, "minContains", 1) <= found <= whole(schema, "maxContains", len(value)):
                    return False
            return all(self.fits(head[at] if at < len(head) else rest, entry, depth) for at, entry in enumerate(value))
        return True


def listed(schema: dict[str, Any], key: str) -> list[Any]:
    """A keyword's list; empty where it is none."""
    found = schema.get(key)
    return found if isinstance(found, list) else []


def tabled(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """A keyword's table; empty where it is none."""
    found = schema.get(key)
    return found if isinstance(found, dict) else {}


def number(schema: dict[str, Any], key: str) -> float | int | None:
    """A keyword's finite number, or None."""
    found = schema.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return found if finite(found) else None


def finite(value: float | int) -> bool:
    """Whether a double can hold it."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def whole(schema: dict[str, Any], key: str, default: int) -> int:
    """A keyword's count, at least 0."""
    found = number(schema, key)
    return default if found is None else max(0, int(found))


def bounds(schema: dict[str, Any]) -> Iterator[tuple[float | int, bool, bool]]:
    """Limits of a number, as (limit, is lower, is open); draft 4's boolean `exclusiveMinimum` too."""
    for key, strict, lower in (("minimum", "exclusiveMinimum", True), ("maximum", "exclusiveMaximum", False)):
        limit = number(schema, key)
        if limit is not None:
            yield limit, lower, schema.get(strict) is True
        beyond = number(schema, strict)
        if beyond is not None:
            yield beyond, lower, True


def items_of(schema: dict[str, Any]) -> tuple[list[Any], Any]:
    """The schemas of an array's first items, and the one of all others."""
    items = schema.get("items", True)
    if isinstance(items, list):
        return items, schema.get("additionalItems", True)
    return listed(schema, "prefixItems"), items


def pattern_schema(schema: dict[str, Any], key: str, otherwise: Any) -> Any:
    """The schema of a property that is not among `properties`."""
    for pattern, found in tabled(schema, "patternProperties").items():
        if matches(pattern, key):
            return found
    return otherwise


def matches(pattern: Any, text: str) -> bool:
    """Whether the pattern is found in the text; True where the search might take for ever, or the pattern is not Python's."""
    if not isinstance(pattern, str) or len(pattern) > 500 or len(text) > 200:
        return True
    if len(text) > 12 and (len(_UNBOUNDED.findall(pattern)) > 3 or re.search(r"\)[*+{]", pattern)):
        return True
    try:
        return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError):
        return True


def types(schema: dict[str, Any]) -> list[str]:
    """The types that the schema allows: as it says, or as its other keywords suggest; "any" where nothing does."""
    said = schema.get("type")
    if isinstance(said, str):
        return [said]
    if isinstance(said, list):
        return [kind for kind in said if isinstance(kind, str)] or ["any"]
    for kind, keys in _SUGGESTS.items():
        if any(key in schema for key in keys):
            return [kind]
    return ["any"]


_SUGGESTS: Final = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "contains"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_LARGER: Final = ("minimum", "minLength", "minItems", "minProperties", "minContains")
_SMALLER: Final = ("maximum", "maxLength", "maxItems", "maxProperties", "maxContains")


def _merge(into: dict[str, Any], key: str, value: Any) -> None:
    """Both keywords hold: the narrower limit, all required names, every schema of a property; else the first one stays."""
    have = into.get(key)
    if have is None:
        into[key] = value
    elif key in (*_LARGER, *_SMALLER, "exclusiveMinimum", "exclusiveMaximum"):
        numbers = [n for n in (number({"": have}, ""), number({"": value}, "")) if n is not None]
        if numbers:
            into[key] = max(numbers) if key in (*_LARGER, "exclusiveMinimum") else min(numbers)
    elif key in ("properties", "$defs", "definitions") and isinstance(have, dict) and isinstance(value, dict):
        both = {name: {"allOf": [have[name], value[name]]} for name in have.keys() & value.keys()}
        into[key] = {**value, **have, **both}
    elif key == "required" and isinstance(have, list) and isinstance(value, list):
        into[key] = [*have, *(name for name in value if name not in have)]
    elif key == "type":
        into[key] = _both_types(have, value)
    elif key == "enum" and isinstance(have, list) and isinstance(value, list):
        into[key] = [entry for entry in have if any(same(entry, other) for other in value)] or have


def _both_types(one: Any, other: Any) -> Any:
    first, second = ([t] if isinstance(t, str) else t if isinstance(t, list) else [] for t in (one, other))
    both = [t for t in first if t in second or (t == "integer" and "number" in second)]
    both += [t for t in second if t == "integer" and "number" in first and t not in both]
    return both or one


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0, and True is not 1."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _type_fits(schema: dict[str, Any], value: Any) -> bool:
    said = schema.get("type")
    kinds = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    return not kinds or (value is None and schema.get("nullable") is True) or any(_is(value, kind) for kind in kinds)


def _is(value: Any, kind: Any) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "number":
            return not isinstance(value, bool) and isinstance(value, int | float)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return True  # a type that JSON Schema does not have


def _value_fits(schema: dict[str, Any], value: Any) -> bool:
    """The keywords that look at the value alone."""
    if "const" in schema and not same(schema["const"], value):
        return False
    if listed(schema, "enum") and not any(same(entry, value) for entry in schema["enum"]):
        return False
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        return finite(value) and _number_fits(schema, value)
    what = "Length" if isinstance(value, str) else "Items" if isinstance(value, list) else "Properties"
    if not whole(schema, f"min{what}", 0) <= len(value) <= whole(schema, f"max{what}", len(value)):
        return False
    if isinstance(value, str):
        return "pattern" not in schema or matches(schema["pattern"], value)
    if isinstance(value, dict):
        return all(key in value for key in listed(schema, "required") if isinstance(key, str))
    return schema.get("uniqueItems") is not True or len(value) > 500 or not has_twins(value)


def has_twins(values: list[Any]) -> bool:
    """Whether two of them are the same."""
    return any(same(one, other) for at, one in enumerate(values) for other in values[:at])


def _number_fits(schema: dict[str, Any], value: float | int) -> bool:
    for limit, lower, is_open in bounds(schema):
        if (value < limit if lower else value > limit) or (is_open and value == limit):
            return False
    step = number(schema, "multipleOf")
    if not step or step < 0:
        return True
    try:
        return value % step == 0 if isinstance(step, int) else (value / step).is_integer()
    except OverflowError:
        return False
