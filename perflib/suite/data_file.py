"""Data files, whose rows fill requests: CSV or TSV with a header, JSON lines, or a JSON array of objects.

    file = read_data_file("users.csv", suite.folder, "operation 'login'")
    file.columns["user"][7]     # of row 7

The values are kept by column, since a dictionary for each row would cost several times their memory.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from perflib.errors import SuiteError

SEPARATORS: Final = ",;\t|"
JSON_SUFFIXES: Final = (".json", ".jsonl", ".ndjson")
LONGEST_FIELD: Final = 2**31 - 1  # characters; the csv module has a limit, and Windows none that is higher
_ROWS_AT_ONCE: Final = 4096
_MISSING: Final = object()
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class DataFile:
    """The rows of a data file, by column.

    name    as the suite writes it
    count   number of rows, at least 1
    holes   the columns that some row lacks, and where the first such row is: {"password": "line 25"}
    """

    name: str
    count: int
    columns: Mapping[str, list[Any]]
    holes: Mapping[str, str]

    def require(self, names: Iterable[str], where: str) -> None:
        """Raise SuiteError where a row lacks one of these columns."""
        for name in sorted(set(names) & self.holes.keys()):
            raise SuiteError(
                f"{self.name}, {self.holes[name]} has no {name!r}, which the operation needs",
                where=where,
                mend="add it to this row, or take the row out",
            )


class _UnreadableError(Exception):
    """What is wrong with a file, with the line, and how to mend it."""

    def __init__(self, what: str, mend: str) -> None:
        self.what, self.mend = what, mend


def read_data_file(name: str, folder: str, where: str) -> DataFile:
    """A data file, relative to the suite's folder. CSV fields are texts; JSON values keep their types.

    Raises SuiteError with the line for what cannot be read. A JSON row may lack a column; see `DataFile.require`.
    """
    try:
        suffix = Path(name).suffix.lower()
        if suffix not in (".csv", ".tsv", *JSON_SUFFIXES):
            raise _UnreadableError(f": unknown kind {suffix!r}", "name it .csv, .tsv, .jsonl or .json")
        text = _text(Path(folder) / name)
        count, columns, holes = _json(text) if suffix in JSON_SUFFIXES else _csv(text, suffix)
    except OSError as error:
        what = f"cannot read data file {name}: {error.strerror or error}"
        raise SuiteError(what, where=where, mend="its path is relative to the suite") from None
    except _UnreadableError as problem:
        raise SuiteError(f"data file {name}{problem.what}", where=where, mend=problem.mend) from None
    return DataFile(name, count, columns, holes)


def _text(path: Path) -> str:
    """The text of a file in UTF-8, without a byte order mark. Raises OSError, _UnreadableError."""
    data = path.read_bytes()
    if data.startswith(_UTF_16) or b"\0" in data[:1000]:
        raise _UnreadableError(" is UTF-16", f'save it as UTF-8, as "iconv -f UTF-16 -t UTF-8 {path.name}" does')
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        mend = f'save it as UTF-8, as "iconv -f LATIN1 -t UTF-8 {path.name}" does'
        raise _UnreadableError(f", line {line} is not UTF-8", mend) from None


def _csv(text: str, suffix: str) -> tuple[int, dict[str, list[str]], dict[str, str]]:
    if not text.strip():
        raise _UnreadableError(" is empty", "give it a header and at least one row")
    rows = _csv_rows(text, "\t" if suffix == ".tsv" else _separator(text))
    _, header = next(rows)
    names = [name.strip() for name in header]
    for name in names:
        if name and names.count(name) > 1:
            raise _UnreadableError(f" has two columns {name!r}", "rename one of them in its header")
    values: list[list[str]] = [[] for _ in names]
    pending: list[list[str]] = []
    for line, row in rows:
        if len(row) != len(names):
            what = f", line {line} has {len(row)} field{'s' * (len(row) != 1)}, but the header has {len(names)}"
            raise _UnreadableError(what, "quote a field that holds the separator, and give each row all fields")
        pending.append(row)
        if len(pending) == _ROWS_AT_ONCE:
            _add(pending, values)
    _add(pending, values)
    if not values[0]:
        raise _UnreadableError(" has no rows, only a header", "give it at least one row")
    return len(values[0]), {name: column for name, column in zip(names, values, strict=True) if name}, {}


def _add(rows: list[list[str]], columns: list[list[str]]) -> None:
    for column, more in zip(columns, zip(*rows, strict=True), strict=False):
        column.extend(more)
    rows.clear()


def _csv_rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows with the number of the line on which each begins. Blank lines are none."""
    spaced = separator + " " in text.partition("\n")[0]  # blanks behind the separators of the header are a style
    limit = csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=spaced, strict=True)
    begins, width = 1, 0
    try:
        for row in reader:
            width = width or len(row)
            if row and not (len(row) == 1 < width and not row[0].strip()):
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        mend = 'double a quotation mark inside a quoted field: "say ""hi"""'
        raise _UnreadableError(f", line {begins} is no CSV: {error}", mend) from None
    finally:
        csv.field_size_limit(limit)


def _separator(text: str) -> str:
    """The separator that the header has most of; a comma where it has none."""
    header = text.lstrip("\r\n").partition("\n")[0]
    return max(SEPARATORS, key=header.count)


def _json(text: str) -> tuple[int, dict[str, list[Any]], dict[str, str]]:
    columns: dict[str, list[Any]] = {}
    holes: dict[str, str] = {}
    count, first = 0, ""
    for place, row in _json_array(text) if text.lstrip().startswith("[") else _json_lines(text):
        if not isinstance(row, dict):
            raise _UnreadableError(f", {place} is no JSON object", 'write each row like {"user": "anna"}')
        first = first or place
        for name in [name for name in row if name not in columns]:
            columns[name] = [_MISSING] * count
            if count:
                holes[name] = first
        for name, column in columns.items():
            value = row.get(name, _MISSING)
            if value is _MISSING:
                holes.setdefault(name, place)
            column.append(value)
        count += 1
    if not count:
        raise _UnreadableError(" is empty", "give it at least one row")
    return count, columns, holes


def _json_lines(text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number}", _parsed(line, f", line {number}")


def _json_array(text: str) -> Iterator[tuple[str, Any]]:
    return ((f"row {number}", row) for number, row in enumerate(_parsed(text, ""), 1))


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        at = place or f", line {error.lineno}"
        raise _UnreadableError(f"{at} is not JSON: {error.msg}", "give one object a line, or one array") from None
    except (ValueError, RecursionError) as error:
        raise _UnreadableError(f"{place} is not JSON: {error}", "give one object a line, or one array") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
