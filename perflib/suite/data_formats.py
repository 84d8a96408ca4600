"""How the rows of data files are written: CSV and TSV, JSON lines and arrays, Parquet.

with opened(path) as stream:
    names, rows = csv_rows(stream, ".csv")      # ["user", "city"], (2, ["anna", "Rome"]), …

Rows come with their places, for messages. What cannot be read raises UnreadableError, with place and mend.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

SEPARATORS: Final = ",;\t|"
LONGEST_FIELD: Final = 2**31 - 1  # characters; the csv module has a limit, and Windows none that is higher
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_ROWS_AT_ONCE: Final = 256  # of Parquet, so that no other request waits long for them


class UnreadableError(Exception):
    """What is wrong with a file, with the line, and how to mend it."""

    def __init__(self, what: str, mend: str) -> None:
        self.what, self.mend = what, mend


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, without a byte order mark. Raises OSError, UnreadableError."""
    data = path.read_bytes()
    _refuse_utf_16(path, data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf_8(path, data.count(b"\n", 0, error.start) + 1) from None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """The text of a file, which is read piece by piece. Raises OSError, UnreadableError."""
    with path.open("rb") as start:
        _refuse_utf_16(path, start.read(1000))
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            yield stream
        except UnicodeDecodeError:
            raise _not_utf_8(path, _first_bad_line(path)) from None


def csv_rows(stream: TextIO, suffix: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of the columns, and the rows with the number of the line on which each begins. Blank lines are none."""
    first = next((line for line in stream if line.strip("\r\n")), "")
    if not first.strip() and not stream.read(1):
        raise UnreadableError(" is empty", "give it a header and at least one row")
    stream.seek(0)
    separator = "\t" if suffix == ".tsv" else max(SEPARATORS, key=first.count)
    rows = _csv_rows(stream, separator, spaced=separator + " " in first)
    _, header = next(rows)
    names = [name.strip() for name in header]
    for name in names:
        if name and names.count(name) > 1:
            raise UnreadableError(f" has two columns {name!r}", "rename one of them in its header")
    return names, _whole(rows, len(names))


def _whole(rows: Iterator[tuple[int, list[str]]], width: int) -> Iterator[tuple[int, list[str]]]:
    """The rows, all of which have as many fields as the header."""
    for line, row in rows:
        if len(row) != width:
            what = f", line {line} has {len(row)} field{'s' * (len(row) != 1)}, but the header has {width}"
            raise UnreadableError(what, "quote a field that holds the separator, and give each row all fields")
        yield line, row


def _csv_rows(stream: TextIO, separator: str, *, spaced: bool) -> Iterator[tuple[int, list[str]]]:
    """All rows. `spaced`: blanks behind the separators of the header are a style."""
    limit = csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(stream, delimiter=separator, skipinitialspace=spaced, strict=True)
    begins, width = 1, 0
    try:
        for row in reader:
            width = width or len(row)
            if row and not (len(row) == 1 < width and not row[0].strip()):
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        mend = 'double a quotation mark inside a quoted field: "say ""hi"""'
        raise UnreadableError(f", line {begins} is no CSV: {error}", mend) from None
    finally:
        csv.field_size_limit(limit)


def json_rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON array, or of JSON lines, with their places."""
    if text.lstrip().startswith("["):
        return _objects((f"row {number}", row) for number, row in enumerate(_parsed(text, ""), 1))
    return json_lines(io.StringIO(text, newline="\n"))


def json_lines(lines: TextIO) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON lines, with their places."""
    numbered = ((number, line.removesuffix("\n")) for number, line in enumerate(lines, 1))
    return _objects((f"line {number}", _parsed(line, f", line {number}")) for number, line in numbered if line.strip())


def _objects(rows: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, row in rows:
        if not isinstance(row, dict):
            raise UnreadableError(f", {place} is no JSON object", 'write each row like {"user": "anna"}')
        yield place, row


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        at = place or f", line {error.lineno}"
        raise UnreadableError(f"{at} is not JSON: {error.msg}", "give one object a line, or one array") from None
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{place} is not JSON: {error}", "give one object a line, or one array") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def parquet_size(path: Path) -> tuple[list[str], int, int]:
    """The names of the columns of a Parquet file, its number of rows, and its bytes when it is unpacked."""
    file = _parquet(path)
    with file:
        groups = (file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
        return file.schema_arrow.names, file.metadata.num_rows, sum(groups)


def parquet_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The values of these columns, row by row. Times, decimals and the like become texts."""
    import pyarrow as pa

    try:
        with _parquet(path) as file:
            batches = file.iter_batches(_ROWS_AT_ONCE, columns=list(names), use_threads=False)
            for batch in batches:
                yield from zip(*(_values(batch.column(name)) for name in names), strict=True)
    except pa.ArrowException as error:
        raise _no_parquet(error) from None


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False)
    except pa.ArrowException as error:
        raise _no_parquet(error) from None


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    as_json = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_integer,
               pa.types.is_floating, pa.types.is_null, pa.types.is_nested)  # fmt: skip
    values: list[Any] = (column if any(fits(kind) for fits in as_json) else column.cast(pa.string())).to_pylist()
    return values


def _no_parquet(error: Exception) -> UnreadableError:
    said = str(error).partition("\n")[0][:200]
    return UnreadableError(f" cannot be read as Parquet: {said}", "write it anew, as with pandas' to_parquet")


def _refuse_utf_16(path: Path, start: bytes) -> None:
    if start.startswith(_UTF_16) or b"\0" in start[:1000]:
        raise UnreadableError(" is UTF-16", f'save it as UTF-8, as "iconv -f UTF-16 -t UTF-8 {path.name}" does')


def _not_utf_8(path: Path, line: int) -> UnreadableError:
    mend = f'save it as UTF-8, as "iconv -f LATIN1 -t UTF-8 {path.name}" does'
    return UnreadableError(f", line {line} is not UTF-8", mend)


def _first_bad_line(path: Path) -> int:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
