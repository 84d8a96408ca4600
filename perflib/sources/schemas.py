"""Untrusted JSON Schemas, converted to a form that is safe to read and to validate with.

References in a server's schema may loop, keywords may have any type, and patterns may take forever. Nothing is fetched
from the network, and a value that cannot be checked within the bounds counts as allowed.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from perflib.sources.patterns import matches

_DEEPEST: Final = 40
_MOST_PARTS: Final = 64  # number of schemas merged into one; more is a loop
_MOST_SECONDS: Final = 3.0
TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
_LEFT_OUT: Final = (
    "$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef", "$schema",
    "dependentRequired", "patternProperties", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_IMPLIED_TYPES: Final = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "contains"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


class Schema(dict[str, Any]):
    """A schema of the 2020-12 dialect in which every keyword has the right type."""


class SchemaDocument:
    """A schema with the targets of its references. `root` is its safe form; the total time of all checks is limited."""

    def __init__(self, schema: Any) -> None:
        self.root = _safe(schema)
        self._deadline = time.monotonic() + _MOST_SECONDS
        resource = Resource.from_contents(self.root, default_specification=DRAFT202012)
        self._resolver = Registry[Any]().with_resource("", resource).resolver()

    def out_of_time(self) -> bool:
        """Whether the time limit of the document is used up."""
        return time.monotonic() > self._deadline

    def resolved(self, reference: str) -> Any:
        """The schema that "#/$defs/name" points to, or True, which allows everything, if there is none."""
        try:
            found = self._resolver.lookup(reference).contents
        except (Unresolvable, ValueError, TypeError, LookupError):
            return True
        return found if isinstance(found, Schema) else True

    def merged(self, schema: Any) -> dict[str, Any]:
        """The schema as one table, with its `$ref` and `allOf` merged into it."""
        merged: dict[str, Any] = {}
        parts = [schema]
        for _ in range(_MOST_PARTS):
            if parts and isinstance(part := parts.pop(0), dict):
                merged = _combined(merged, {key: part[key] for key in part if key not in ("$ref", "allOf")})
                parts += [self.resolved(part["$ref"])] if "$ref" in part else []
                parts += part.get("allOf", [])
        return merged

    def allows(self, schema: Any, value: Any) -> bool:
        """Whether the schema, which must consist of parts of this document, allows the value."""
        try:
            validator = self._validator
            return self.out_of_time() or validator.evolve(schema=schema).is_valid(value)
        except (RecursionError, OverflowError, ValueError):
            return True

    @functools.cached_property
    def _validator(self) -> Any:
        """jsonschema's validator, without the checks that could take long."""
        # Imported here, because with Jupyter the import takes seconds, which must not count for the document.
        from jsonschema import Draft202012Validator, ValidationError
        from jsonschema.validators import extend

        def check_ref(validator: Any, ref: str, value: Any, schema: Any) -> Iterator[ValidationError]:
            if self.out_of_time():
                raise RecursionError("following references takes too long")
            yield from validator.descend(value, self.resolved(ref))

        def check_pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
            if isinstance(value, str) and matches(pattern, value) is False:
                yield ValidationError("the pattern does not match")

        def check_unique(validator: Any, unique: bool, value: Any, schema: Any) -> Iterator[ValidationError]:
            if isinstance(value, list) and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
                yield ValidationError("two items are equal")

        self._deadline = time.monotonic() + _MOST_SECONDS
        checks = {"$ref": check_ref, "pattern": check_pattern, "uniqueItems": check_unique}
        return extend(Draft202012Validator, checks)(self.root, registry=Registry())  # type: ignore[no-untyped-call]


def types(schema: Mapping[str, Any]) -> list[str]:
    """The types that a merged schema allows: its `type`, or the types that other keywords imply, or "any"."""
    implied = ([name] for name, keys in _IMPLIED_TYPES.items() if any(key in schema for key in keys))
    return schema.get("type") or next(implied, ["any"])


# How to merge two schemas that both apply: the narrower limit, all required names; of other keywords, the first.


def _combined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    both = {**second, **first}
    for key in first.keys() & second.keys() & _COMBINE.keys():
        both[key] = _COMBINE[key](first[key], second[key])
    return both


def _both_properties(first: Any, second: Any) -> Any:
    both = {name: {"allOf": [first[name], second[name]]} for name in first.keys() & second.keys()}
    return {**second, **first, **both}


def _both_types(first: list[str], second: list[str]) -> list[str]:
    widened = [{*names, *(["integer"] if "number" in names else [])} for names in (first, second)]
    return [name for name in dict.fromkeys([*first, *second]) if all(name in names for names in widened)] or first


_COMBINE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"), min),
    "enum": lambda first, second: [entry for entry in first if entry in second] or first,
    "not": lambda first, second: {"anyOf": [first, second]},
    "properties": _both_properties,
    "required": lambda first, second: list(dict.fromkeys([*first, *second])),
    "type": _both_types,
}


# The safe form. Each function converts the value of a keyword to a valid one, or to None, which drops the keyword.


def _safe(schema: Any, depth: int = 0) -> Any:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return schema is not False
    safe = Schema()
    for key, value in _modern(schema).items():
        if key in ("const", "default", "example"):  # for these keywords, null is a value too
            safe[key] = value
        elif (checked := _READERS.get(key, _unknown)(value, depth + 1)) is not None:
            safe[key] = checked
    return safe


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """Converts keywords of older drafts and of OpenAPI to the 2020-12 dialect."""
    modern = dict(schema)
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if modern.get(exclusive) is True:
            modern[exclusive] = modern.pop(limit, None)
    if "patternProperties" in modern:
        modern["additionalProperties"] = True  # names with a pattern are not checked
    if isinstance(modern.get("items"), list):
        modern |= {"prefixItems": modern["items"], "items": modern.get("additionalItems", True)}
    if modern.get("nullable") is True and isinstance(modern.get("type"), str):
        modern["type"] = [modern["type"], "null"]
    return modern


def _schemas(value: Any, depth: int) -> Any:
    return [_safe(part, depth) for part in value] or None if isinstance(value, list) else None


def _schema_table(value: Any, depth: int) -> Any:
    return {name: _safe(part, depth) for name, part in value.items()} if isinstance(value, dict) else None


def _unknown(value: Any, depth: int) -> Any:
    """Keywords such as descriptions, and tables of schemas that references point to."""
    return _safe(value, depth) if isinstance(value, dict) else value


def _number(value: Any, depth: int) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e308 else None  # so that it fits into a double; the comparison also excludes NaN


def _count(value: Any, depth: int) -> Any:
    number = _number(value, depth)
    return None if number is None else max(0, int(number))


def _types(value: Any, depth: int) -> Any:
    names = value if isinstance(value, list) else [value]
    return [name for name in names if isinstance(name, str) and name in TYPES] or None


_READERS: Final[dict[str, Callable[[Any, int], Any]]] = {
    **dict.fromkeys(_LEFT_OUT, lambda value, depth: None),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    **dict.fromkeys(("minLength", "minItems", "minProperties", "minContains"), _count),
    **dict.fromkeys(("maxLength", "maxItems", "maxProperties", "maxContains"), _count),
    **dict.fromkeys(("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else"), _safe),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _schemas),
    **dict.fromkeys(("properties", "dependentSchemas", "$defs", "definitions"), _schema_table),
    **dict.fromkeys(("enum", "examples"), lambda value, depth: value or None if isinstance(value, list) else None),
    **dict.fromkeys(("pattern", "format", "$ref"), lambda value, depth: value if isinstance(value, str) else None),
    "multipleOf": lambda value, depth: abs(_number(value, depth) or 0) or None,
    "required": lambda value, depth: [n for n in value if isinstance(n, str)] if isinstance(value, list) else None,
    "type": _types,
    "uniqueItems": lambda value, depth: value is True or None,
}
