"""DuckDB as a run's rows are read with it: one in memory, bounded, and what its SQL is written with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY: Final = "1GB"  # of one process; more than that is spilled to disk

_SQL: Final = {"int16": "smallint", "int32": "integer", "int64": "bigint", "bool": "boolean", "double": "double"}

TIMED: Final = "(ok or error in ('timeout', 'unsent', 'aborted'))"
DUE: Final = "coalesce(scheduled_ns, start_ns)"


def connected() -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory: a thread for each core, a bounded memory, and a folder of the system's for what does not fit
    in it."""
    import duckdb

    database = duckdb.connect(config={
        "threads": os.cpu_count() or 1, "memory_limit": MEMORY,
        "temp_directory": str(Path(tempfile.gettempdir()) / f"perflib-{os.getpid()}"),
    })  # fmt: skip
    database.execute("set parquet_metadata_cache = true")  # of thousands of files, asked again and again
    return database


def empty(columns: pa.Schema) -> str:
    """A table of these columns and no rows, in SQL."""
    typed = (f"null::{_SQL.get(str(column.type), 'varchar')} as {column.name}" for column in columns)
    return f"(select {', '.join(typed)} where false)"


def parts(files: Sequence[Path], columns: pa.Schema) -> str:
    """Part files as a table of these columns, in SQL; a column that they had not when they were written is null."""
    return f"(from {empty(columns)} union all by name from read_parquet({listed(files)}))" if files else empty(columns)


def listed(files: Iterable[Path]) -> str:
    """Files as a list in SQL."""
    return "[" + ", ".join(quoted(str(file)) for file in files) + "]"


def quoted(text: str) -> str:
    """A text as a literal in SQL."""
    return "'" + text.replace("'", "''") + "'"


def row_counts(paths: Iterable[Path]) -> list[int | None]:
    """Rows of each part file, None for one that cannot be read."""
    with ThreadPoolExecutor() as pool:  # thousands of footers
        return list(pool.map(_row_count, paths))


def _row_count(path: Path) -> int | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return None
