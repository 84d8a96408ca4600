"""A suite as plain data without its secrets, as a run stores it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from perflib.suite.family import Family
from perflib.suite.model import Suite
from perflib.suite.objectives import ErrorBurst, Objective
from perflib.suite.redaction import (
    REDACTED,
    follows_secret_flag,
    learn,
    names_secret,
    names_secrets,
    without_credentials,
    without_known,
)


def redacted(suite: Suite) -> dict[str, Any]:
    """The suite as plain data without its secrets; `file.from_plain` reads it back."""
    learn(suite)
    return _table(suite)


def _table(part: Any) -> dict[str, Any]:
    """An instance of one of the suite's classes as a table: its tag, and all fields that differ from their default."""
    hidden = getattr(part, "HIDDEN", ())
    tag = type(part).TAG if isinstance(part, Family) else None
    table = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.name not in hidden and (field.name == tag or value != _default(field)):
            # The values of `keep` are paths in answers, whatever their names.
            table[field.name] = dict(value) if field.name == "keep" else _plain(value)
    return table


def _default(field: dataclasses.Field[Any]) -> Any:
    """A field's default, or an object that equals no value if it has none."""
    default = field.default
    if isinstance(default, FieldInfo):  # pydantic stores its own description of the field here
        return default.get_default(call_default_factory=True, validated_data={})
    if default is not dataclasses.MISSING:
        return default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else PydanticUndefined


def _plain(value: Any) -> Any:
    if isinstance(value, Objective | ErrorBurst):
        return value.text
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _table(value)
    if isinstance(value, Mapping):
        return {key: _hidden(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [REDACTED if follows_secret_flag(value, i) else _plain(inner) for i, inner in enumerate(value)]
    if callable(value):
        return f"{getattr(value, '__module__', '?')}:{getattr(value, '__qualname__', repr(value))}"
    return without_credentials(without_known(value)) if isinstance(value, str) else value


def _hidden(key: Any, value: Any) -> Any:
    """The value, replaced if the key says that it is a secret."""
    if isinstance(value, Mapping) and names_secrets(key):
        return {name: _hidden(key, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple) and any(names_secret(key, inner) for inner in value):
        return [_hidden(key, inner) for inner in value]
    return REDACTED if names_secret(key, value) else _plain(value)
