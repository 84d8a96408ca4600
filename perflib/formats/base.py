"""What a format of another tool is: how it is recognised, what its times mean, and how its requests are read.

A format reads a file as Arrow tables with the columns of REQUESTS. Its times are in ns: since 1970 where the file says
when a request was sent, otherwise from any zero. Rows stand in the order of the file.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from perflib.errors import EXIT_BAD_INPUT, PerflibError
from perflib.store.database import connected, quoted
from perflib.store.records import TimeRecord

if TYPE_CHECKING:
    pass

REQUESTS: Final = pa.schema([
    ("scenario", pa.string()), ("operation", pa.string()), ("start_ns", pa.int64()), ("end_ns", pa.int64()),
    ("first_byte_ns", pa.int64()), ("error", pa.string()), ("status", pa.int32()), ("bytes_sent", pa.int64()),
    ("bytes_received", pa.int64()),
])  # fmt: skip
BATCH: Final = 131_072  # rows that are read at a time
_HEAD: Final = 65_536  # bytes by which a format is recognised
_LONGEST: Final = 16_000_000  # characters of a line
_LINE: Final = re.compile(r"(?:CSV Error on Line: |in line )(\d+)")
_REASONS: Final = ("Error when", "Expected Number", "Value with", "Could not", "Maximum line")  # of DuckDB's reader
_VALUE: Final = re.compile(r"^(?:Conversion|Invalid Input) Error: [^'\"\n]*['\"]([^'\"\n]+)['\"]")

# The class of an error by the status of its answer, in SQL.
BY_STATUS: Final = (
    "case when status between 300 and 399 then 'http_3xx' when status between 400 and 499 then 'http_4xx' "
    "when status between 500 and 599 then 'http_5xx' else 'failed' end"
)


class FormatError(PerflibError, ValueError):
    """A file of another tool cannot be read."""

    exit_code = EXIT_BAD_INPUT


@dataclass(frozen=True)
class Format:
    """A format that can be imported.

    recognises  whether a file is of this format, by the text at its beginning
    time        what its times mean, by the same text, since that depends on the options of some tools
    read        its requests, as tables of REQUESTS; raises FormatError with the number of the line
    notes       what to know about figures made from it
    """

    name: str
    tool: str
    recognises: Callable[[str], bool]
    time: Callable[[str], TimeRecord]
    read: Callable[[Path, str], Iterator[pa.Table]]
    notes: tuple[str, ...] = ()
    all_requests: bool = True  # whether requests that failed are in the file


def head_of(path: Path) -> str:
    """The text at the beginning of a file, which may be compressed with gzip. Raises FormatError."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            start = file.read(_HEAD)
    except (OSError, EOFError) as error:
        raise FormatError(f"cannot be read: {error}", where=str(path), mend="check the file") from None
    if not start:
        raise FormatError("the file is empty", where=str(path), mend="name a file with results")
    return start.decode("utf-8", "replace")


def first_line(head: str) -> str:
    """The first line of a file, without a byte order mark."""
    return head.lstrip("\ufeff").partition("\n")[0].rstrip("\r")


def csv_table(
    path: Path, columns: Mapping[str, str] | Sequence[str], *, header: bool = True, delimiter: str = ","
) -> str:
    """SQL for a CSV file with these columns, by name and type; names alone are text. Every line needs all of them."""
    typed = columns if isinstance(columns, Mapping) else dict.fromkeys(columns, "VARCHAR")
    listed = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in typed.items())
    return (
        f"read_csv({quoted(str(path))}, auto_detect = false, header = {str(header).lower()}, "
        f"delim = {quoted(delimiter)}, quote = '\"', escape = '\"', columns = {{{listed}}}, max_line_size = {_LONGEST})"
    )


def json_lines(path: Path, columns: Mapping[str, str]) -> str:
    """SQL for a file with a JSON object in each line, of which these keys are read."""
    listed = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in columns.items())
    return f"read_json({quoted(str(path))}, format = 'newline_delimited', columns = {{{listed}}})"


def query(path: Path, sql: str) -> Iterator[pa.Table]:
    """The result of a query on a file, piece by piece, in the order of the file.

    Raises FormatError with the number of the line for a line that cannot be read, and for a file that ends within one.
    """
    import duckdb

    check_end(path)
    database = connected()
    database.execute("set threads = 1")  # several read a long file in another order
    try:
        for batch in database.sql(sql).to_arrow_reader(BATCH):
            yield pa.table(batch)
    except (duckdb.Error, pa.ArrowException, RuntimeError) as error:
        raise _of_line(path, error) from None
    finally:
        database.close()


def requests(
    path: Path, table: str, columns: Mapping[str, str], where: str = "true", prepared: str = ""
) -> Iterator[pa.Table]:
    """The requests of a file: `columns` has the SQL of each column of REQUESTS; missing ones are null.

    prepared: further columns, in SQL, which `columns` may use.
    """
    chosen = ", ".join(
        f"({columns.get(field.name, 'null')})::{_SQL[str(field.type)]} as {field.name}" for field in REQUESTS
    )
    inner = f"(select *, {prepared} from {table})" if prepared else table
    for piece in query(path, f"select {chosen} from {inner} where {where}"):
        yield piece.cast(REQUESTS)


def of_rows(rows: Iterable[Sequence[Any]]) -> Iterator[pa.Table]:
    """Tuples in the order of REQUESTS as tables."""
    pieces = iter(rows)
    while piece := list(itertools.islice(pieces, BATCH)):
        yield pa.table(
            [pa.array(c, f.type) for f, c in zip(REQUESTS, zip(*piece, strict=True), strict=True)], schema=REQUESTS
        )


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file, which may be compressed with gzip, with their numbers. Raises FormatError."""
    number = 0
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST + 1), ""), 1):
                if len(line) > _LONGEST:
                    raise broken(path, number, f"more than {_LONGEST:,} characters in a line")
                yield number, line.rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise broken(path, number + 1, str(error)) from None


def json_of(path: Path) -> Any:
    """The content of a JSON file. Raises FormatError with the number of the line where it is not valid."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        raise broken(path, error.lineno, error.msg) from None
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise FormatError(f"cannot be read: {error}", where=str(path), mend="check the file") from None


def broken(path: Path, line: int | str, what: str) -> FormatError:
    """An error in a line of a file."""
    return FormatError(what, where=f"{path}, line {line}", mend="import the complete file, as the tool wrote it")


def check_end(path: Path) -> None:
    """Raise FormatError for a text file that ends within a line, because its writer was killed, say."""
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            return  # a stream that was cut is noticed while it is read
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 1))
        if file.read(1) == b"\n":
            return
    raise broken(path, last_line(path), "the file ends within this line: it was cut")


def last_line(path: Path) -> int:
    """The number of the last line of a file."""
    return sum(1 for _ in lines_of(path))


def _of_line(path: Path, error: Exception) -> FormatError:
    """The error of a reader as one line, with the line of the file."""
    text = str(error)
    if "Malformed JSON" in text or "JSON" in text.partition(":")[0]:
        for number, line in lines_of(path):
            try:
                json.loads(line or "null")
            except ValueError as wrong:
                return broken(path, number, f"no valid JSON: {wrong}")
    found = _LINE.search(text)
    value = _VALUE.search(text)
    if value and not found:
        number = next((number for number, line in lines_of(path) if value[1] in line), 0)
        return broken(path, number, text.splitlines()[0].partition(": ")[2])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    what = next((line for line in lines if line.startswith(_REASONS)), lines[0] if lines else "it is damaged")
    if found:
        return broken(path, found[1], what)
    return FormatError(what, where=str(path), mend="import the complete file, as the tool wrote it")


_SQL: Final = {"string": "varchar", "int64": "bigint", "int32": "integer"}
