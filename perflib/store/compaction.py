"""Rewrites a run's many small part files as a few large ones, sorted by time. No row is lost if it is interrupted.

done = compact(open_recording("latest"))
done.files_before, done.files_after, done.bytes_after

One process at a time compacts a run (see lease.py). The new files are written under hidden names, which readers ignore,
and compared with the old ones: number of rows, and sum of the rows' hashes. Then run.json says, in one atomic step,
which files replace which (`replacing`), and readers follow it. The rest, renaming the new files and deleting the old
ones, may stop at any point: the run still opens with each row once, and the next command that changes the run ends it.
Old files are deleted only when the new ones have been read back from their final names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perflib.errors import RunError
from perflib.store.database import connected, listed, row_counts
from perflib.store.database import parts as parts_of
from perflib.store.files import sync
from perflib.store.lease import Lease, held
from perflib.store.manifest import read_manifest, write_manifest
from perflib.store.recording import Recording
from perflib.store.records import Replacing
from perflib.store.schema import TABLES, write_file

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FILE_ROWS: Final = 2**21
_ORDER: Final = {
    "rows": "end_ns, worker, seq",
    "resources": "t_ns, role, pid",
    "spans": "start_ns, worker, seq",
    "gauges": "t_ns, target, gauge",
    "samples": "t_ns, worker, seq",
    "journeys": "end_ns, worker, start_ns",
}  # the first column is a time, which divides the old files into periods


@dataclass(frozen=True)
class Compacted:
    """Number and bytes of part files before and after; `rows` counts all tables together."""

    rows: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


def compact(run: Recording) -> Compacted:
    """Compact a run. Raises RunError if the run is in progress, if another process is changing it, or if a file cannot
    be read or written."""
    if run.status == "running":
        raise RunError(f"{run.id} is still running", mend="compact it when it has ended")
    with held(run.path, "compact", of=run.id) as lease:
        finish(run.path)
        return _compact(Recording(run.path), lease)


def _compact(run: Recording, lease: Lease) -> Compacted:
    import duckdb

    before = [path for path, rows in run.parts if rows is not None]
    size = sum(path.stat().st_size for path in before)
    try:
        old, new = _rewritten(run)
        if new:
            rows = dict(run.parts)
            total = sum(rows[path] or 0 for path in old)
            lease.check()
            run.manifest.replacing = Replacing(old=_names(run, old), new=_names(run, new), rows=total)
            write_manifest(run.path, run.manifest, durable=True)
            finish(run.path)
    except (duckdb.Error, OSError, TypeError) as error:  # TypeError: a time that is null
        raise RunError(
            str(error).splitlines()[0], where=run.id, mend="no row was lost; solve the problem and compact again"
        ) from None
    done = Recording(run.path)
    after = [(path, rows) for path, rows in done.parts if rows is not None]
    return Compacted(
        sum(rows for _, rows in after), len(before), len(after), size, sum(path.stat().st_size for path, _ in after)
    )


def _rewritten(run: Recording) -> tuple[list[Path], list[Path]]:
    """(old files that can go, new ones in their place, by the names that they will have), complete and verified."""
    old: list[Path] = []
    new: list[Path] = []
    made: list[Path] = []
    try:
        for kind in TABLES:
            parts = [path for path, rows in run.parts if path.parent.name == kind and rows is not None]
            rows = sum(rows for path, rows in run.parts if path in set(parts) and rows)
            if len(parts) > max(1, 2 * rows // FILE_ROWS):
                database = connected()
                each = _write(database, kind, parts, made)
                _verify(database, kind, parts, [hidden(path) for path in each])
                old, new = [*old, *parts], [*new, *each]
    except BaseException:
        for path in made:
            hidden(path).unlink(missing_ok=True)
        raise
    return old, new


def _write(database: duckdb.DuckDBPyConnection, kind: str, parts: Sequence[Path], made: list[Path]) -> list[Path]:
    """Write the new files of one table, one per period of time, and append their paths to `made` before writing."""
    by, folder = _ORDER[kind].partition(",")[0], parts[0].parent
    spans = database.execute(
        f"select filename, min({by}), max({by}), count(*) from read_parquet({listed(parts)}, filename = true) group by "
        "all order by 3"
    ).fetchall()
    generation = len(list(folder.glob("part-c*-000000.parquet")))
    written: list[Path] = []
    for low, high in _stretches([(last, rows) for _, _, last, rows in spans]):
        files = [Path(file) for file, first, last, _ in spans if first < high and last >= low]
        table = database.sql(
            f"select * from {parts_of(files, TABLES[kind])} where {by} >= {low} and {by} < {high} order by "
            f"{_ORDER[kind]}"
        ).to_arrow_table()
        if table.num_rows:
            path = folder / f"part-c{generation}-{len(written):06d}.parquet"
            written.append(path)
            made.append(path)
            write_file(_typed(table, kind), hidden(path))
    return written


def _stretches(ends: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Periods with about FILE_ROWS rows each, as (start, end), from files given in order as (last time, rows)."""
    cuts, rows = [-(2**62)], 0
    for last, count in ends:
        rows += count
        if rows >= FILE_ROWS:
            cuts.append(last + 1)
            rows = 0
    return list(zip(cuts, [*cuts[1:], 2**62], strict=True))


def _typed(table: pa.Table, kind: str) -> pa.Table:
    """A table from DuckDB, cast to the schema's types, with one dictionary per column."""
    import pyarrow as pa

    schema = TABLES[kind]
    columns = [
        column.dictionary_encode().cast(field.type) if pa.types.is_dictionary(field.type) else column.cast(field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.table(columns, schema=schema).unify_dictionaries()


def _verify(database: duckdb.DuckDBPyConnection, kind: str, old: Sequence[Path], new: Sequence[Path]) -> None:
    """Raise OSError if the new files do not have the same rows as the old ones, in every column."""
    columns = ", ".join(field.name for field in TABLES[kind])
    sums = [
        database.execute(
            f"select count(*), sum(hash({columns})::hugeint) from {parts_of(files, TABLES[kind])}"
        ).fetchone()
        for files in (old, new)
    ]
    if sums[0] != sums[1]:
        raise OSError(f"the compacted {kind} are not those of the run: {sums[1]} instead of {sums[0]}")


def finish(path: Path) -> None:
    """Clean up after an interrupted `compact`: undo it before the switch of files, finish it after the switch.

    Whoever calls this holds the lease of the run. Raises RunError, and deletes nothing, if neither is possible.
    """
    for kind in TABLES:
        if (path / kind).is_symlink():
            raise RunError(f"{kind} is a link to another folder", where=str(path), mend="copy the files into the run")
    manifest = read_manifest(path)
    if manifest.replacing is not None:
        _switch(path, manifest.replacing)
    for kind in TABLES:
        for left in (path / kind).glob(".part-c*.parquet"):
            left.unlink()
    if manifest.replacing is not None:
        manifest.replacing = None
        write_manifest(path, manifest)


def _switch(path: Path, replacing: Replacing) -> None:
    """Delete the old files if the new ones can be read and have all rows; otherwise the new ones, if the old are there.

    Raises RunError, and deletes nothing, if neither is the case.
    """
    old, new = ([path / name for name in names] for names in (replacing.old, replacing.new))
    rows = row_counts((file if file.exists() else hidden(file) for file in new), TABLES)
    whole, total = all(file.exists() for file in old), sum(filter(None, rows))
    expected = sum(filter(None, row_counts(old))) if whole else total if replacing.rows is None else replacing.rows
    if new and None not in rows and total == expected:
        for file in new:
            if hidden(file).exists():
                hidden(file).replace(file)
        for folder in {file.parent for file in new}:
            sync(folder)
        for file in set(old) - set(new):
            file.unlink(missing_ok=True)
    elif whole:
        for file in set(new) - set(old):
            file.unlink(missing_ok=True)
    else:
        raise RunError(
            "a compaction was cut short, and files that it wrote are damaged; nothing was deleted",
            where=str(path), mend="take the run from a copy",
        )  # fmt: skip


def hidden(path: Path) -> Path:
    """The hidden name of a new file until the switch."""
    return path.with_name(f".{path.name}")


def _names(run: Recording, paths: Sequence[Path]) -> list[str]:
    return [path.relative_to(run.path).as_posix() for path in paths]
