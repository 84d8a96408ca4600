"""Filling {names} into requests.

A template is compiled once to what stays and what is filled in; see `perflib.suite.placeholders` for how it is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

from perflib.suite.placeholders import PLACEHOLDER, RAW, value_name, variables_in

__all__ = [
    "Row",
    "Text",
    "UnfilledError",
    "encoded_template",
    "json_template",
    "text_template",
    "value_template",
    "variables_in",
]

Row = Mapping[str, Any]
Convert = Callable[[Any], str]
Text = Callable[[Row], str]
Piece = str | tuple[str, Convert]  # what stays, or a name with what its value becomes


class UnfilledError(Exception):
    """A request that cannot be built: nothing fills one of its names, or what does cannot be written."""


def as_text(value: Any) -> str:
    """A value in a text: a string as it is, all else as JSON writes it, as true, null or {"a":1}."""
    if type(value) is str:
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def text_template(
    text: str, escape: Callable[[str], str] | None = None, *, raw: Callable[[str], str] | None = None
) -> Callable[[Row], str]:
    """text_template("/items/{id}")({"id": 7}) == "/items/7".

    escape   encodes what is filled in
    raw      the same for {name|raw}
    """
    return joined(text_pieces(text, escape, raw))


def encoded_template(text: str, escape: Callable[[str], str]) -> Text:
    """`text_template` in which what stays is encoded as well."""
    return joined([escape(piece) if isinstance(piece, str) else piece for piece in text_pieces(text, escape, str)])


def text_pieces(
    text: str, escape: Callable[[str], str] | None = None, raw: Callable[[str], str] | None = None
) -> list[Piece]:
    """The pieces of a text template, for `joined`."""
    pieces: list[Piece] = []
    at = 0
    for match in PLACEHOLDER.finditer(text):
        pieces.append(text[at : match.start()])
        if match[1] is not None:
            pieces.append(match[0][1:-1])
        else:
            encode = raw if match[2].endswith(f"|{RAW}") else escape
            pieces.append((value_name(match[2]), as_text if encode is None else _encoding(encode)))
        at = match.end()
    pieces.append(text[at:])
    return pieces


def _encoding(escape: Callable[[str], str]) -> Convert:
    return lambda value: escape(value if type(value) is str else as_text(value))


def joined(pieces: list[Piece]) -> Callable[[Row], str]:
    """What fills the pieces and joins them. This is the hot path of a request with variables."""
    holes = [piece for piece in pieces if not isinstance(piece, str)]
    stays = [piece if isinstance(piece, str) else "" for piece in pieces]
    if not holes:
        whole = "".join(stays)
        return lambda row: whole
    if len(holes) == 1:
        at = next(number for number, piece in enumerate(pieces) if not isinstance(piece, str))
        before, after, (name, convert) = "".join(stays[:at]), "".join(stays[at:]), holes[0]
        return lambda row: f"{before}{convert(row[name])}{after}"
    form = "".join(piece.replace("%", "%%") if isinstance(piece, str) else "%s" for piece in pieces)
    return lambda row: form % tuple([convert(row[name]) for name, convert in holes])


def value_template(value: Any) -> Callable[[Row], Any]:
    """The same for any JSON value; a string that is one placeholder keeps the type of what fills it."""
    if isinstance(value, str):
        name = _whole(value)
        return text_template(value) if name is None else lambda row: row[name]
    if isinstance(value, Mapping):
        items = [(value_template(k), value_template(v)) for k, v in value.items()]
        return lambda row: {key(row): item(row) for key, item in items}
    if isinstance(value, list | tuple):
        entries = [value_template(v) for v in value]
        return lambda row: [entry(row) for entry in entries]
    return lambda row: value


def json_template(value: Any) -> Callable[[Row], str]:
    """`value_template` as JSON text, several times as fast as writing what that returns."""
    return joined(_json_pieces(value))


def _json_pieces(value: Any) -> list[Piece]:
    if isinstance(value, str):
        name = _whole(value)
        return _json_string(value) if name is None else [(name, _as_json)]
    if isinstance(value, Mapping):
        entries = [[*_json_string(str(k)), ":", *_json_pieces(v)] for k, v in value.items()]
        return ["{", *_separated(entries), "}"]
    if isinstance(value, list | tuple):
        return ["[", *_separated([_json_pieces(v) for v in value]), "]"]
    return [_as_json(value)]


def _json_string(text: str) -> list[Piece]:
    def inside(value: str) -> str:
        return encode_basestring_ascii(value)[1:-1]

    pieces = text_pieces(text, inside, inside)
    return ['"', *(inside(piece) if isinstance(piece, str) else piece for piece in pieces), '"']


def _separated(entries: list[list[Piece]]) -> list[Piece]:
    return [piece for number, entry in enumerate(entries) for piece in ([",", *entry] if number else entry)]


def _as_json(value: Any) -> str:
    if type(value) is str:
        return encode_basestring_ascii(value)
    return json.dumps(value, separators=(",", ":"))


def _whole(text: str) -> str | None:
    """The name, where the text is one placeholder and nothing else."""
    match = PLACEHOLDER.fullmatch(text)
    return value_name(match[2]) if match and match[2] else None
