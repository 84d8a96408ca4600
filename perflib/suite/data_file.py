"""Data files, whose rows fill requests: CSV or TSV with a header, JSON lines, a JSON array of objects, or Parquet.

    file = read_data_file("users.csv", suite.folder, "operation 'login'")
    file.columns["user"][7]                 # of row 7
    for user, city in file.rows(["user", "city"]): ...

The values of a small file are kept by column, since a dictionary for each row would cost several times their memory.
A large one is read again and again, row by row, and its columns are empty.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from perflib.errors import SuiteError, TargetError
from perflib.suite.data_formats import (
    UnreadableError,
    csv_rows,
    json_lines,
    json_rows,
    opened,
    parquet_rows,
    parquet_size,
    read_text,
)

START_COLUMN: Final = "start_s"  # of a recording: when the request of the row started; it is the first column
OPERATION_COLUMN: Final = "operation"  # of a recording: the operation that makes the request of the row
HELD_BYTES: Final = 32_000_000  # a larger file is not held in memory
LINES: Final = (".jsonl", ".ndjson")
KINDS: Final = (".csv", ".tsv", ".json", *LINES, ".parquet")
_ROWS_AT_ONCE: Final = 4096
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class DataFile:
    """The rows of a data file, by column.

    name      as the suite writes it
    path      where it is
    count     number of rows, at least 1; 0 for a large file that was not counted
    columns   by name; their values, where they are held
    holes     the columns that some row lacks, and where the first such row is: {"password": "line 25"}
    is_held   whether the values are in memory
    """

    name: str
    path: Path
    count: int
    columns: Mapping[str, list[Any]]
    holes: Mapping[str, str]
    is_held: bool = True

    def require(self, names: Iterable[str], where: str) -> None:
        """Raise SuiteError where a row lacks one of these columns."""
        for name in sorted(set(names) & self.holes.keys()):
            raise SuiteError(
                f"{self.name}, {self.holes[name]} has no {name!r}, which the operation needs",
                where=where,
                mend="add it to this row, or take the row out",
            )

    def rows(self, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The values of these columns, row by row. Raises TargetError where the file cannot be read any more."""
        if self.is_held:
            yield from zip(*(self.columns[name] for name in names), strict=True)
            return
        try:
            yield from _rows(self.path, names)
        except (OSError, UnreadableError) as problem:
            what = problem.what if isinstance(problem, UnreadableError) else f": {problem.strerror or problem}"
            raise TargetError(f"data file {self.name}{what}", mend="it must stay as it is during the run") from None


def read_data_file(
    name: str, folder: str, where: str, *, counted: bool = True, held_bytes: int = HELD_BYTES
) -> DataFile:
    """A data file, relative to the suite's folder. CSV fields are texts; values of JSON and Parquet keep their types.

    counted      whether the rows of a large file are counted and checked, which takes a look at all of them
    held_bytes   the size of the largest file that is held in memory

    Raises SuiteError with the line for what cannot be read. A JSON row may lack a column; see `DataFile.require`.
    """
    path = Path(folder) / name
    try:
        suffix = path.suffix.lower()
        if suffix not in KINDS:
            raise UnreadableError(f": unknown kind {suffix!r}", f"name it {', '.join(KINDS[:-1])} or {KINDS[-1]}")
        if suffix == ".parquet":
            return _read_parquet(name, path, held_bytes)
        if path.stat().st_size > held_bytes and suffix != ".json":
            return _read_large(name, path, counted=counted)
        text = read_text(path)
        count, columns, holes = _csv(text, suffix) if suffix in (".csv", ".tsv") else _json(text)
    except OSError as error:
        what = f"cannot read data file {name}: {error.strerror or error}"
        raise SuiteError(what, where=where, mend="its path is relative to the suite") from None
    except UnreadableError as problem:
        raise SuiteError(f"data file {name}{problem.what}", where=where, mend=problem.mend) from None
    return DataFile(name, path, count, columns, holes)


def _csv(text: str, suffix: str) -> tuple[int, dict[str, list[str]], dict[str, str]]:
    names, rows = csv_rows(io.StringIO(text, newline=""), suffix)
    values: list[list[str]] = [[] for _ in names]
    pending: list[list[str]] = []
    for _, row in rows:
        pending.append(row)
        if len(pending) == _ROWS_AT_ONCE:
            _add(pending, values)
    _add(pending, values)
    if not values[0]:
        raise UnreadableError(" has no rows, only a header", "give it at least one row")
    return len(values[0]), {name: column for name, column in zip(names, values, strict=True) if name}, {}


def _add(rows: list[list[str]], columns: list[list[str]]) -> None:
    for column, more in zip(columns, zip(*rows, strict=True), strict=False):
        column.extend(more)
    rows.clear()


def _json(text: str) -> tuple[int, dict[str, list[Any]], dict[str, str]]:
    columns: dict[str, list[Any]] = {}
    holes: dict[str, str] = {}
    count, first = 0, ""
    for place, row in json_rows(text):
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
        raise UnreadableError(" is empty", "give it at least one row")
    return count, columns, holes


def _read_parquet(name: str, path: Path, held_bytes: int) -> DataFile:
    path.open("rb").close()  # for an error of the system that says why
    names, count, size = parquet_size(path)
    if not count:
        raise UnreadableError(" has no rows", "give it at least one row")
    if size > held_bytes:
        return DataFile(name, path, count, {each: [] for each in names}, {}, is_held=False)
    values = zip(*parquet_rows(path, names), strict=True)
    return DataFile(name, path, count, {each: list(column) for each, column in zip(names, values, strict=True)}, {})


def _read_large(name: str, path: Path, *, counted: bool) -> DataFile:
    """A file of lines whose rows are not held: its columns, and how many rows it has."""
    holes: dict[str, str] = {}
    with opened(path) as stream:
        if path.suffix.lower() in LINES:
            rows = json_lines(stream)  # every one has the columns of the first that are used, or it is refused
            count, names = _count_objects(rows, holes) if counted else (0, [*next(rows, ("", {}))[1]])
        else:
            names, lines = csv_rows(stream, path.suffix.lower())
            count = sum(1 for _ in lines) if counted else 0
    if counted and not count:
        raise UnreadableError(" has no rows", "give it at least one row")
    return DataFile(name, path, count, {each: [] for each in names if each}, holes, is_held=False)


def _count_objects(rows: Iterator[tuple[str, dict[str, Any]]], holes: dict[str, str]) -> tuple[int, list[str]]:
    """The number of objects and the names of their fields; `holes` gets those that some of them lack."""
    count, names, first = 0, dict[str, None](), ""
    for place, row in rows:
        first = first or place
        if row.keys() != names.keys():
            for name in row.keys() - names.keys():
                if count:
                    holes.setdefault(name, first)
            for name in names.keys() - row.keys():
                holes.setdefault(name, place)
            names |= dict.fromkeys(row)
        count += 1
    return count, list(names)


def _rows(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from parquet_rows(path, names)
        return
    with opened(path) as stream:
        if suffix in LINES:
            yield from (tuple(row[name] for name in names) for _, row in json_lines(stream))
            return
        header, rows = csv_rows(stream, suffix)
        places = [header.index(name) for name in names]
        yield from (tuple([row[place] for place in places]) for _, row in rows)
