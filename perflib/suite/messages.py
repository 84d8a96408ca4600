"""Pydantic's first error as one line: file, key, what is wrong, and how to fix it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from perflib.errors import SuiteError
from perflib.suite.family import OTHER, Family, keys_of

C = TypeVar("C", bound=type)
TABLES: Final[dict[str, type]] = {}  # the class behind each key that holds a table; `in_one_line` adds to it
_UNKNOWN: Final = ("unexpected_keyword_argument", "extra_forbidden")
_MISSING: Final = ("missing", "missing_argument")
_SCALARS: Final = (
    "str",
    "int",
    "float",
    "callable",
    "dict",
)  # what pydantic adds to the place of an `A | B`


@dataclass
class _Place:
    """The place of an error: the keys that lead to it, and the class of the table that contains the last key."""

    keys: list[str | int]
    table: type
    family: type[Family] | None = None  # set if the tag is wrong
    tag: str = ""

    def __str__(self) -> str:
        return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.keys).lstrip(".")


def in_one_line(*keys: str) -> Callable[[C], C]:
    """Make the constructor of a class raise SuiteError, as reading a file does. `keys`: the keys of its table."""

    def decorated(cls: C) -> C:
        TABLES.update(dict.fromkeys(keys, cls))
        construct = cls.__init__  # type: ignore[misc]
        label = next((base.__name__ for base in cls.__mro__ if "MEMBERS" in vars(base)), cls.__name__)

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                construct(self, *args, **kwargs)
            except ValidationError as error:
                raise one_line(error, label, cls) from None
            finally:
                cls.__init__ = __init__  # type: ignore[misc]  # pydantic builds a class on first use, with its own

        __init__.__doc__, __init__.__wrapped__ = construct.__doc__, construct  # type: ignore[attr-defined]
        cls.__init__ = __init__  # type: ignore[misc]
        return cls

    return decorated


def one_line(error: ValidationError, where: str, outermost: type) -> SuiteError:
    """The first error as a SuiteError. `outermost`: the class that was to be created."""
    first = _first(error)
    place = _place(first["loc"], outermost)
    at = f"{where}: {place}" if place.keys else where
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, SuiteError):
        return SuiteError(inner.what, where=f"{at}: {inner.where}" if inner.where else at, mend=inner.mend)
    if first["type"] in _MISSING:
        return _missing(str(first["loc"][-1]), at, place)
    if place.family is not None:
        value = first.get("input")
        if not isinstance(value, Mapping):
            return SuiteError("must be a table", where=at, mend=f"found {_short(value)}")
        return place.family.wrong_tag(place.family.tag_of(value), where=at)
    if first["type"] in _UNKNOWN:
        return _unknown(str(first["loc"][-1]), at, place)
    message = first["msg"][0].lower() + first["msg"][1:]
    return SuiteError(
        message.replace("input should be", "must be"), where=at, mend=f"found {_short(first.get('input'))}"
    )


def _first(error: ValidationError) -> Any:
    """The first error. If a key is missing, an unknown key in the same table comes first: it may be mistyped."""
    errors = error.errors()
    if errors[0]["type"] in _MISSING:
        beside = [e for e in errors if e["type"] in _UNKNOWN and e["loc"][:-1] == errors[0]["loc"][:-1]]
        return (beside or errors)[0]
    return errors[0]


def _place(loc: Sequence[str | int], outermost: type) -> _Place:
    """The place as pydantic gives it, without its additions: tags of families, members of unions."""
    rest = list(loc)
    if issubclass(outermost, Family) and outermost.is_base():
        if not rest:
            return _Place([], outermost, outermost)
        outermost = outermost.MEMBERS[str(rest.pop(0))]
    place = _Place([], outermost, tag=_tag_of(outermost))
    while rest:
        key = rest.pop(0)
        place.keys.append(key)
        own: Mapping[str, type] = getattr(place.table, "TABLES", {})
        inner = own.get(str(key), TABLES.get(str(key))) if key in keys_of(place.table) else None
        if inner is None:
            place.keys += [key for key in rest if isinstance(key, int) or not _is_addition(key)]
            return place
        if rest and (isinstance(rest[0], int) or key == "targets"):
            place.keys.append(rest.pop(0))
        if not issubclass(inner, Family):
            if rest:
                place.table, place.tag = inner, ""
        elif rest:
            place.tag = str(rest.pop(0))
            place.table = inner.MEMBERS[place.tag]
        else:
            place.family = inner
    return place


def _is_addition(key: str) -> bool:
    return key in _SCALARS or "[" in key or key.startswith("constrained-")


def _tag_of(cls: type) -> str:
    """The tag of a member of a family."""
    if not issubclass(cls, Family):
        return ""
    return next(tag for tag, member in cls.MEMBERS.items() if member is cls)


def _unknown(key: str, at: str, place: _Place) -> SuiteError:
    """The error for an unknown key, which may belong to another member of the same family."""
    known = _keys(place)
    if issubclass(place.table, Family):
        others = [tag for tag, member in place.table.MEMBERS.items() if tag and key in keys_of(member)]
        if others:
            owners = ", ".join("a kind of your own" if tag == OTHER else tag for tag in others)
            mend = f"it is for {owners}; {_called(place, place.table.PLAIN)} takes {', '.join(known)}"
            return SuiteError(f"{_called(place, place.table.NOUN)} does not take {key!r}", where=at, mend=mend)
    close = difflib.get_close_matches(key, known, n=1)
    mend = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
    return SuiteError(f"unknown key {key!r}", where=at, mend=mend)


def _missing(key: str, at: str, place: _Place) -> SuiteError:
    if issubclass(place.table, Family) and place.tag:
        mend = f"{_called(place, place.table.PLAIN)} takes {', '.join(_keys(place))}"
        return SuiteError(f"{_called(place, place.table.NOUN)} needs {key!r}", where=at, mend=mend)
    return SuiteError(f"{key!r} is missing", where=at, mend=f"add {key} = …")


def _called(place: _Place, noun: str) -> str:
    assert issubclass(place.table, Family)
    return place.table.called(place.tag, noun)


def _keys(place: _Place) -> list[str]:
    """The keys of the table; for an operation whose kind is not known yet, the keys of every kind."""
    cls = place.table
    if issubclass(cls, Family) and not place.tag:
        return list(dict.fromkeys(key for member in cls.MEMBERS.values() for key in keys_of(member)))
    tag = cls.TAG if issubclass(cls, Family) else None
    return [key for key in keys_of(cls) if key != tag]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
