"""The redaction: every text that is stored or printed goes through here, and loses its secrets.

By value: `learn` notes the secrets of a suite, of an option or of the environment, and from then on `struck_out` and
`without_known` find them wherever they stand, as they are or encoded (for a URL, as JSON, in base64). By name:
`struck_out` also removes what stands where secrets usually do, as behind "Authorization:" or "api_key=".

    learn({"headers": {"Authorization": "Bearer s3cr3t-value"}})
    struck_out("who is s3cr3t-value? password=abc")    # "who is •••? password=•••"

A value of fewer than six characters (four if a name says that it is a secret) is not looked for elsewhere, and one that
is part of a name in the suite, like that of a scenario, is no secret.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import functools
import html
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TextIO
from urllib.parse import quote, quote_plus, unquote

from perflib.suite.environment import READ, VARIABLE
from perflib.suite.placeholders import variables_in

REDACTED: Final = "•••"
_NAME: Final = (
    r"(?:auth(?!ors?\b|entic|orit)|token|secret|passw|passphrase|passcode|cookie|credential|api[-_]?key|access[-_]?key"
    r"|private[-_]?key|session|csrf|xsrf|signature)"
)
_SECRET: Final = re.compile(rf"{_NAME}|(?:^|[-_.])(?:key|sig|pwd|pin|jwt|otp|dsn)$", re.IGNORECASE)
_WHOLE_TABLE: Final = re.compile(r"^(?:authorization|secrets?|credentials?|cookies?|passwords?|tokens?)$", re.I)
_USERINFO: Final = re.compile(r"(?<=://)[^/\s?#\"'<>]*@")  # a password may hold an @ itself
_QUERY: Final = re.compile(
    r"([?&][^=&\s]*(?:token|secret|passw|auth(?!or)|credential|signature|session|security|key)[^=&\s]*="
    r"|[?&](?:[^=&\s]*[-_.])?(?:sig|code|jwt|otp|pin|pwd|ticket|assertion|sid|hmac)=)[^&\s\"'<>]+",
    re.IGNORECASE,
)
_ABOUT: Final = re.compile(r"[-_](?:url|uri|path|file|type|name|header|format)$", re.IGNORECASE)  # as `token_url`
_REFERENCE: Final = re.compile(r"(?:[A-Za-z]+ )?\$?\{\w+\}|\$\.\S*")  # the last is a path in an answer
_WRITTEN: Final = tuple(  # where secrets stand in texts; the first group stays, the second is the secret
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        # a header; but no message such as "SessionError: …", and no reference to a variable
        rf"^([\w-]{{0,60}}{_NAME}[\w-]{{0,60}}(?<!Error)(?<!Exception):[ \t]*(?:(?:Bearer|Basic)[ \t]+)?)(?!\$\{{)"
        r"([^\r\n]+)",
        rf"""({_NAME}[^"'\s]{{0,60}}["']\s{{0,9}}[:=]\s{{0,9}}["'])(?!\$\{{)((?:[^"'\\]|\\.)+)""",  # JSON
        rf"""({_NAME}[\w.-]{{0,60}}\s{{0,9}}=\s{{0,9}}["'])(?!\$\{{)((?:[^"'\\]|\\.)+)""",  # TOML, Python
        rf"""({_NAME}[\w.-]{{0,60}}=)(?!\$\{{)([^\s&;,"'<>]+)""",  # a form, a query, a cookie, an option
        rf"""(--[\w-]{{0,40}}{_NAME}[\w-]{{0,20}} )(?!\$\{{|--)([^\s"'<>]+)""",  # an option with its value behind it
        rf"""(name=["']?[^"'\s>]{{0,60}}{_NAME}[^>]{{0,200}}?value=["']?)([^"'\s>]+)""",  # a field of an HTML form
        r"((?:Bearer|Basic)[ \t]+)([A-Za-z0-9._~+/=-]{8,})",
        r"()(\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*)",  # a JSON Web Token
    )
)
_HINTS: Final = (
    *("auth", "token", "secret", "passw", "passphrase", "passcode", "cookie", "credential", "key", "session", "csrf"),
    *("xsrf", "signature", "bearer", "basic", "eyj"),
)  # the words of _WRITTEN
_SECRET_VARIABLE: Final = re.compile(rf"{_NAME}|key|passphrase|pwd", re.IGNORECASE)
_OF_ENVIRONMENT: Final = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|API_?KEY|(?:^|_)KEY(?:_|$)", re.IGNORECASE)
_SCHEME: Final = re.compile(r"^(?:Bearer|Basic|Token|Digest|ApiKey|Key)\s+", re.IGNORECASE)
SMALLEST_NUMBER: Final = 1000  # a smaller one is no secret, whatever its name
_ESCAPED: Final = re.compile(r"[\"'\\]|[^\x20-\x7e]")
_SHORTEST: Final = 4  # characters of a secret that is looked for wherever it stands
_SHORTEST_UNNAMED: Final = 6  # the same, where no name says that it is a secret
_SHORTEST_OF_ENVIRONMENT: Final = 8
_NO_SECRETS: Final = frozenset((
    *("true", "false", "null", "none", "own", "shared", "required", "optional", "enabled", "disabled", "default"),
    *("anonymous", "string", "bearer", "basic", "token", "session", "header", "cookie", "query", "password", "secret"),
    *("localhost", "127.0.0.1"),
))  # fmt: skip

_CHOICES: Final = ("own", "shared", "none", "true", "false", "null")  # values of keys like `session`

_learned: set[str] = set()  # the secrets that this process knows, in all the forms in which they may be written
_names: set[str] = set()  # names of suites, scenarios, operations and targets, which are written as they are


# Learning secrets.


def learn(part: Any) -> None:
    """Note the secrets of a suite, of its tables as read from a file, or of anything in it.

    They are the value of every ${NAME}, what stands under a name like "password", and what looks like a secret.
    """
    for value, is_named in _secrets_of(part, False):
        _note(value, _SHORTEST if is_named else _SHORTEST_UNNAMED)


def learn_secret(*values: str) -> None:
    """Note values that are secrets whatever their names."""
    for value in values:
        _note(value, _SHORTEST)


def learn_setting(text: str) -> None:
    """Note the secrets of a `--set` option, KEY=VALUE, whose value may be a table."""
    key, _, value = text.partition("=")
    try:
        import tomllib  # late, since `perflib --help` needs none of it

        given = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        given = value
    learn({key.strip().rpartition(".")[2].strip("\"' "): given})


def learn_environment() -> None:
    """Note the environment's variables whose names say that they are secrets, like AWS_SECRET_ACCESS_KEY."""
    for name, value in os.environ.items():
        if _OF_ENVIRONMENT.search(name):
            _note(value, _SHORTEST_OF_ENVIRONMENT)


def forget() -> None:
    """Forget all secrets that were learned."""
    _learned.clear()
    _names.clear()
    READ.clear()


def learn_kept(values: Mapping[str, Any], parts: Any) -> None:
    """Note which of the values that a set-up kept are secrets: by their names, and by where the suite uses them."""
    used = _secret_names(parts)
    learn_secret(
        *(text for name, value in values.items() if name in used or _is_secret(name) for text in _texts(value))
    )


def _texts(value: Any) -> Iterator[str]:
    """All texts and numbers in a JSON value."""
    if isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)
    elif isinstance(value, str) or (isinstance(value, int) and abs(value) >= SMALLEST_NUMBER):
        yield str(value)


def _secret_names(part: Any, *, is_secret: bool = False) -> set[str]:
    """The names in braces that stand for secrets in a suite: those of a header like Authorization, of a password."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        part = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    if isinstance(part, Mapping):
        inner = ((value, is_secret or _is_secret(str(name))) for name, value in part.items() if name != "keep")
        return set().union(*(_secret_names(value, is_secret=named) for value, named in inner))
    if isinstance(part, list | tuple):
        return set().union(*(_secret_names(value, is_secret=is_secret) for value in part))
    return variables_in(part) if is_secret else set()


def known_secrets() -> list[str]:
    """All secrets that this process knows, in all their forms, the longest first."""
    return list(_known(frozenset(_learned), frozenset(READ.items()), frozenset(_names))[0])


def _secrets_of(part: Any, is_secret: bool, key: str = "") -> Iterator[tuple[str, bool]]:
    """The secrets in a value, each with whether a name says that it is one."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        part = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    if isinstance(part, Mapping):
        if key == "targets":
            _names.update(map(str, part))
        for name, value in part.items():
            if name == "name" and isinstance(value, str):
                _names.add(value)
            if name != "keep":  # its values are paths in answers
                is_table = isinstance(value, Mapping) or dataclasses.is_dataclass(value)
                named = names_secrets(name) if is_table else _is_secret(str(name))
                yield from _secrets_of(value, is_secret or named, str(name))
    elif isinstance(part, list | tuple):
        for i, value in enumerate(part):
            yield from _secrets_of(value, is_secret or follows_secret_flag(part, i))
    elif isinstance(part, str):
        yield from _secrets_in_text(part, is_secret)
    elif isinstance(part, int) and not isinstance(part, bool) and is_secret and abs(part) >= SMALLEST_NUMBER:
        yield str(part), True


def _secrets_in_text(text: str, is_secret: bool) -> Iterator[tuple[str, bool]]:
    for match in VARIABLE.finditer(text):
        if value := os.environ.get(match[1]):
            yield value, bool(_SECRET_VARIABLE.search(match[1]))
    if is_secret and not _REFERENCE.fullmatch(text):
        yield text, True
    for pattern in _WRITTEN if _may_have_secrets(text) else ():
        yield from ((match[2], True) for match in pattern.finditer(text))
    for match in _QUERY.finditer(text):
        yield match[0][len(match[1]) :], True
    for match in _USERINFO.finditer(text):
        yield match[0][:-1].partition(":")[2], True
    flag, _, value = text.partition("=")
    if flag.startswith("-") and _is_secret(flag) and value and not _REFERENCE.fullmatch(value):
        yield value, True


def _note(value: str, shortest: int) -> None:
    for part in _parts(value):
        if len(part) >= shortest and part.lower() not in _NO_SECRETS and REDACTED not in part:
            _learned.update(_forms(part))


def _parts(value: str) -> set[str]:
    """A secret and what of it is one by itself: without its scheme, its password, values of cookies, lines."""
    bare = _SCHEME.sub("", value.strip())
    parts = {value, value.strip(), bare, unquote(bare)}
    parts |= {line.strip() for line in value.splitlines() if len(line) >= _SHORTEST_OF_ENVIRONMENT}
    if bare != value.strip():
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            plain = base64.b64decode(bare, validate=True).decode()
            parts |= {plain, plain.partition(":")[2]}
    if _ESCAPED.search(value) and "://" not in value:  # texts within texts escape it in more ways than `_forms` has
        parts |= set(re.findall(r"[\w.~-]{8,}", value, re.ASCII))
    return parts | set(re.findall(r"=\s*\"?([^;,\s\"=]{8,})", value))


def _forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, in a URL, in JSON, in HTML, in base64 by itself or within more."""
    encoded = secret.encode("utf-8", "surrogatepass")
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    with contextlib.suppress(UnicodeEncodeError):
        forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
        forms |= {quote(secret, safe="/:?#[]@!$&'()*+,;=%~")}
    if len(encoded) >= _SHORTEST_OF_ENVIRONMENT:
        for before in range(3):  # where it begins within three bytes
            text = base64.b64encode(b"\0" * before + encoded).decode().rstrip("=")
            inner = text[(before * 8 + 5) // 6 : len(text) - (1 if (len(encoded) + before) % 3 else 0)]
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms


# Striking secrets out.


def struck_out(text: str, secrets: Collection[str] = ()) -> str:
    """A text without the secrets that are known, without these further ones, and without all that looks like one."""
    text = without_known(text)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    for pattern in _WRITTEN if _may_have_secrets(text) else ():
        text = pattern.sub(lambda match: match[0] if match[2] in _CHOICES else f"{match[1]}{REDACTED}", text)
    return without_credentials(text)


def without_known(text: str) -> str:
    """A text without the secrets that are known by their value."""
    strong, weak = _known(frozenset(_learned), frozenset(READ.items()), frozenset(_names))
    for secret in strong:
        if secret in text:
            text = weak[secret].sub(REDACTED, text) if secret in weak else text.replace(secret, REDACTED)
    return text


def all_without_known(value: Any) -> Any:
    """The same for all texts in a JSON value, keys among them."""
    if isinstance(value, str):
        return without_known(value)
    if isinstance(value, dict):
        return {without_known(key) if isinstance(key, str) else key: all_without_known(v) for key, v in value.items()}
    return [all_without_known(inner) for inner in value] if isinstance(value, list) else value


def redact_text(text: str) -> str:
    """A `--set` option or a URL without its secrets."""
    learn_setting(text)
    key, separator, value = text.partition("=")
    if separator and _is_secret(key) and value.strip("\"' ") not in _NO_SECRETS:
        return f"{key}={REDACTED}"
    return struck_out(text)


def secrets_in(request: str, known: Mapping[str, Any]) -> set[str]:
    """The secrets of a request: in its text, and among values by their names."""
    patterns = _WRITTEN if _may_have_secrets(request) else ()
    found = {match[2] for pattern in patterns for match in pattern.finditer(request)}
    found |= {str(value) for name, value in known.items() if _SECRET_VARIABLE.search(str(name))}
    return {secret for secret in found if len(secret) >= _SHORTEST}


class StruckOut:
    """A stream of text whose known secrets are struck out; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, without characters that the stream cannot encode."""
        plain = without_known(text)
        try:
            self._stream.write(plain)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(plain.encode(encoding, "replace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@functools.lru_cache(maxsize=4)
def _known(
    learned: frozenset[str], read: frozenset[tuple[str, str]], names: frozenset[str]
) -> tuple[tuple[str, ...], dict[str, re.Pattern[str]]]:
    """All known secrets, the longest first; and patterns of those that are looked for as whole words only."""
    secrets = set(learned)
    for name, value in read:
        shortest = _SHORTEST if _SECRET_VARIABLE.search(name) else _SHORTEST_UNNAMED
        if len(value) >= shortest and value.lower() not in _NO_SECRETS:
            secrets |= _forms(value)
    secrets = {secret for secret in secrets if secret and not any(secret in name for name in names)}
    weak = {
        secret: re.compile(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])")
        for secret in secrets
        if secret.isalnum() and len(secret) < _SHORTEST_OF_ENVIRONMENT
    }
    return tuple(sorted(secrets, key=lambda secret: (-len(secret), secret))), weak


def _is_secret(name: str) -> bool:
    """Whether a name says that what it names is a secret."""
    return bool(_SECRET.search(name)) and not _ABOUT.search(name)


def _may_have_secrets(text: str) -> bool:
    """Whether one of the words occurs without which none of the patterns matches. Ten times as fast as the patterns."""
    lower = text.lower()
    return any(hint in lower for hint in _HINTS)


def without_credentials(text: str) -> str:
    """A text whose URLs have neither a user nor secrets in their queries."""
    return _QUERY.sub(rf"\g<1>{REDACTED}", _USERINFO.sub(f"{REDACTED}@", text))


def follows_secret_flag(values: Any, at: int) -> bool:
    """Whether the value follows an option such as `--token`."""
    flag = values[at - 1] if at else ""
    return (
        isinstance(flag, str)
        and flag.startswith("-")
        and "=" not in flag
        and _is_secret(flag)
        and not _REFERENCE.fullmatch(str(values[at]))
    )


def names_secret(key: Any, value: Any) -> bool:
    """Whether a key says that its value is a secret, and the value is not just ${NAME}."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) >= SMALLEST_NUMBER and _is_secret(str(key))
    return isinstance(value, str) and _is_secret(str(key)) and not _REFERENCE.fullmatch(value)


def words_without_secrets() -> frozenset[str]:
    """Words that are no secrets, whatever their names, like "true" and "default"."""
    return _NO_SECRETS


def names_secrets(key: Any) -> bool:
    """Whether a key, like "credentials", says that all of its table are secrets."""
    return bool(_WHOLE_TABLE.search(str(key)))
