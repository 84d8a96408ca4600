"""What a suite is made from: the words of the command line, and the file that they name, read within bounds.

The files of others may be hostile: their size, depth and number of values are bounded, so that a YAML file whose
aliases multiply, or refer to themselves, is refused instead of filling the memory.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from perflib.errors import SuiteError
from perflib.sources.draft import plain

LARGEST_BYTES: Final = 256 * 2**20
_LARGEST_YAML_BYTES: Final = 32 * 2**20  # a YAML file is parsed at about 1 MB/s
_MOST_VALUES: Final = 4_000_000
_DEEPEST: Final = 200


@dataclass(frozen=True)
class Given:
    """What `perflib init` is given.

    words        SOURCE, as a file, a URL, a command or module:function
    out          the file of the suite
    everything   write requests that change something too, instead of as comments
    url          the server to load, instead of the one that the description names
    headers      headers for a server that describes itself, by name
    timeout_s    how long such a server may take
    """

    words: Sequence[str]
    out: Path
    everything: bool = False
    url: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0

    @property
    def name(self) -> str:
        """The file's name, or all the words."""
        return Path(self.words[0]).name if len(self.words) == 1 else " ".join(self.words)

    @property
    def is_file(self) -> bool:
        return len(self.words) == 1 and Path(self.words[0]).is_file()

    @functools.cached_property
    def text(self) -> str:
        """The file's text. Raises SuiteError."""
        path = Path(self.words[0])
        try:
            if path.stat().st_size > LARGEST_BYTES:
                what = f"a file of more than {LARGEST_BYTES // 2**20} MB"
                raise SuiteError(what, where=self.name, mend="give a part of it")
            return plain(path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n"))
        except OSError as error:
            what, mend = f"cannot be read: {error.strerror}", "check the path and its permissions"
            raise SuiteError(what, where=self.words[0], mend=mend) from None

    @functools.cached_property
    def json(self) -> Any:
        """The file's JSON value, or None if it is no JSON. Raises SuiteError for JSON that is too deep or broken."""
        if self.text.lstrip()[:1] not in ("{", "["):
            return None
        try:
            value = json.loads(self.text)
        except ValueError as error:
            if Path(self.words[0]).suffix.lower() in (".json", ".har"):
                what, mend = f"not valid JSON: {error}", "correct it there, or export it again"
                raise SuiteError(what, where=self.name, mend=mend) from None
            return None
        except RecursionError:
            raise _too_deep(self.name) from None
        return bounded(value, self.name)

    @functools.cached_property
    def data(self) -> Any:
        """The file's JSON or YAML value; None if it is neither. Raises SuiteError for what is too large or broken."""
        if self.json is not None:
            return self.json
        is_yaml = Path(self.words[0]).suffix.lower() in (".yaml", ".yml")
        if not (is_yaml or self.text.lstrip().startswith(("openapi", "swagger", "---", '"openapi', "{"))):
            return None
        if len(self.text) > _LARGEST_YAML_BYTES:
            what = f"YAML of more than {_LARGEST_YAML_BYTES // 2**20} MB"
            raise SuiteError(what, where=self.name, mend="convert it to JSON, or give a part of it")
        try:
            value = yaml.load(self.text, Loader=_Loader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            what = f"not valid YAML: {getattr(error, 'problem', None) or 'it cannot be parsed'}"
            raise SuiteError(what, where=f"{self.name}{line}", mend="correct it there") from None
        except (RecursionError, ValueError, OverflowError) as error:  # as a number with thousands of digits
            what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise SuiteError(what, where=self.name, mend="correct it there") from None
        return bounded(value, self.name)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as JSON would have it: dates stay texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def bounded(value: Any, where: str) -> Any:
    """The value as plain JSON, with keys that are texts. Raises SuiteError if it is too large or too deep."""
    size, depth = _measured(value, {})
    if size > _MOST_VALUES:
        what, mend = f"more than {_MOST_VALUES:,} values", "give a part of it; in YAML, check what aliases refer to"
        raise SuiteError(what, where=where, mend=mend)
    if depth > _DEEPEST:
        raise _too_deep(where)
    return _copied(value)


def _measured(part: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values there are, and how deep they go. A part that occurs often is looked at once."""
    if not isinstance(part, dict | list):
        return 1, 0
    if id(part) not in known:
        known[id(part)] = (0, _DEEPEST + 1)  # while its own parts are looked at: what refers to itself is too deep
        inside = [_measured(inner, known) for inner in (part.values() if isinstance(part, dict) else part)]
        known[id(part)] = 1 + sum(size for size, _ in inside), 1 + max((depth for _, depth in inside), default=0)
    return known[id(part)]


def _copied(part: Any) -> Any:
    if isinstance(part, dict):
        return {plain(_key(key)): _copied(inner) for key, inner in part.items()}
    if isinstance(part, list):
        return [_copied(inner) for inner in part]
    if isinstance(part, str):
        return plain(part)
    return part if part is None or isinstance(part, bool | int | float) else plain(str(part))


def _key(key: Any) -> str:
    return {True: "true", False: "false", None: "null"}.get(key, str(key)) if not isinstance(key, str) else key


def _too_deep(where: str) -> SuiteError:
    return SuiteError(f"nested more than {_DEEPEST} levels deep", where=where, mend="check what refers to itself")


def table(value: Any) -> dict[str, Any]:
    """The value, or an empty table if it is none."""
    return value if isinstance(value, dict) else {}


def tables(value: Any) -> list[dict[str, Any]]:
    """The tables in a list; empty if it is none."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """The value if it is a text, else ""."""
    return value if isinstance(value, str) else ""


def whole_number(value: Any) -> int:
    """The value if it is a whole number, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
