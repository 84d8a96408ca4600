"""What a run may store: a suite as plain data without its secrets, and texts of requests and answers without theirs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from perflib.suite.environment import READ
from perflib.suite.family import Family
from perflib.suite.model import Suite
from perflib.suite.objectives import ErrorBurst, Objective

REDACTED: Final = "•••"
_SECRET: Final = re.compile(r"auth|token|secret|passw|cookie|credential|api[-_]?key|session", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY: Final = re.compile(r"([?&][^=&\s]*(?:token|key|secret|passw|auth)[^=&\s]*=)[^&\s]+", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"(?:[A-Za-z]+ )?\$\{\w+\}|\{\w+\}")
_NAME: Final = r"(?:auth(?!ors?\b|entic)|token|secret|passw|cookie|credential|api[-_]?key|session|csrf|signature)"
_WRITTEN: Final = tuple(  # where secrets stand in requests and answers; the first group stays, the second is the secret
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        # a header; but no message such as "SessionError: …"
        rf"^([\w-]{{0,60}}{_NAME}[\w-]{{0,60}}(?<!Error)(?<!Exception):[ \t]*(?:(?:Bearer|Basic)[ \t]+)?)([^\r\n]+)",
        rf"""({_NAME}[^"'\s]{{0,60}}["']\s{{0,9}}:\s{{0,9}}["'])((?:[^"'\\]|\\.)+)""",  # JSON
        rf"""({_NAME}[\w.-]{{0,60}}=)([^\s&;,"'<>]+)""",  # a form, a query, a cookie
        rf"""(name=["']?[^"'\s>]{{0,60}}{_NAME}[^>]{{0,200}}?value=["']?)([^"'\s>]+)""",  # a field of an HTML form
        r"((?:Bearer|Basic)[ \t]+)([A-Za-z0-9._~+/=-]{8,})",
        r"()(\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*)",  # a JSON Web Token
    )
)
_HINTS: Final = (
    *("auth", "token", "secret", "passw", "cookie", "credential", "api_key", "api-key", "apikey", "session", "csrf"),
    *("signature", "bearer", "basic", "eyj"),
)  # the words of _WRITTEN
_SECRET_VARIABLE: Final = re.compile(rf"{_NAME}|key|passphrase|pwd", re.IGNORECASE)
_SHORTEST: Final = 4  # characters of a secret that is looked for wherever it stands


def redacted(suite: Suite) -> dict[str, Any]:
    """The suite as plain data without its secrets; `file.from_plain` reads it back."""
    return _table(suite)


def redact_text(text: str) -> str:
    """A `--set` option or a URL in which everything that looks like a secret is replaced."""
    key, separator, _ = text.partition("=")
    if separator and _SECRET.search(key):
        return f"{key}={REDACTED}"
    return _without_secrets(text)


def secrets_in(request: str, known: Mapping[str, Any]) -> set[str]:
    """The secrets of a request: in its text, among values by their names, and from the environment."""
    patterns = _WRITTEN if _may_have_secrets(request) else ()
    found = {match[2] for pattern in patterns for match in pattern.finditer(request)}
    found |= {str(value) for name, value in {**READ, **known}.items() if _SECRET_VARIABLE.search(str(name))}
    return {secret for secret in found if len(secret) >= _SHORTEST}


def struck_out(text: str, secrets: Collection[str] = ()) -> str:
    """A text of a request, of its answer or of an error without these secrets, and without all that looks like one."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    for pattern in _WRITTEN if _may_have_secrets(text) else ():
        text = pattern.sub(rf"\g<1>{REDACTED}", text)
    return _without_secrets(text)


def _may_have_secrets(text: str) -> bool:
    """Whether one of the words occurs without which none of the patterns matches. Ten times as fast as the patterns."""
    lower = text.lower()
    return any(hint in lower for hint in _HINTS)


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
        return [REDACTED if _follows_secret_flag(value, i) else _plain(inner) for i, inner in enumerate(value)]
    if callable(value):
        return f"{getattr(value, '__module__', '?')}:{getattr(value, '__qualname__', repr(value))}"
    return _without_secrets(value) if isinstance(value, str) else value


def _without_secrets(text: str) -> str:
    return _QUERY.sub(rf"\g<1>{REDACTED}", _USERINFO.sub(f"{REDACTED}@", text))


def _follows_secret_flag(values: Any, at: int) -> bool:
    """Whether the value follows an option such as `--token`."""
    flag = values[at - 1] if at else ""
    return (
        isinstance(flag, str)
        and flag.startswith("-")
        and bool(_SECRET.search(flag))
        and not _REFERENCE.fullmatch(str(values[at]))
    )


def _hidden(key: Any, value: Any) -> Any:
    """The value, replaced if the key looks like that of a secret and the value is not just ${NAME}."""
    if isinstance(value, str) and _SECRET.search(str(key)) and not _REFERENCE.fullmatch(value):
        return REDACTED
    return _plain(value)
