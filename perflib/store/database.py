"""The in-memory DuckDB with which a run's rows are read, with bounded memory, and helpers to write its SQL."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY: Final = "1GB"  # of one process; more is spilled to disk

_SQL: Final = {"int16": "smallint", "int32": "integer", "int64": "bigint", "bool": "boolean", "double": "double"}

TIMED: Final = "(ok or error in ('timeout', 'unsent', 'aborted'))"
DUE: Final = "coalesce(scheduled_ns, start_ns)"
FIRST_BYTE: Final = f"coalesce(first_byte_ns, end_ns) - {DUE}"  # how long the answer took to begin


def connected() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB: a thread per core, bounded memory, and a temporary folder for what does not fit."""
    import duckdb

    database = duckdb.connect(config={
        "threads": os.cpu_count() or 1, "memory_limit": MEMORY,
        "temp_directory": _spill_folder(),
    })  # fmt: skip
    database.execute("set parquet_metadata_cache = true")  # thousands of files are queried again and again
    return database


@functools.cache
def _spill_folder() -> str:
    """A private folder for what does not fit into memory, removed at the end of the process."""
    folder = tempfile.mkdtemp(prefix="perflib-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def empty(columns: pa.Schema) -> str:
    """SQL for a table with these columns and no rows."""
    typed = (f"null::{_SQL.get(str(column.type), 'varchar')} as {column.name}" for column in columns)
    return f"(select {', '.join(typed)} where false)"


def parts(files: Sequence[Path], columns: pa.Schema) -> str:
    """SQL for part files as one table with these columns; columns that old files lack are null."""
    return f"(from {empty(columns)} union all by name from read_parquet({listed(files)}))" if files else empty(columns)


def listed(files: Iterable[Path]) -> str:
    """SQL for a list of files."""
    return "[" + ", ".join(quoted(str(file)) for file in files) + "]"


def quoted(text: str) -> str:
    """SQL for a text literal."""
    return "'" + text.replace("'", "''") + "'"


def row_counts(paths: Iterable[Path], schemas: Mapping[str, pa.Schema] | None = None) -> list[int | None]:
    """The number of rows of each part file, or None if it cannot be read.

    schemas: by the name of the folder, to read each file whole as well: a page that does not match its checksum, or a
    column of another type, makes it None. A million rows take about 0.4 s; without `schemas` only footers are read.
    """
    with ThreadPoolExecutor() as pool:  # thousands of files
        return list(pool.map(lambda path: _row_count(path, schemas and schemas[path.parent.name]), paths))


def _row_count(path: Path, schema: pa.Schema | None) -> int | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():  # a device or a pipe, which has no end
        return None
    try:
        if schema is None:
            return int(pq.read_metadata(path).num_rows)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = sum(len(file.read_row_group(group, use_threads=False)) for group in range(file.num_row_groups))
            return rows if rows == file.metadata.num_rows and _agree(file.schema_arrow, schema) else None
    except (OSError, ValueError, KeyError, pa.ArrowException):  # KeyError: a column that is there twice
        return None


def _agree(found: pa.Schema, schema: pa.Schema) -> bool:
    """Whether the columns of a file have the types of the schema. Files of other versions may have fewer, or more."""
    known = set(found.names) & set(schema.names)
    return bool(known) and all(_plain(found.field(name).type) == _plain(schema.field(name).type) for name in known)


def _plain(kind: pa.DataType) -> str:
    return str(getattr(kind, "value_type", kind)).removeprefix("large_")
